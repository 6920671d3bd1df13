"""A tuned vision transformer: its tokens, its weights, its file."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from small_task import IMAGES
from small_transformer import DIM
from small_vit import SIZE, make_network_settings, make_weights
from test_models import count_trainable, read_table

from pcam_kaggle.inference.load_network import list_layers, load_network
from pcam_kaggle.inference.networks import save_network
from pcam_kaggle.inference.predict import predict
from pcam_kaggle.models.build import build_network
from pcam_kaggle.models.transformer import load_backbone
from pcam_kaggle.models.vit import BACKBONE, build_vit, copy_backbone, keep_positions
from pcam_kaggle.models.vit_settings import VitSettings

keras_hub = pytest.importorskip("keras_hub")
pytest.importorskip("safetensors")

PIXELS = IMAGES[:6].astype("float32")
VIT_BASE = {"patch_size": 14, "num_layers": 12, "hidden_dim": 768, "num_heads": 12}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return make_weights(tmp_path_factory.mktemp("hub") / "small")


def build(weights, policy="float32", **changes):
    """A network built under a policy."""
    keras.config.set_dtype_policy(policy)
    try:
        return build_vit(make_network_settings(weights, **changes))
    finally:
        keras.config.set_dtype_policy("float32")


def find_features(network, images):
    """What the last layer sees."""
    return ops.convert_to_numpy(keras.Model(network.inputs, network.layers[-1].input)(images))


@pytest.mark.parametrize("options", [{}, {"num_registers": 0}, {"swiglu": True}])
def test_the_last_layer_sees_what_the_frozen_transformer_gives(tmp_path, options):
    """The class token and the mean of the patches, without the registers, of the center."""
    folder = make_weights(tmp_path / "model", **options)
    network = build(folder, crop_size=64)
    expected = load_backbone(str(folder), SIZE, 64)(IMAGES[:6])
    assert expected.shape == (6, 2 * DIM)
    np.testing.assert_allclose(find_features(network, PIXELS), expected, rtol=1e-4, atol=1e-4)
    assert (network.input_shape, network.output_shape) == ((None, 96, 96, 3), (None, 1))
    assert network(PIXELS).dtype == "float32"


@pytest.mark.parametrize("num_registers", [0, 2])
def test_every_weight_is_trained_and_gets_a_gradient(tmp_path, num_registers):
    import tensorflow as tf

    network = build(make_weights(tmp_path / "model", num_registers=num_registers))
    frozen = [w.path.rpartition("/")[2] for w in network.non_trainable_weights]
    assert frozen == ["position_embeddings"]  # those that are saved
    with tf.GradientTape() as tape:
        loss = ops.sum(network(PIXELS, training=True))
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    for variable, gradient in zip(network.trainable_variables, gradients):
        if not variable.path.endswith("key/bias"):  # changes no softmax
            assert gradient is not None and np.abs(gradient).max() > 1e-9, variable.path


def test_a_transformer_follows_the_policy_and_keeps_float32_weights(weights):
    network = build(weights, "mixed_float16")
    backbone = network.get_layer(BACKBONE)
    assert backbone.output.dtype == "float16" and network.output.dtype == "float32"
    assert {weight.dtype for weight in network.weights} == {"float32"}
    plain = find_features(build(weights), PIXELS)
    np.testing.assert_allclose(find_features(network, PIXELS), plain, atol=0.05)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_saved_transformer_predicts_the_same(weights, policy, sign, tmp_path):
    """keras-hub itself loses changes of the position embeddings whose sum is positive."""
    network = build(weights, policy)
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        change = np.abs(random.normal(0, 0.1, variable.shape))
        variable.assign(variable + sign * change)
    keep_positions(network.get_layer(BACKBONE))
    save_network(tmp_path / "network.keras", network, {"fold": 1})
    loaded, facts = load_network(tmp_path / "network.keras")
    assert facts["fold"] == 1
    for ours, theirs in zip(network.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    assert {layer.compute_dtype for layer in list_layers(loaded)} == {"float32"}
    expected = predict(network, IMAGES[:6])
    assert np.ptp(expected) > 1e-3
    tolerance = 1e-6 if policy == "float32" else 5e-3
    np.testing.assert_allclose(predict(loaded, IMAGES[:6]), expected, atol=tolerance)


def test_a_saved_transformer_without_keras_hub_says_what_to_install(weights, tmp_path, monkeypatch):
    save_network(tmp_path / "network.keras", build(weights), {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'needs keras-hub.*pip install -e "\.\[foundation\]"'):
        load_network(tmp_path / "network.keras")


def test_the_table_has_the_counts_of_vit_b(tmp_path):
    settings = VitSettings()
    shape = (settings.input_size, settings.input_size, 3)
    backbone = keras_hub.models.DINOV2Backbone(**VIT_BASE, intermediate_dim=3072, image_shape=shape)
    backbone = copy_backbone(backbone)

    def body(pixels, _):
        tokens = backbone({"images": pixels})
        return ops.concatenate([tokens[:, 0], ops.mean(tokens[:, 1:], axis=1)], axis=-1)

    network, row = build_network("vit", body, settings, has_base=True), read_table()["vit"]
    assert network.count_params() == int(row["parameters"])
    assert count_trainable(network) == int(row["trainable"])


def test_a_vit_that_is_no_dinov2_is_refused(tmp_path, monkeypatch):
    other = keras_hub.models.ViTBackbone(
        image_shape=(28, 28, 3), patch_size=14, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )
    other.save_to_preset(tmp_path / "other")
    with pytest.raises(ValueError, match=r"of type dinov2 or dinov2_with.*a ViTBackbone"):
        build(tmp_path / "other", input_size=28)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weights": "none"}, r"weights: expected those of a transformer.*dinov2-base"),
        ({"crop_size": 65}, "crop_size: expected an even number"),
        ({"layer_decay": 0.0}, "layer_decay: expected a number from 0.1 to 1"),
        ({"input_size": 14}, "input_size: expected a whole number from 28 to 518"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        VitSettings(**change)


def test_a_size_that_is_no_multiple_of_the_patches_is_refused(weights):
    assert json.loads((weights / "config.json").read_text("utf-8"))["patch_size"] == 14
    with pytest.raises(ValueError, match="multiple of 14 pixels.*input_size=57"):
        build(weights, input_size=57)
