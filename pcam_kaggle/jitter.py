"""Other scanners and stains: colour and place of each training image, by chance."""

import keras
import numpy as np
from keras import ops

# Optical density of haematoxylin, eosin and DAB in red, green and blue
# (Ruifrok & Johnston 2001, "Quantification of histochemical staining").
HED_TO_DENSITY = np.array(
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], "float32"
)
DENSITY_TO_HED = np.linalg.inv(HED_TO_DENSITY)


class Jitter(keras.layers.Layer):
    """Change stain, brightness, contrast and place of every training image.

    Each image has its own draw, uniform within the strengths. Outside of training, and
    with all strengths 0, nothing changes.

    Args:
        stain: float s, as Tellez et al. (2019) augment in HED space: the amount c of
            each stain becomes c (1 + a) + b, with a and b from -s to s; b is in units
            of optical density (natural logarithm).
        brightness: float, at most this share of 255 is added or taken.
        contrast: float, differences from the image's mean are scaled by at most so much
            more or less.
        translation: int, pixels to either side along both axes; the border's pixels
            are repeated outwards.
        seed: int, of the layer's own random numbers.
    """

    def __init__(self, stain, brightness, contrast, translation, seed, **kwargs):
        # In float32 under mixed precision as well.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.strengths = {
            "stain": stain,
            "brightness": brightness,
            "contrast": contrast,
            "translation": translation,
        }
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """images: float32 (b, side, side, 3), 0 to 255 -> the same."""
        if not training or not any(self.strengths.values()):
            return images
        batch, strengths = ops.shape(images)[0], self.strengths

        def draw(limit, *shape):
            shape = (batch, *shape)
            return keras.random.uniform(shape, -limit, limit, seed=self.random)

        if strengths["stain"]:
            shift = draw(strengths["stain"], 3)
            images = change_stain(images, 1 + draw(strengths["stain"], 3), shift)
        if strengths["contrast"]:
            mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
            scale = 1 + draw(strengths["contrast"], 1, 1, 1)
            images = mean + (images - mean) * scale
        if strengths["brightness"]:
            images = images + 255 * draw(strengths["brightness"], 1, 1, 1)
        if strengths["translation"]:
            pixels = strengths["translation"]
            shifts = keras.random.randint(
                (batch, 2), -pixels, pixels + 1, seed=self.random
            )
            images = translate(images, shifts)
        return ops.clip(images, 0.0, 255.0)

    def get_config(self):
        return {**super().get_config(), **self.strengths, "seed": self.seed}


def change_stain(images, scale, shift):
    """Scale and shift the amounts of the three stains.

    Args:
        images: float tensor (b, side, side, 3), RGB from 0 to 255.
        scale, shift: tensors (b, 3), of haematoxylin, eosin and DAB.

    Returns:
        Tensor of the shape of `images`, not clipped. Amounts are linear in the optical
        density, so that all of it is one 3x3 matrix and one offset per image.
    """
    matrix = ops.matmul(DENSITY_TO_HED * scale[:, None, :], HED_TO_DENSITY)
    offset = ops.matmul(shift, HED_TO_DENSITY)[:, None, None, :]
    density = -ops.log((images + 1) / 256)
    changed = ops.einsum("bhwc,bcd->bhwd", density, matrix) + offset
    return 256 * ops.exp(-changed) - 1


def translate(images, shifts):
    """Move each image by whole pixels, its border repeated outwards.

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
