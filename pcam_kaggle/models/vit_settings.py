"""Settings of a vision transformer that is trained."""

import dataclasses

from ..system.settings import setting
from .transformer_settings import TransformerSettings


@dataclasses.dataclass(frozen=True)
class VitSettings(TransformerSettings):
    """A vision transformer, all layers trained."""

    weights: str = setting(
        "dinov2-base", "dinov2-small, dinov2-base, hibou-b, hf://OWNER/NAME, or a folder"
    )
    input_size: int = setting(126, "side to which the center is resized", low=28, high=518)
    dropout_rate: float = setting(0.1, "dropout before the last layer", low=0, high=0.9)
    layer_decay: float = setting(
        0.75, "learning rate of a block relative to the next; 1: all alike", low=0.1, high=1
    )
    start_from_linear_head: bool = setting(
        True, "fit the last layer to the frozen features before training"
    )
