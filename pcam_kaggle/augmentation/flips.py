"""Random flips and transpositions of the patches."""

import keras
from keras import KerasTensor, ops

from .jitter import Jitter
from .settings import AugmentationSettings


def augment_patches(patches: KerasTensor, settings: AugmentationSettings, seed: int) -> KerasTensor:
    """Apply random views, then random colors, to training patches.

    Args:
        patches: uint8 (b, 96, 96, 3); returned as float32, 0 to 255.
        settings: which views, and how strong the changes are.
        seed: random seed of the layers.
    """
    views = RandomViews(settings.augmentation, seed)(patches)
    return Jitter(settings, seed + 1)(views)


class RandomViews(keras.layers.Layer):
    """Draw one view of every training patch: uint8 (b, 96, 96, 3) -> float32.

    Policies: "none"; "flip", left-right and up-down; "dihedral", one of the eight
    symmetries of the square. At inference it only casts.
    """

    def __init__(self, policy: str, seed: int, **kwargs):
        # float32 even under mixed precision.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.policy = policy
        self.random = keras.random.SeedGenerator(seed)

    def call(self, patches, training=False):
        if training and self.policy != "none":
            patches = random_flips(patches, self.random, self.policy == "dihedral")
        return ops.cast(patches, "float32")


def random_flips(images: KerasTensor, random: object, transpose: bool) -> KerasTensor:
    """Flip each image of a batch left-right and up-down, each with probability 1/2.

    `transpose` draws transpositions too: all eight symmetries of the square.
    """
    coins = keras.random.uniform((3, ops.shape(images)[0], 1, 1, 1), seed=random) < 0.5
    images = ops.where(coins[0], ops.flip(images, axis=2), images)
    images = ops.where(coins[1], ops.flip(images, axis=1), images)
    if transpose:
        images = ops.where(coins[2], ops.transpose(images, (0, 2, 1, 3)), images)
    return images
