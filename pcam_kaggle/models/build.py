"""Input, pooling and output of all networks."""

from collections.abc import Callable

import keras
from keras import KerasTensor, layers

from ..data.decode import IMAGE_SHAPE
from ..system.settings import Part
from ..system.weights import find_weights, load_file


def build_network(name: str, body: Callable, settings: Part, has_base: bool = False) -> keras.Model:
    """Build a network: float32 (b, 96, 96, 3), RGB from 0 to 255 -> float32 (b, 1).

    Args:
        name: the network's name.
        body: function of a tensor (b, side, side, 3), 0 to 255, and the settings that returns a
            tensor (b, features).
        settings: a part with crop_size, input_size and weights.
        has_base: whether `body` loads the weights of its base; otherwise they are a file of the
            whole network.

    Raises:
        FileNotFoundError, ValueError: the weights cannot be found or do not fit.
    """
    inputs = keras.Input(IMAGE_SHAPE, name="pixels")
    pixels = resize_center(inputs, settings.crop_size, settings.input_size)
    features = body(pixels, settings)
    # The last layer stays float32 under mixed precision.
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32")(features)
    network = keras.Model(inputs, outputs, name=name)
    if not has_base and settings.weights != "none":
        load_file(network, find_weights(settings.weights))
    return network


def resize_center(inputs: KerasTensor, crop_size: int, input_size: int) -> KerasTensor:
    """Crop the center and resize it; both commute with the eight symmetries."""
    border = (IMAGE_SHAPE[0] - crop_size) // 2
    if border:
        inputs = layers.Cropping2D(border)(inputs)
    if input_size != crop_size:  # float32 even under mixed precision
        inputs = layers.Resizing(input_size, input_size, dtype="float32")(inputs)
    return inputs


def pooled_head(features: KerasTensor, dropout_rate: float) -> KerasTensor:
    """Concatenated global average and max pooling, then dropout."""
    average = layers.GlobalAveragePooling2D()(features)
    highest = layers.GlobalMaxPooling2D()(features)
    return layers.Dropout(dropout_rate)(layers.Concatenate()([average, highest]))
