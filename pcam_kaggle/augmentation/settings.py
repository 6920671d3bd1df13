"""Augmentation of the training patches."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class AugmentationSettings(Part):
    """Random views and colors of each training patch."""

    augmentation: str = setting("dihedral", "random views", ("none", "flip", "dihedral"))
    stain_jitter: float = setting(0.0, "largest change of each stain (HED)", low=0, high=0.5)
    brightness: float = setting(0.0, "largest change, as a share of 255", low=0, high=0.5)
    contrast: float = setting(0.0, "largest relative change", low=0, high=0.5)
    translation: int = setting(0, "largest shift, in pixels", low=0, high=24)
