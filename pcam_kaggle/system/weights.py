"""Pretrained weights: found and loaded, or refused."""

from collections.abc import Callable
from pathlib import Path

import keras

from .paths import find_attached


def load_base(
    base_class: Callable, weights: str, file_name: str, input_shape: tuple
) -> keras.Model:
    """Build a base of keras.applications and load its weights.

    A file is looked up as a path, then by its name among the kernel's inputs. "imagenet" stands
    for a file of Keras's name among these inputs, else in Keras's cache, else downloaded.

    Args:
        base_class: such as keras.applications.DenseNet121.
        weights: "imagenet", "none", or a file of the base's weights.
        file_name: Keras's name of the file of ImageNet weights.
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
            f"download failed. Expected: {file_name}. Received: {error}. Try: turn on the kernel's "
            "internet; attach a dataset or model that holds this file; give a file with "
            "weights=PATH; or train from scratch with weights=none"
        ) from error


def find_weights(weights: str) -> Path:
    """Return the path of a weights file, given as a path or as the name of an attached file."""
    found = [Path(weights)] if Path(weights).is_file() else []
    found += find_attached(Path(weights).name)
    if not found:
        raise FileNotFoundError(
            "weights: expected none, a file here or in an attached dataset, or imagenet where the "
            f"network has such weights. Received: weights={weights!r}"
        )
    return found[0]


def load_file(model: keras.Model, path: Path) -> None:
    """Load a weights file into a model; raise a ValueError if it does not fit."""
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"weights: {path} does not fit {model.name} ({model.count_params():,} parameters). "
            f"Expected: weights of the same network. Received: {str(error).splitlines()[0]}"
        ) from error
