"""The memory estimate of a transformer, against Keras's counts and TensorFlow's graphs."""

import math

import keras
import pytest
import tensorflow as tf
from small_task import make_settings
from small_vit import make_network_settings

from pcam_kaggle.models.vit import BACKBONE, copy_backbone
from pcam_kaggle.training.optimizer import compile_model
from pcam_kaggle.training.vit_memory import (
    check_memory,
    estimate_activations,
    estimate_prediction,
    estimate_state,
)

keras_hub = pytest.importorskip("keras_hub")

POLICIES = ["float32", "mixed_float16"]


def build(policy="float32", num_layers=4, num_heads=3, size=84, swiglu=False):
    """A random transformer with a last layer."""
    keras.config.set_dtype_policy(policy)
    try:
        shape = (size, size, 3)
        backbone = keras_hub.models.DINOV2Backbone(
            **{"patch_size": 14, "hidden_dim": 48, "intermediate_dim": 192, "image_shape": shape},
            **{"num_layers": num_layers, "num_heads": num_heads, "use_swiglu_ffn": swiglu},
        )
        backbone = copy_backbone(backbone)
        inputs = keras.Input(shape)
        last = keras.layers.Dense(1, activation="sigmoid", dtype="float32")
        return keras.Model(inputs, last(backbone({"images": inputs})[:, 0]))
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_state_is_that_of_keras_and_the_gradients(ema):
    network = build()
    compile_model(network, make_settings(ema_momentum=ema).training, num_steps=10)
    network.optimizer.build(network.trainable_variables)
    variables = [*network.variables, *network.optimizer.variables]
    held = sum(4 * math.prod(v.shape) for v in variables if v.ndim)
    gradients = sum(4 * math.prod(v.shape) for v in network.trainable_variables)
    scalars = 4 * network.optimizer.variables[0].ndim
    assert estimate_state(network, bool(ema)) == held + gradients + scalars


def test_half_precision_adds_copies_of_the_weights():
    plain, mixed = (build(policy) for policy in POLICIES)
    trained = sum(math.prod(v.shape) for v in mixed.trainable_variables)
    assert estimate_state(mixed, False) - estimate_state(plain, False) == 2 * trained


def measure_kept(network, batch_size):
    """Bytes of the tensors of a batch that a graph's backward pass reads of its forward pass."""
    shape = (batch_size, *network.input_shape[1:])
    first = set()

    @tf.function
    def find_gradients(pixels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(pixels, training=True))
        first.update(op.name for op in tf.compat.v1.get_default_graph().get_operations())
        return tape.gradient(loss, [v.value for v in network.trainable_variables])

    graph = find_gradients.get_concrete_function(tf.TensorSpec(shape)).graph
    later = [op for op in graph.get_operations() if op.name not in first]
    kept = {t.name: t for op in later for t in op.inputs if t.op.name in first}
    return sum(
        math.prod(t.shape) * t.dtype.size for t in kept.values() if t.shape[:1] == [batch_size]
    )


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("options", [{}, {"swiglu": True}, {"num_heads": 6}, {"size": 140}])
def test_the_activations_are_those_that_a_graph_keeps(policy, options):
    network = build(policy, num_layers=4, **options)
    shallow = build(policy, num_layers=2, **options)
    grown = measure_kept(network, 5) - measure_kept(shallow, 5)
    assert estimate_activations(network, 5) == pytest.approx(2 * grown, rel=0.02)
    assert estimate_activations(network, 5) == pytest.approx(measure_kept(network, 5), rel=0.15)


def test_more_patches_tokens_and_layers_need_more():
    small = estimate_activations(build(num_layers=2), 4)
    assert estimate_activations(build(num_layers=2), 8) == 2 * small
    assert estimate_activations(build(num_layers=4), 4) == 2 * small
    assert estimate_activations(build(num_layers=2, size=168), 4) > 4 * small
    assert estimate_prediction(build(size=168)) > 4 * estimate_prediction(build())


def check(network, memory, **training):
    settings = make_settings(**training).training
    check_memory(network, make_network_settings("some"), settings, memory)


def test_what_fits_is_announced(capsys):
    check(build(), 15360, batch_size=64)
    text = capsys.readouterr().out
    assert text.startswith("memory   about 0.") and "GiB for batches of 64: " in text
    check(build(), 0, batch_size=10**9)  # no GPU


def test_what_does_not_fit_is_refused_with_a_batch_that_does():
    network = build("mixed_float16")
    message = r"Received: about .*batch_size=65536.*Try: batch_size=(\d+) and"
    with pytest.raises(ValueError, match=message) as caught:
        check(network, 8192, batch_size=65536)
    smaller = int(str(caught.value).partition("Try: batch_size=")[2].split()[0])
    check(network, 8192, batch_size=smaller)
    with pytest.raises(ValueError, match="too large"):
        check(network, 8192, batch_size=smaller + smaller // 10)


def test_no_batch_is_proposed_where_none_fits():
    with pytest.raises(ValueError, match=r"Try: a smaller input_size, weights=dino"):
        check(build(), 1, batch_size=8)


def test_a_vit_b_fits_on_a_t4_and_a_vit_g_does_not():
    """By arithmetic: 86 million weights at 126 pixels; 1.1 billion at 224."""
    assert build().get_layer(BACKBONE).num_layers == 4  # the measured part scales

    class Network:
        def __init__(self, num_weights, **facts):
            self.count, self.facts = num_weights, facts
            self.trainable_weights = [type("Weight", (), {"shape": (num_weights,)})]

        def count_params(self):
            return self.count

        def get_layer(self, name):
            rest = {"compute_dtype": "float16", "use_swiglu_ffn": False}
            return type("Backbone", (), {**rest, **self.facts})

    base = {"hidden_dim": 768, "num_heads": 12, "num_layers": 12, "intermediate_dim": 3072}
    base = Network(86_000_000, output_shape=(None, 82, 768), **base)
    check(base, 15360, batch_size=64, ema_momentum=0.9)
    giant = {"hidden_dim": 1536, "num_heads": 24, "num_layers": 40, "intermediate_dim": 6144}
    giant = Network(1_136_000_000, output_shape=(None, 257, 1536), **giant)
    with pytest.raises(ValueError, match="dinov2-small"):
        check(giant, 15360, batch_size=1)
