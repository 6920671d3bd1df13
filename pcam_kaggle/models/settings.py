"""What every network needs to know."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class NetworkSettings(Part):
    """First weights, dropout, and the size of the input."""

    weights: str = setting("none", "first weights: none, or a file of the whole network")
    dropout_rate: float = setting(0.3, "dropout before the last layer", low=0, high=0.9)
    crop_size: int = setting(96, "side of the center crop, in pixels", low=32, high=96)
    input_size: int = setting(96, "side to which the center is resized", low=32, high=224)

    def check(self):
        check_crop(self.crop_size)


def check_crop(crop_size: int) -> None:
    """Refuse an odd crop, which would move the center."""
    if crop_size % 2:
        raise ValueError(
            "crop_size: expected an even number, so that the center stays the center. "
            f"Received: crop_size={crop_size}"
        )
