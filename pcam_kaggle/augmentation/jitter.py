"""Color augmentation and translation."""

import keras
import numpy as np
from keras import KerasTensor, ops

from .settings import AugmentationSettings

# Optical density of hematoxylin, eosin and DAB in red, green and blue
# (Ruifrok & Johnston 2001, "Quantification of histochemical staining").
HED_TO_DENSITY = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], "float32")
DENSITY_TO_HED = np.linalg.inv(HED_TO_DENSITY)


class Jitter(keras.layers.Layer):
    """Change stain, brightness, contrast and position of every training patch.

    Each patch has its own draws, uniform within the strengths in `settings`. At inference nothing
    changes. Stains change in HED space (Tellez et al. 2019): the amount c of each becomes
    c (1 + a) + b, with a and b from -s to s; b is an optical density (natural logarithm).
    """

    def __init__(self, settings: AugmentationSettings, seed: int, **kwargs):
        # float32 even under mixed precision.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.stain, self.brightness = settings.stain_jitter, settings.brightness
        self.contrast, self.translation = settings.contrast, settings.translation
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """images: float32 (b, side, side, 3), 0 to 255 -> the same."""
        strengths = (self.stain, self.brightness, self.contrast, self.translation)
        if not training or not any(strengths):
            return images
        batch = ops.shape(images)[0]

        def draw(limit, *shape):
            return keras.random.uniform((batch, *shape), -limit, limit, seed=self.random)

        if self.stain:
            shift = draw(self.stain, 3)
            images = change_stain(images, 1 + draw(self.stain, 3), shift)
        if self.contrast:
            mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
            images = mean + (images - mean) * (1 + draw(self.contrast, 1, 1, 1))
        if self.brightness:
            images = images + 255 * draw(self.brightness, 1, 1, 1)
        if self.translation:
            low, high = -self.translation, self.translation + 1
            shifts = keras.random.randint((batch, 2), low, high, seed=self.random)
            images = translate(images, shifts)
        return ops.clip(images, 0.0, 255.0)


def change_stain(images: KerasTensor, scale: KerasTensor, shift: KerasTensor) -> KerasTensor:
    """Scale and shift the amounts of the three stains.

    Amounts are linear in the optical density, so one 3x3 matrix and one offset per image do all
    of it.

    Args:
        images: float tensor (b, side, side, 3), RGB from 0 to 255; returned unclipped.
        scale, shift: tensors (b, 3), of hematoxylin, eosin and DAB.
    """
    matrix = ops.matmul(DENSITY_TO_HED * scale[:, None, :], HED_TO_DENSITY)
    offset = ops.matmul(shift, HED_TO_DENSITY)[:, None, None, :]
    density = -ops.log((images + 1) / 256)
    changed = ops.einsum("bhwc,bcd->bhwd", density, matrix) + offset
    return 256 * ops.exp(-changed) - 1


def translate(images: KerasTensor, shifts: KerasTensor) -> KerasTensor:
    """Move each image by whole pixels and repeat its border outward.

    Args:
        images: tensor (b, side, side, c).
        shifts: int tensor (b, 2), down and to the right.
    """
    side = images.shape[1]
    shifts = ops.cast(shifts, "int32")
    sources = ops.arange(side)[None, None, :] - shifts[:, :, None]
    sources = ops.clip(sources, 0, side - 1)
    images = ops.take_along_axis(images, sources[:, 0, :, None, None], axis=1)
    return ops.take_along_axis(images, sources[:, 1, None, :, None], axis=2)
