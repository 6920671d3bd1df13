"""Grad-CAM maps of patches (Selvaraju et al. 2017)."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from ..data.decode import IMAGE_SHAPE
from ..data.run import Patches
from ..system.records import Explanation
from .shown import choose_shown


def explain_maps(
    network: keras.Model,
    patches: Patches,
    positions: np.ndarray,
    predictions: np.ndarray,
    crop_size: int,
) -> Explanation:
    """Explain the surest hits and the worst errors of a network's validation fold.

    Args:
        network: as `build_network` returns it.
        patches: the run's patches.
        positions: int array (m,), the validation fold.
        predictions: float array (m,), of that fold.
        crop_size: side of the center that the network sees.
    """
    shown = choose_shown(patches.labels[positions], predictions)
    shown = np.concatenate(list(shown.values()))
    images = patches.pixels[positions[shown]]
    maps = compute_maps(network, images, predictions[shown], crop_size)
    return Explanation(shown, maps, images)


def compute_maps(
    network: keras.Model, images: np.ndarray, predictions: np.ndarray, crop_size: int
) -> np.ndarray:
    """Compute the Grad-CAM map of each patch.

    It shows on which positions the prediction depends: the last feature maps, weighted by the
    gradient of the log-odds (below 0.5, by its negative); only positive sums are kept.

    Args:
        network: as `build_network` returns it.
        images: uint8 array (n, 96, 96, 3).
        predictions: float array (n,), of the same network.
        crop_size: side of the center that the network sees.

    Returns:
        float16 array (n, 96, 96), as `weigh_maps` returns it.
    """
    maps, head = split_network(network)
    features = ops.cast(maps(images.astype("float32"), training=False), "float32")
    features = ops.convert_to_numpy(features)
    return weigh_maps(features, differentiate(head, features), predictions, crop_size)


def split_network(network: keras.Model) -> tuple:
    """Split a network in two: pixels -> last feature maps, and these -> log-odds.

    Returns:
        keras.Model and function of a tensor (n, h, w, c) that returns a tensor (n,).
    """
    # The layer that turns maps into numbers. A base's own `output` is of its inner graph.
    features = next(
        layer.input for layer in network.layers if is_map(layer.input) and layer.output.ndim == 2
    )
    last = network.layers[-1]  # Dense with a sigmoid, whose gradient vanishes near 0 and 1
    before = keras.Model(features, last.input)

    def head(maps):
        x = ops.cast(before(maps, training=False), "float32")
        return ops.sum(ops.matmul(x, last.kernel) + last.bias, axis=1)

    return keras.Model(network.inputs[0], features), head


def is_map(tensor: object) -> bool:
    """Whether a layer takes one tensor of maps (b, h, w, c)."""
    return getattr(tensor, "ndim", 0) == 4


def differentiate(function: Callable, values: np.ndarray) -> np.ndarray:
    """The gradient of the sum of a function: array of the shape of `values`."""
    tensor = ops.convert_to_tensor(values)
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: function(x).sum())(tensor))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensor)
        result = ops.sum(function(tensor))
    return ops.convert_to_numpy(tape.gradient(result, tensor))


def weigh_maps(
    features: np.ndarray, gradients: np.ndarray, predictions: np.ndarray, crop_size: int
) -> np.ndarray:
    """Turn feature maps and their gradients into maps of the patch.

    Args:
        features, gradients: float arrays (n, h, w, c).
        predictions: float array (n,); below 0.5 the map shows what lowers them.
        crop_size: side of the center that the network sees.

    Returns:
        float16 array (n, 96, 96), 0 to 1: each map scaled by its own maximum; 0 outside the
        center.
    """
    signs = np.where(np.asarray(predictions) >= 0.5, 1.0, -1.0)
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    maps = np.maximum((weights * features).sum(axis=3) * signs[:, None, None], 0)
    maps /= np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
    size = (crop_size, crop_size)
    large = ops.image.resize(maps[..., None], size, interpolation="bicubic")
    border = (IMAGE_SHAPE[0] - crop_size) // 2
    large = np.clip(ops.convert_to_numpy(large)[..., 0], 0, 1)
    return np.pad(large, ((0, 0), (border, border), (border, border))).astype("float16")
