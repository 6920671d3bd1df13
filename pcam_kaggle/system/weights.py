"""Pretrained weights: found, loaded, or refused with the ways to provide them."""

from collections.abc import Callable
from pathlib import Path

import keras

from .paths import find_attached


def load_base(
    base_class: Callable, weights: str, file_name: str, input_shape: tuple
) -> keras.Model:
    """A base of keras.applications, its weights found in this order.

    The file given (as a path, else by its name among the kernel's inputs); for "imagenet" a
    file of Keras's name attached to the kernel as a dataset or model, Keras's cache, the
    download.

    Args:
        base_class: such as keras.applications.DenseNet121.
        weights: "imagenet", "none", or a file of the base's weights.
        file_name: the name that Keras gives to the ImageNet weights.
        input_shape: (side, side, 3).
    """
    path = None
    if weights == "imagenet":
        path = next(iter(find_attached(file_name)), None)
    elif weights != "none":
        path = find_weights(weights)
    if path or weights == "none":
        base = base_class(include_top=False, weights=None, input_shape=input_shape)
        if path:
            load_file(base, path)
        return base
    try:
        return base_class(include_top=False, weights="imagenet", input_shape=input_shape)
    except Exception as error:  # Keras raises no narrower class when a download fails
        raise FileNotFoundError(
            "no ImageNet weights: not attached to the kernel, not in Keras's cache, and the "
            f"download failed. Expected: {file_name}. Try: switch the kernel's internet on; attach "
            "a dataset or model that holds this file; give a file with weights=PATH; or train from "
            f"scratch with weights=none. Received: {error}"
        ) from error


def find_weights(weights: str) -> Path:
    """The path of a weights file, given as a path or by the name of an attached one."""
    found = [Path(weights)] if Path(weights).is_file() else []
    found += find_attached(Path(weights).name)
    if not found:
        raise FileNotFoundError(
            "weights: expected none, a file here or in an attached dataset, or imagenet where the "
            f"network has such weights. Received: weights={weights!r}"
        )
    return found[0]


def load_file(model: keras.Model, path: Path) -> None:
    """Load a weights file into a model, or say that it does not fit."""
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"weights: {path} does not fit {model.name} ({model.count_params():,} parameters). "
            f"Expected: weights of the same network. Received: {str(error).splitlines()[0]}"
        ) from error
