"""A network of keras.applications, frozen, without its head."""

import os
from pathlib import Path

import keras
from keras import layers, ops

from ..data.decode import IMAGE_SHAPE
from ..system.files import hash_file
from ..system.paths import find_attached
from ..system.weights import find_weights, load_base
from .build import resize_center
from .pretrained import BASES, scale_pixels
from .pretrained_settings import PRETRAINED, PretrainedSettings


def build_frozen(settings: PretrainedSettings, dtype: str = "float32") -> keras.Model:
    """Build a frozen base with average pooling.

    Args:
        settings: architecture, weights, crop_size and input_size.
        dtype: of the arithmetic: "float32", "float16" or "bfloat16".

    Returns:
        keras.Model: uint8 (b, 96, 96, 3) -> float32 (b, dim).

    Raises:
        FileNotFoundError, ValueError: as `load_base`.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype if dtype == "float32" else f"mixed_{dtype}")
    try:
        base_class, scaling = BASES[settings.architecture]
        inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
        pixels = ops.cast(inputs, "float32")
        pixels = resize_center(pixels, settings.crop_size, settings.input_size)
        file_name = PRETRAINED[settings.architecture]
        base = load_base(base_class, settings.weights, file_name, pixels.shape[1:])
        features = layers.GlobalAveragePooling2D()(base(scale_pixels(pixels, scaling)))
    finally:
        keras.config.set_dtype_policy(policy)
    base.trainable = False
    return keras.Model(inputs, ops.cast(features, "float32"), name=settings.architecture)


def find_frozen_revision(settings: PretrainedSettings) -> str:
    """The first ten hex digits of the sha256 of the weights file that `build_frozen` loads.

    Returns:
        str, "random" for weights="none", "unknown" if Keras's cache lacks the file.
    """
    if settings.weights == "none":
        return "random"
    if settings.weights == "imagenet":
        file_name = PRETRAINED[settings.architecture]
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        paths = [*find_attached(file_name), home / "models" / file_name]
    else:
        paths = [find_weights(settings.weights)]
    return hash_file(paths[0])[:10] if paths[0].is_file() else "unknown"
