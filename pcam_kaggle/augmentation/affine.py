"""The course notebook's affine augmentation."""

import math

import keras
from keras import KerasTensor, ops

from .affine_settings import CourseAugmentationSettings
from .flips import RandomViews
from .jitter import Jitter

AFFINE = {  # the notebook's ImageDataGenerator
    "rotation_range": 90.0,  # degrees
    "zoom_range": 0.2,
    "shift_range": 0.1,  # of the image's side
    "shear_range": 0.05,  # in degrees, so almost no effect
    "channel_shift_range": 0.1,  # in gray levels of 255, so almost no effect
}


def augment_course(
    patches: KerasTensor, settings: CourseAugmentationSettings, seed: int
) -> KerasTensor:
    """Like `augment_patches`, with the notebook's affine views as one more policy."""
    is_affine = settings.augmentation == "affine"
    layer = RandomAffine(seed) if is_affine else RandomViews(settings.augmentation, seed)
    return Jitter(settings, seed + 1)(layer(patches))


class RandomAffine(keras.layers.Layer):
    """The notebook's ImageDataGenerator; uint8 in, float32 (0 to 255) out.

    Draws rotation, shift, shear, zoom, flips and channel shift per patch, with bilinear
    interpolation and border pixels repeated outward (fill_mode "nearest"). At inference it only
    casts.

    Args:
        seed: int, random seed of the layer.
    """

    def __init__(self, seed: int, **kwargs):
        # float32 even under mixed precision.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.random = keras.random.SeedGenerator(seed)
        # TensorFlow's warp (ImageProjectiveTransformV3) has no XLA kernel.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, patches, training=False):
        """patches: uint8 (b, 96, 96, 3) -> float32 (b, 96, 96, 3)."""
        patches = ops.cast(patches, "float32")
        return random_affine(patches, self.random) if training else patches


def random_affine(images: KerasTensor, random: object) -> KerasTensor:
    """Warp, flip and shift the gray levels of each image by its own draws.

    images: float32 (b, side, side, c), 0 to 255.
    """
    batch, side = ops.shape(images)[0], images.shape[1]

    def draw(limit):
        return keras.random.uniform((batch,), -limit, limit, seed=random)

    def flip():  # a negative zoom flips without another pass
        return ops.where(draw(1) < 0, -1.0, 1.0)

    images = warp(
        images,
        angle=draw(math.radians(AFFINE["rotation_range"])),
        shift=(draw(AFFINE["shift_range"] * side), draw(AFFINE["shift_range"] * side)),
        shear=draw(math.radians(AFFINE["shear_range"])),
        zoom=(flip() * (1 + draw(AFFINE["zoom_range"])), flip() * (1 + draw(AFFINE["zoom_range"]))),
    )
    levels = draw(AFFINE["channel_shift_range"])[:, None, None, None]
    low = ops.min(images, axis=(1, 2, 3), keepdims=True)
    high = ops.max(images, axis=(1, 2, 3), keepdims=True)
    return ops.clip(images + levels, low, high)


def warp(
    images: KerasTensor, angle: KerasTensor, shift: tuple, shear: KerasTensor, zoom: tuple
) -> KerasTensor:
    """The affine map of Keras's ImageDataGenerator about the center of the image.

    Args:
        images: float tensor (b, side, side, c).
        angle, shear: tensors (b,), radians.
        shift, zoom: pairs of tensors (b,), along x and along y, in pixels and as factors (above
            1 shows more of the surroundings, negative ones flip).

    Returns:
        Tensor of the shape of `images`; pixel (x, y) is read, bilinearly, at rotation @ shift @
        shear @ zoom applied to it.
    """
    cos, sin = ops.cos(angle), ops.sin(angle)
    (shift_x, shift_y), (zoom_x, zoom_y) = shift, zoom
    # (x, y) relative to the center goes to (a x + b y, d x + e y) and the shift.
    a, b = cos * zoom_x, -ops.sin(angle + shear) * zoom_y
    d, e = sin * zoom_x, ops.cos(angle + shear) * zoom_y
    center = images.shape[1] / 2 - 0.5
    c = cos * shift_x - sin * shift_y + center * (1 - a - b)
    f = sin * shift_x + cos * shift_y + center * (1 - d - e)
    zero = ops.zeros_like(a)
    transform = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
    return ops.image.affine_transform(
        images, transform, interpolation="bilinear", fill_mode="nearest"
    )
