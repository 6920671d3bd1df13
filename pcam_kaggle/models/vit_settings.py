"""Settings of a vision transformer that is trained."""

import dataclasses

from ..system.settings import setting
from .settings import check_crop
from .transformer_settings import TransformerSettings


@dataclasses.dataclass(frozen=True)
class VitSettings(TransformerSettings):
    """A vision transformer, all layers trained."""

    weights: str = setting(
        "hf://facebook/dinov2-base",
        "a transformer of type dinov2, with registers or without: hf://OWNER/NAME, or a folder",
    )
    input_size: int = setting(126, "side to which the center is resized", low=28, high=518)
    dropout_rate: float = setting(0.1, "dropout before the last layer", low=0, high=0.9)
    layer_decay: float = setting(
        0.75, "learning rate of a block relative to the next; 1: all alike", low=0.1, high=1
    )
    start_from_linear_head: bool = setting(
        True, "fit the last layer to the frozen features before training"
    )

    def check(self):
        check_crop(self.crop_size)
        if self.weights in ("none", "imagenet"):
            raise ValueError(
                "weights: expected those of a DINOv2, such as weights=hf://facebook/dinov2-small "
                f"or a folder. Received: weights={self.weights!r}"
            )
