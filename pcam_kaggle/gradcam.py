"""Grad-CAM: which places of a patch spoke for the answer (Selvaraju et al. 2017)."""

import keras
import numpy as np
from keras import ops

from .data import IMAGE_SHAPE

NUM_SHOWN = 4  # patches of each kind that a network explains
KINDS = {  # kind: (the truth, whether the highest predictions are wanted)
    "surest tumour": (1, True),
    "surest no tumour": (0, False),
    "missed tumour": (1, False),
    "false alarm": (0, True),
}


def choose_shown(labels, predictions):
    """The patches to explain: the surest hits and the worst errors.

    Args:
        labels: int array (n,) of 0 and 1.
        predictions: float array (n,), out of fold.

    Returns:
        dict by kind, as KINDS has them, of places: int array, the most extreme first,
        four or fewer. A tumour is called from 0.5 on.
    """
    order = np.argsort(predictions, kind="stable")
    shown = {}
    for kind, (label, highest) in KINDS.items():
        of_kind = (labels == label) & ((predictions >= 0.5) == highest)
        places = order[::-1] if highest else order
        shown[kind] = places[of_kind[places]][:NUM_SHOWN]
    return shown


def explain(network, images, predictions, crop_size=96):
    """Where each patch's answer came from.

    The last feature maps, weighted by how much the log-odds rise with each (for
    patches under 0.5, how much they fall); what speaks for the answer stays.

    Args:
        network: keras.Model, as `build_model` returns it.
        images: uint8 array (n, 96, 96, 3).
        predictions: float array (n,), of the same network.
        crop_size: int, side of the centre that the network sees.

    Returns:
        float16 array (n, 96, 96), 0 to 1: each map by its own highest value; 0 outside
        the centre that is seen.
    """
    maps, head = split_network(network)
    features = ops.cast(maps(images.astype("float32"), training=False), "float32")
    features = ops.convert_to_numpy(features)
    return weigh_maps(features, differentiate(head, features), predictions, crop_size)


def split_network(network):
    """A network in two: pixels -> last feature maps, and these -> log-odds.

    Returns:
        keras.Model and function of a tensor (n, h, w, c) that returns a tensor (n,).
    """
    # Where maps become numbers. A base's own `output` is of its inner graph.
    features = next(
        layer.input
        for layer in network.layers
        if is_map(layer.input) and layer.output.ndim == 2
    )
    last = network.layers[-1]  # Dense with a sigmoid, whose slope dies when it is sure
    before = keras.Model(features, last.input)

    def head(maps):
        x = ops.cast(before(maps, training=False), "float32")
        return ops.sum(ops.matmul(x, last.kernel) + last.bias, axis=1)

    return keras.Model(network.inputs[0], features), head


def is_map(tensor):
    """Whether a layer takes one tensor of maps (b, h, w, c)."""
    return not isinstance(tensor, list) and tensor.ndim == 4


def differentiate(function, values):
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


def check_backend():
    """Refuse a backend that has no gradient here, before a run begins.

    Raises:
        ValueError: names it.
    """
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise ValueError(
            "KERAS_BACKEND: expected tensorflow or jax; else figures=false. "
            f"Received: {keras.backend.backend()!r}"
        )


def weigh_maps(features, gradients, predictions, crop_size):
    """Feature maps and their gradients (n, h, w, c) as maps of the patch."""
    signs = np.where(np.asarray(predictions) >= 0.5, 1.0, -1.0)
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    maps = np.maximum((weights * features).sum(axis=3) * signs[:, None, None], 0)
    maps /= np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
    size = (crop_size, crop_size)
    large = ops.image.resize(maps[..., None], size, interpolation="bicubic")
    border = (IMAGE_SHAPE[0] - crop_size) // 2
    large = np.clip(ops.convert_to_numpy(large)[..., 0], 0, 1)
    return np.pad(large, ((0, 0), (border, border), (border, border))).astype("float16")
