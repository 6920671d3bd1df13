"""Grad-CAM of a kept head on a frozen transformer."""

import functools
from collections.abc import Callable

import keras
import numpy as np

from ..inference.load_frozen import load_frozen
from .features import average_features
from .token_maps import compute_token_maps, differentiate_head


def make_explainer(weights: str = "none", say: Callable = print) -> Callable:
    """Make a function like `explain_pixels` for heads, which loads their transformer once.

    Args:
        weights, say: as for `load_frozen`.
    """
    loaded = {}

    def explain(head: keras.Model, facts: dict, pixels: np.ndarray) -> tuple | None:
        if not facts["backbone"]:
            return None
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
