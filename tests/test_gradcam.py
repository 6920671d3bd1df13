"""Grad-CAM: the right place lights up, for every kind of network."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from pcam_kaggle.gradcam import choose_shown, differentiate, explain, split_network

from pcam_kaggle.models import build_model


def test_the_place_that_decides_lights_up():
    """A network that looks at red alone, and a patch with one red corner."""
    inputs = keras.Input((96, 96, 3))
    maps = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(inputs))
    outputs = layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling2D()(maps))
    network = keras.Model(inputs, outputs)
    network.layers[-1].set_weights([np.array([[9.0], [0], [0]]), np.array([-1.0])])
    images = np.zeros((2, 96, 96, 3), "uint8")
    images[:, :24, 72:, 0] = 255
    images[:, 72:, :24, 1] = 255  # green says nothing
    heat = explain(network, images, predictions=np.array([0.9, 0.9]))
    assert heat.dtype == np.float16 and heat.shape == (2, 96, 96)
    assert heat.max() == 1
    assert heat[0, 8:16, 80:88].min() > 0.95
    assert heat[0, 40:, :].max() < 0.05
    assert explain(network, images, np.array([0.1, 0.1])).max() == 0  # nothing against


@pytest.mark.parametrize(
    "architecture",
    ["small_cnn", "p4m_densenet", "my_vgg16", "vgg16", "efficientnetv2b0"],
)
def test_the_two_halves_are_the_network(architecture, genuine):
    network = build_model(architecture)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    maps, head = split_network(network)
    features = maps(pixels, training=False)
    assert features.ndim == 4 and features.shape[1] < 96
    log_odds = ops.convert_to_numpy(head(ops.cast(features, "float32")))
    expected = network.predict(pixels, verbose=0)[:, 0]
    assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(expected, abs=1e-6)
    heat = explain(network, pixels.astype("uint8"), expected)
    assert np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1


def test_the_gradient_is_the_slope():
    values = np.random.default_rng(0).uniform(0.5, 1, (3, 4)).astype("float32")
    found = differentiate(lambda x: ops.sum(x**3, axis=1), values)
    assert found == pytest.approx(3 * values**2, rel=1e-5)


def test_what_lies_outside_the_centre_stays_dark():
    network = build_model("small_cnn", crop_size=64, input_size=64)
    images = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3), dtype="uint8")
    heat = explain(network, images, np.array([0.6, 0.4]), crop_size=64)
    assert heat[:, :16].max() == heat[:, :, 80:].max() == 0


def test_the_surest_and_the_worst_are_shown():
    predictions = np.array([0.99, 0.6, 0.2, 0.01, 0.8, 0.3, 0.5])
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    shown = choose_shown(labels, predictions)
    assert {kind: places.tolist() for kind, places in shown.items()} == {
        "surest tumour": [0, 1],
        "surest no tumour": [3, 5],
        "missed tumour": [2],
        "false alarm": [4, 6],
    }
    many = choose_shown(np.ones(50, int), np.linspace(0.6, 0.9, 50))
    assert many["surest tumour"].tolist() == [49, 48, 47, 46]
    assert many["missed tumour"].size == 0
