"""Random views for training and fixed views for testing, made on the device."""

import math

import keras
from keras import ops

NUM_VIEWS = {"none": 1, "flip": 4, "dihedral": 8}  # of `test_time_views`

AFFINE = {  # the seed's ImageDataGenerator
    "rotation_range": 90.0,  # degrees
    "zoom_range": 0.2,
    "shift_range": 0.1,  # of the image's side
    "shear_range": 0.05,  # degrees, as Keras reads it: next to nothing
    "channel_shift_range": 0.1,  # of 255 grey levels, as Keras reads it: the same
}


class Augment(keras.layers.Layer):
    """Draw one view of every training image; uint8 in, float32 (0 to 255) out.

    Policies: "none"; "flip", left-right and up-down; "dihedral", one of the eight
    exact views of the square; "affine", the seed's ImageDataGenerator: rotation,
    shift, shear, zoom and channel shift drawn per image, bilinear, the border's pixels
    repeated outwards (fill_mode "nearest"), then the flips. Outside of training it
    only changes the type.

    Args:
        policy: one of the four names.
        seed: int, of the layer's own random numbers.
    """

    def __init__(self, policy, seed, **kwargs):
        # In float32 under mixed precision as well.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.policy = policy
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        # TensorFlow's warp (ImageProjectiveTransformV3) has no XLA kernel.
        self.supports_jit = (
            policy != "affine" or keras.backend.backend() != "tensorflow"
        )

    def call(self, images, training=False):
        """images: uint8 (b, 96, 96, 3) -> float32 (b, 96, 96, 3)."""
        if training and self.policy == "affine":
            images = random_affine(ops.cast(images, "float32"), self.random)
        elif training and self.policy != "none":
            images = random_flips(images, self.random, self.policy == "dihedral")
        return ops.cast(images, "float32")

    def get_config(self):
        return {**super().get_config(), "policy": self.policy, "seed": self.seed}


def test_time_views(images, tta):
    """The views over which a prediction is averaged.

    Args:
        images: tensor (b, side, side, c).
        tta: "none" (1 view), "flip" (4) or "dihedral" (8): each set is a group, so
            that the average is the same for every view of an image.

    Returns:
        List of tensors of the shape of `images`.
    """
    views = [images]
    if tta in ("flip", "dihedral"):
        views += [ops.flip(view, axis=2) for view in views]
        views += [ops.flip(view, axis=1) for view in views]
    if tta == "dihedral":
        views += [ops.transpose(view, (0, 2, 1, 3)) for view in views]
    return views


def random_flips(images, random, transpose):
    """Flip each image left-right and up-down, and transpose it, each by a coin."""
    coins = keras.random.uniform((3, ops.shape(images)[0], 1, 1, 1), seed=random) < 0.5
    images = ops.where(coins[0], ops.flip(images, axis=2), images)
    images = ops.where(coins[1], ops.flip(images, axis=1), images)
    if transpose:
        images = ops.where(coins[2], ops.transpose(images, (0, 2, 1, 3)), images)
    return images


def random_affine(images, random):
    """Warp, mirror and shift the grey levels of each image by its own draws.

    images: float32 (b, side, side, c), 0 to 255.
    """
    batch, side = ops.shape(images)[0], images.shape[1]

    def draw(limit):
        return keras.random.uniform((batch,), -limit, limit, seed=random)

    def flip():  # a negative zoom: one pass over the pixels less for each flip
        return ops.where(draw(1) < 0, -1.0, 1.0)

    images = warp(
        images,
        angle=draw(math.radians(AFFINE["rotation_range"])),
        shift=(draw(AFFINE["shift_range"] * side), draw(AFFINE["shift_range"] * side)),
        shear=draw(math.radians(AFFINE["shear_range"])),
        zoom=(
            flip() * (1 + draw(AFFINE["zoom_range"])),
            flip() * (1 + draw(AFFINE["zoom_range"])),
        ),
    )
    levels = draw(AFFINE["channel_shift_range"])[:, None, None, None]
    low = ops.min(images, axis=(1, 2, 3), keepdims=True)
    high = ops.max(images, axis=(1, 2, 3), keepdims=True)
    return ops.clip(images + levels, low, high)


def warp(images, angle, shift, shear, zoom):
    """The affine map of Keras's ImageDataGenerator about the centre of the image.

    Args:
        images: float tensor (b, side, side, c).
        angle, shear: tensors (b,), radians.
        shift, zoom: pairs of tensors (b,), along x and along y, in pixels and as
            factors (above 1 shows more of the surroundings, negative ones mirror).

    Returns:
        Tensor of the shape of `images`; pixel (x, y) is read, bilinearly, at
        rotation @ shift @ shear @ zoom applied to it.
    """
    cos, sin = ops.cos(angle), ops.sin(angle)
    (shift_x, shift_y), (zoom_x, zoom_y) = shift, zoom
    # (x, y) relative to the centre goes to (a x + b y, d x + e y) and the shift.
    a, b = cos * zoom_x, -ops.sin(angle + shear) * zoom_y
    d, e = sin * zoom_x, ops.cos(angle + shear) * zoom_y
    centre = images.shape[1] / 2 - 0.5
    c = cos * shift_x - sin * shift_y + centre * (1 - a - b)
    f = sin * shift_x + cos * shift_y + centre * (1 - d - e)
    zero = ops.zeros_like(a)
    transform = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
    return ops.image.affine_transform(
        images, transform, interpolation="bilinear", fill_mode="nearest"
    )
