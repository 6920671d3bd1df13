"""Grad-CAM of a kept network that was trained on pixels."""

import functools

import keras
import numpy as np

from ..analysis.gradcam import compute_maps, is_map
from ..inference.views import predict_views
from .explain_run import find_crop


def explain_pixels(network: keras.Model, facts: dict, pixels: np.ndarray) -> tuple | None:
    """Predict patches, and compute the map of each.

    Args:
        network: as `load_network` returns it.
        facts: those about the network.
        pixels: uint8 array (n, 96, 96, 3).

    Returns:
        The probabilities, float32 (n,), and a function of probabilities that returns the maps of
        what supports them, float16 (n, 96, 96); None for a network without feature maps.
    """
    if not has_maps(network):
        return None
    predictions, _ = predict_views(network, pixels)
    draw = functools.partial(compute_maps, network, pixels, crop_size=find_crop(facts))
    return predictions, draw


def has_maps(network: keras.Model) -> bool:
    """Whether a layer of the network turns feature maps into numbers."""
    pairs = ((layer.input, layer.output) for layer in network.layers)
    return any(is_map(before) and after.ndim == 2 for before, after in pairs if before is not after)
