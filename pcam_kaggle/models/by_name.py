"""Any network by its name, for use outside of recipes."""

import keras

from ..system.settings import unknown
from .course import build_course
from .course_settings import COURSE, CourseNetworkSettings
from .pretrained import build_pretrained
from .pretrained_settings import PRETRAINED, PretrainedSettings
from .scratch import build_scratch
from .scratch_settings import SCRATCH, ScratchSettings


def build_model(architecture: str, weights: str | None = None, **options: object) -> keras.Model:
    """Build a network.

    Args:
        architecture: a name in PRETRAINED, SCRATCH or COURSE.
        weights: None for random weights, "imagenet", or the path of a file.
        options: dropout_rate, crop_size and input_size, where the network has them.

    Returns:
        keras.Model: float32 (b, 96, 96, 3), RGB from 0 to 255 -> float32 (b, 1).

    Raises:
        FileNotFoundError: the weights cannot be found.
        TypeError: the network lacks an option.
        ValueError: the name is unknown, an option is wrong, or the file does not fit.
    """
    families = (
        (PRETRAINED, PretrainedSettings, build_pretrained),
        (SCRATCH, ScratchSettings, build_scratch),
        (COURSE, CourseNetworkSettings, build_course),
    )
    for table, settings, build in families:
        if architecture in table:
            weights = weights or "none"
            return build(settings(architecture=architecture, weights=weights, **options))
    known = [name for table, _, _ in families for name in table]
    raise ValueError(unknown("architecture", architecture, known))
