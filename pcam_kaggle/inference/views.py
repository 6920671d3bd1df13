"""Test-time augmentation in one pass."""

import keras
import numpy as np
from keras import KerasTensor, ops

from ..data.batches import Batches
from ..data.decode import IMAGE_SHAPE
from ..system.device import choose_jit_compile

NUM_VIEWS = {"none": 1, "flip": 4, "dihedral": 8}  # of `test_time_views`
IMAGES_PER_PASS = 512  # views included: bounds the memory of a pass
VIEWED = {}  # the last network and its views: their model, which is compiled once


def predict_views(
    network: keras.Model, images: np.ndarray, positions: np.ndarray | None = None, tta: str = "none"
) -> tuple:
    """The probability that the center of each patch contains tumor: two float32 arrays (m,).

    The first is the average over the views `tta` ("none", "flip": 4, "dihedral": 8), the second
    that of the unchanged patch.

    Args:
        network: as `build_network` returns it.
        images: uint8 array (n, 96, 96, 3).
        positions: int array (m,) of the images to predict, or None for all.
    """
    positions = np.arange(len(images)) if positions is None else positions
    batches = Batches(images, positions, IMAGES_PER_PASS // NUM_VIEWS[tta])
    predictions = add_views(network, tta).predict(batches, verbose=0)
    return tuple(array[: len(positions)] for array in predictions)


def add_views(network: keras.Model, tta: str) -> keras.Model:
    """Put the views before a network and their average after it.

    The model is kept for the next call, since a new one would be compiled again; clear VIEWED to
    free it and its network.

    Returns:
        keras.Model, uint8 (b, 96, 96, 3) -> the two arrays (b,) of `predict_views`.
    """
    if (network, tta) not in VIEWED:
        VIEWED.clear()
        inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
        views = test_time_views(ops.cast(inputs, "float32"), tta)
        by_view = ops.reshape(network(ops.concatenate(views, axis=0)), (len(views), -1))
        VIEWED[network, tta] = keras.Model(inputs, [ops.mean(by_view, axis=0), by_view[0]])
        VIEWED[network, tta].compile(jit_compile=choose_jit_compile())
    return VIEWED[network, tta]


def test_time_views(images: KerasTensor, tta: str) -> list:
    """List the views over which a prediction is averaged, as tensors.

    Each set of views is a group, so that the average is the same for every view of an image.
    """
    views = [images]
    if tta in ("flip", "dihedral"):
        views += [ops.flip(view, axis=2) for view in views]
        views += [ops.flip(view, axis=1) for view in views]
    if tta == "dihedral":
        views += [ops.transpose(view, (0, 2, 1, 3)) for view in views]
    return views
