"""The networks by name: float pixels in, one probability out."""

import keras
from keras import layers

from .config import ARCHITECTURES
from .data import IMAGE_SHAPE
from .networks import FROM_SCRATCH
from .pretrained import find_file, load_base, load_file, tuned_network


def build_model(
    architecture, weights="none", dropout_rate=0.3, input_size=96, crop_size=96
):
    """A network of ARCHITECTURES.

    Args:
        architecture: str, its name.
        weights: "none", "imagenet", or the path of a file: the weights of the base of
            a pretrained architecture, of the whole network for the others.
        dropout_rate: float, of the layer before the last, where it is not published.
        input_size: int, side in pixels to which the patch is resized, bilinearly.
        crop_size: int, even, side in pixels of the centre that is seen at all.

    Returns:
        keras.Model: float32 (b, 96, 96, 3), RGB from 0 to 255 -> float32 (b, 1).

    Raises:
        FileNotFoundError: weights that cannot be found; names the ways to provide them.
        ValueError: a file that does not fit the network.
    """
    inputs = keras.Input(IMAGE_SHAPE, name="pixels")
    pixels = resize_centre(inputs, crop_size, input_size)
    if ARCHITECTURES[architecture].pretrained_file:
        base = load_base(architecture, weights, pixels.shape[1:])
        features = tuned_network(architecture, pixels, base, dropout_rate)
    else:
        features = FROM_SCRATCH[architecture](pixels, dropout_rate)
    # The last layer stays in float32 under mixed precision.
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32")(features)
    model = keras.Model(inputs, outputs, name=architecture)
    if not ARCHITECTURES[architecture].pretrained_file and weights != "none":
        load_file(model, find_file(weights))
    return model


def resize_centre(inputs, crop_size, input_size):
    """The centre of the patch at another size: both keep what turns and mirrors do."""
    border = (IMAGE_SHAPE[0] - crop_size) // 2
    if border:
        inputs = layers.Cropping2D(border)(inputs)
    if input_size != crop_size:  # in float32 under mixed precision as well
        inputs = layers.Resizing(input_size, input_size, dtype="float32")(inputs)
    return inputs
