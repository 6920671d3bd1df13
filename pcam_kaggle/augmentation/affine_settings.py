"""The course notebook's augmentation as one more policy."""

import dataclasses

from ..system.settings import setting
from .settings import AugmentationSettings

COURSE_POLICIES = ("none", "flip", "dihedral", "affine")


@dataclasses.dataclass(frozen=True)
class CourseAugmentationSettings(AugmentationSettings):
    """The same settings, plus the notebook's affine views."""

    augmentation: str = setting("affine", "random views", COURSE_POLICIES)
