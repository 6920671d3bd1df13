"""Settings that all networks share."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class NetworkSettings(Part):
    """Initial weights, dropout and input size."""

    weights: str = setting("none", "initial weights: none, or a file of the whole network")
    dropout_rate: float = setting(0.3, "dropout before the last layer", low=0, high=0.9)
    crop_size: int = setting(96, "side of the center crop, in pixels", low=32, high=96)
    input_size: int = setting(96, "side to which the center is resized", low=32, high=224)

    def check(self):
        check_crop(self.crop_size)


def check_crop(crop_size: int) -> None:
    """Refuse an odd crop size, which would move the center."""
    if crop_size % 2:
        raise ValueError(
            f"crop_size: expected an even number, which keeps the center. Received: {crop_size=}"
        )
