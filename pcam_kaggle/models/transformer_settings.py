"""Settings of the frozen transformer and its head."""

import dataclasses

from ..system.settings import Part, setting
from .settings import check_crop


@dataclasses.dataclass(frozen=True)
class TransformerSettings(Part):
    """A frozen vision transformer."""

    weights: str = setting(
        "hf://kaiko-ai/midnight",
        "a transformer of type dinov2 or vit: hf://OWNER/NAME, or a folder",
    )
    crop_size: int = setting(96, "side of the center crop, in pixels", low=32, high=96)
    input_size: int = setting(224, "side to which the center is resized", low=28, high=518)

    def check(self):
        check_crop(self.crop_size)
        if self.weights in ("none", "imagenet"):
            raise ValueError(
                "weights: expected those of a transformer, such as weights=hf://kaiko-ai/midnight "
                f"or a folder. Received: weights={self.weights!r}"
            )


@dataclasses.dataclass(frozen=True)
class HeadSettings(Part):
    """The model that learns from the features."""

    head: str = setting("logistic", "what learns from the features", ("logistic", "mlp"))
    dropout_rate: float = setting(0.3, "mlp: dropout before each layer", low=0, high=0.9)
