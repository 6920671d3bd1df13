"""Grad-CAM of a kept transformer, frozen or tuned."""

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from ..inference.load_frozen import load_frozen
from ..inference.views import predict_views
from .explain_run import find_crop
from .features import average_features
from .token_maps import compute_token_maps, differentiate_head


def make_explainer(weights: str = "none", say: Callable = print) -> Callable:
    """Make a function like `explain_pixels` for transformers, which loads a frozen one once.

    Args:
        weights, say: as for `load_frozen`.
    """
    loaded = {}

    def explain(head: keras.Model, facts: dict, pixels: np.ndarray) -> tuple | None:
        if not facts["backbone"]:
            return explain_tuned(head, facts, pixels)
        key = repr(facts["backbone"])
        if key not in loaded:
            backbone = load_frozen(facts, say, weights)
            loaded[key] = backbone, average_features(backbone, "none")
        backbone, extractor = loaded[key]
        features = extractor.predict(pixels, batch_size=16, verbose=0)
        predictions = head.predict(features.astype("float32"), verbose=0)[:, 0]
        slopes, size = differentiate_head(head, features), facts["backbone"]["crop_size"]
        draw = functools.partial(compute_token_maps, backbone, slopes, pixels, crop_size=size)
        return predictions, draw

    return explain


def explain_tuned(network: keras.Model, facts: dict, pixels: np.ndarray) -> tuple | None:
    """Like `explain_pixels`, for a tuned transformer, which ends in a head on its tokens."""
    if not any(op.output.ndim == 3 for op in network.operations):
        return None
    predictions, _ = predict_views(network, pixels)
    slopes = ops.convert_to_numpy(network.layers[-1].kernel).T.repeat(len(pixels), axis=0)
    crop = {"crop_size": find_crop(facts)}
    return predictions, functools.partial(compute_token_maps, network, slopes, pixels, **crop)
