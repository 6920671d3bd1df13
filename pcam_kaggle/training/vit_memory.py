"""The GPU memory that a vision transformer needs, estimated before it is trained."""

import math

import keras

from ..inference.views import IMAGES_PER_PASS
from ..models.vit import BACKBONE
from ..models.vit_settings import VitSettings
from .settings import TrainingSettings

USABLE = 0.9  # share of a GPU's memory that is left to the tensors of a framework


def check_memory(
    network: keras.Model, settings: VitSettings, training: TrainingSettings, memory: int
) -> None:
    """Print the estimate; refuse a network that is too large for the GPU, if there is one.

    Args:
        network: as `build_vit` returns it.
        settings, training: those of the network and of its training.
        memory: the GPU's memory in MiB, or 0.

    Raises:
        ValueError: the GPU has less memory.
    """
    size = training.batch_size
    state = estimate_state(network, bool(training.ema_momentum))
    kept = estimate_activations(network, size)
    needed = state + max(kept, estimate_prediction(network))
    parts = f"{in_gib(state)} of weights and optimizer, {in_gib(kept)} of activations"
    print(f"memory   about {in_gib(needed)} for batches of {size}: {parts}", flush=True)
    limit = USABLE * 2**20 * memory
    if not limit or needed <= limit:
        return
    smaller = int(size * (limit - state) / kept)
    advice = [f"batch_size={smaller} and a learning_rate for it"] * (0 < smaller < size)
    advice += ["a smaller input_size", "weights=dinov2-small"]
    raise ValueError(
        f"weights: {settings.weights} is too large for the GPU. Expected: at most {in_gib(limit)}, "
        f"{USABLE:.0%} of its memory. Received: about {in_gib(needed)} ({parts}) for batch_size="
        f"{size}, input_size={settings.input_size}. Try: {', '.join(advice)}"
    )


def estimate_state(network: keras.Model, has_average: bool) -> int:
    """Bytes of the weights, their gradients, AdamW's two moments and the averaged weights.

    With float16 or bfloat16 arithmetic, the weights have copies in it.
    """
    num_trainable = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    num_copies = 3 + has_average  # besides the weights
    num_half = 0 if network.get_layer(BACKBONE).compute_dtype == "float32" else num_trainable
    return 4 * (network.count_params() + num_copies * num_trainable) + 2 * num_half


def estimate_activations(network: keras.Model, batch_size: int) -> int:
    """Bytes of what the backward pass needs of the forward pass: what TensorFlow's graphs keep."""
    backbone = network.get_layer(BACKBONE)
    item, num_tokens, hidden = measure_block(backbone)
    dim, scores = backbone.hidden_dim, backbone.num_heads * num_tokens
    # Of each token, a block keeps four float32 vectors for the normalizations; their results;
    # queries, keys, values; the result of the attention before and after its last layer; that of
    # the MLP; four tensors of its hidden layer; and the scores, which softmax computes in float32.
    per_token = dim * (4 * 4 + 8 * item) + 4 * hidden * item
    per_token += scores * (item if item == 4 else item + 4)
    return batch_size * num_tokens * backbone.num_layers * per_token


def estimate_prediction(network: keras.Model) -> int:
    """Bytes of the largest tensors of a pass of `predict_views`, which keeps no block."""
    backbone = network.get_layer(BACKBONE)
    item, num_tokens, hidden = measure_block(backbone)
    scores = backbone.num_heads * num_tokens * (item + 4)
    per_token = 2 * backbone.hidden_dim * item + max(3 * hidden * item, scores)
    return IMAGES_PER_PASS * num_tokens * per_token


def measure_block(backbone: keras.Model) -> tuple:
    """The bytes of a number, the number of tokens, and the width of the MLP's hidden layer."""
    item = 4 if backbone.compute_dtype == "float32" else 2
    share = 2 / 3 if backbone.use_swiglu_ffn else 1
    return item, backbone.output_shape[1], round(share * backbone.intermediate_dim)


def in_gib(num_bytes: float) -> str:
    """Format bytes for people."""
    return f"{num_bytes / 2**30:.1f} GiB"
