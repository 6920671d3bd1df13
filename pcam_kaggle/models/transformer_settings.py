"""Settings of the frozen transformer and its head."""

import dataclasses

from ..system.settings import Part, setting
from .settings import check_crop

MODEL_TYPES = ("dinov2", "dinov2_with_registers", "vit")
FOUNDATION = {  # kernel/facts/foundation.csv says more about each
    "midnight-12k": "hf://kaiko-ai/midnight",
    "hibou-b": "hf://histai/hibou-b",
    "hibou-l": "hf://histai/hibou-L",
    "dinov2-small": "hf://facebook/dinov2-small",
    "dinov2-base": "hf://facebook/dinov2-base",
}
WEIGHTS_SLUG = "pcam-{}-weights-"  # starts the name of the dataset of a model's folder


def find_address(weights: str) -> str:
    """The address of a model of FOUNDATION; other weights as they are."""
    return FOUNDATION.get(weights, weights)


@dataclasses.dataclass(frozen=True)
class TransformerSettings(Part):
    """A pretrained vision transformer."""

    weights: str = setting(
        "midnight-12k",
        "midnight-12k, hibou-b, hibou-l, dinov2-small, dinov2-base, hf://OWNER/NAME, or a folder",
    )
    crop_size: int = setting(96, "side of the center crop, in pixels", low=32, high=96)
    input_size: int = setting(224, "side to which the center is resized", low=28, high=518)

    def check(self):
        check_crop(self.crop_size)
        if self.weights in ("none", "imagenet"):
            raise ValueError(
                "weights: expected those of a transformer, such as weights=dinov2-base "
                f"or a folder. Received: weights={self.weights!r}"
            )


@dataclasses.dataclass(frozen=True)
class HeadSettings(Part):
    """The model that learns from the features."""

    head: str = setting("logistic", "what learns from the features", ("logistic", "mlp"))
    dropout_rate: float = setting(0.3, "mlp: dropout before each layer", low=0, high=0.9)
