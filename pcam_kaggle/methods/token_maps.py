"""Grad-CAM maps from the tokens of a frozen transformer."""

import keras
import numpy as np
from keras import ops

from ..analysis.gradcam import differentiate, weigh_maps
from ..analysis.shown import choose_shown
from ..data.run import Patches
from ..system.records import Explanation


def explain_tokens(
    backbone: keras.Model,
    head: keras.Model,
    patches: Patches,
    positions: np.ndarray,
    predictions: np.ndarray,
    crop_size: int,
) -> Explanation:
    """Like `explain_maps`, for a head on the features of a frozen transformer.

    Args:
        backbone: as `load_backbone` returns it.
        head: as `LinearProbe.fit` returns it.
        patches: the run's patches, with features for images.
        positions: int array (m,), the validation fold.
        predictions: float array (m,), of that fold.
        crop_size: side of the center that the backbone sees.
    """
    shown = choose_shown(patches.labels[positions], predictions)
    shown = np.concatenate(list(shown.values()))
    chosen = positions[shown]
    slopes = differentiate_head(head, patches.images[chosen])
    images = patches.pixels[chosen]
    answers = predictions[shown]
    maps = compute_token_maps(backbone, slopes, images, answers, crop_size)
    return Explanation(shown, maps, images)


def compute_token_maps(
    backbone: keras.Model,
    slopes: np.ndarray,
    images: np.ndarray,
    predictions: np.ndarray,
    crop_size: int = 96,
) -> np.ndarray:
    """Compute the map of each patch: which of its tokens the prediction depends on.

    Args:
        backbone: keras.Model, `load_backbone`'s or `build_vit`'s.
        slopes: float array (n, dim), as `differentiate_head` returns it.
        images: uint8 array (n, 96, 96, 3).
        predictions: float array (n,), of the head.
        crop_size: side of the center that the backbone sees.

    Returns:
        float16 array (n, 96, 96), 0 to 1.
    """
    tokens = [op.output for op in backbone.operations if op.output.ndim == 3][-1]
    tokens = ops.convert_to_numpy(keras.Model(backbone.inputs[0], tokens)(images))
    side = int(np.sqrt(tokens.shape[1]))  # after class and register tokens
    patches = tokens[:, -(side**2) :].reshape(len(images), side, side, -1)
    of_mean = slopes[:, None, None, -patches.shape[-1] :]
    return weigh_maps(patches, of_mean, predictions, crop_size)


def differentiate_head(head: keras.Model, features: np.ndarray) -> np.ndarray:
    """The gradient of the log-odds by the features (n, dim): float32 array (n, dim)."""
    before, last = keras.Model(head.inputs[0], head.layers[-1].input), head.layers[-1]
    return differentiate(lambda x: ops.matmul(before(x), last.kernel), features.astype("float32"))
