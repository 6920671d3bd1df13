"""Test-time augmentation in one pass per batch."""

import keras
import numpy as np
from keras import ops

from .augment import test_time_views
from .batches import Batches
from .data import IMAGE_SHAPE
from .device import choose_jit_compile

IMAGES_PER_PASS = 512  # views included: bounds the memory of a pass


def predict(network, images, positions=None, tta="none"):
    """The probability that the centre of each patch holds tumour tissue.

    Args:
        network: keras.Model, as `build_model` returns it.
        images: uint8 array (n, 96, 96, 3).
        positions: int array (m,) of the images to predict, or None for all.
        tta: "none", "flip" (4 views) or "dihedral" (8 views), averaged.

    Returns:
        float32 array (m,), in the order of `positions`.
    """
    return predict_views(network, images, positions, tta)[0]


def predict_views(network, images, positions=None, tta="none"):
    """As `predict`, and beside it the probability from the patch as it is.

    Returns:
        Two float32 arrays (m,).
    """
    positions = np.arange(len(images)) if positions is None else positions
    inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
    views = test_time_views(ops.cast(inputs, "float32"), tta)
    probabilities = network(ops.concatenate(views, axis=0))
    by_view = ops.reshape(probabilities, (len(views), -1))
    batches = Batches(images, positions, IMAGES_PER_PASS // len(views))
    model = keras.Model(inputs, [ops.mean(by_view, axis=0), by_view[0]])
    model.compile(jit_compile=choose_jit_compile())
    return model.predict(batches, verbose=0)
