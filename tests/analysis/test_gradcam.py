"""Grad-CAM: the right place lights up, for every kind of network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from pcam_kaggle.analysis.gradcam import (
    compute_maps,
    differentiate,
    explain_maps,
    split_network,
    weigh_maps,
)
from pcam_kaggle.data.run import Patches
from pcam_kaggle.models.by_name import build_model
from pcam_kaggle.models.settings import NetworkSettings
from pcam_kaggle.models.small import build_small

IMAGES = np.random.default_rng(0).integers(0, 255, (24, 96, 96, 3), dtype="uint8")


@pytest.fixture(scope="module")
def red():
    """A network that looks at red alone."""
    inputs = keras.Input((96, 96, 3))
    maps = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(inputs))
    outputs = layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling2D()(maps))
    network = keras.Model(inputs, outputs)
    network.layers[-1].set_weights([np.array([[9.0], [0], [0]]), np.array([-1.0])])
    return network


def test_the_place_that_decides_lights_up(red):
    images = np.zeros((2, 96, 96, 3), "uint8")
    images[:, :24, 72:, 0] = 255
    images[:, 72:, :24, 1] = 255  # green says nothing
    heat = compute_maps(red, images, np.array([0.9, 0.9]), crop_size=96)
    assert heat.dtype == np.float16 and heat.shape == (2, 96, 96)
    assert heat.max() == 1
    assert heat[0, 8:16, 80:88].min() > 0.95
    assert heat[0, 40:, :].max() < 0.05
    against = compute_maps(red, images, np.array([0.1, 0.1]), crop_size=96)
    assert against.max() == 0  # nothing speaks against tumor


@pytest.mark.parametrize(
    "architecture", ["small_cnn", "p4m_densenet", "my_vgg16", "vgg16", "efficientnetv2b0"]
)
def test_the_two_halves_are_the_network(architecture):
    if architecture == "small_cnn":
        network = build_small(NetworkSettings())
    else:
        network = build_model(architecture)
    pixels = IMAGES[:2].astype("float32")
    maps, head = split_network(network)
    features = maps(pixels, training=False)
    assert features.ndim == 4 and features.shape[1] < 96
    log_odds = ops.convert_to_numpy(head(ops.cast(features, "float32")))
    expected = ops.convert_to_numpy(network(pixels, training=False))[:, 0]
    assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(expected, abs=1e-6)
    heat = compute_maps(network, IMAGES[:2], expected, crop_size=96)
    assert np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1


def test_the_gradient_is_the_slope():
    values = np.random.default_rng(0).uniform(0.5, 1, (3, 4)).astype("float32")
    found = differentiate(lambda x: ops.sum(x**3, axis=1), values)
    assert found == pytest.approx(3 * values**2, rel=1e-5)


def test_what_lies_outside_the_center_stays_dark():
    network = build_small(NetworkSettings(crop_size=64, input_size=64))
    heat = compute_maps(network, IMAGES[:2], np.array([0.6, 0.4]), crop_size=64)
    assert heat.shape == (2, 96, 96)
    assert heat[:, :16].max() == heat[:, 80:].max() == 0
    assert heat[:, :, :16].max() == heat[:, :, 80:].max() == 0


def test_maps_are_weighted_by_their_mean_gradient_and_scaled_each():
    features = np.zeros((2, 6, 6, 2))
    features[:, 1, 1, 0], features[:, 4, 4, 1] = 5, 3
    gradients = np.ones((2, 6, 6, 2)) * [0.1, -0.2]
    heat = weigh_maps(features, gradients, np.array([0.9, 0.1]), crop_size=96).astype(float)
    assert heat.max(axis=(1, 2)) == pytest.approx(1, abs=0.01)
    places = [np.unravel_index(one.argmax(), one.shape) for one in heat]
    assert [[n // 16 for n in place] for place in places] == [[1, 1], [4, 4]]


def test_the_surest_and_the_worst_of_a_fold_are_explained(red):
    labels = np.arange(24) % 2
    positions = np.array([20, 3, 8, 11, 2, 5, 14, 17])
    predictions = np.array([0.1, 0.9, 0.8, 0.2, 0.3, 0.7, 0.6, 0.4])
    patches = Patches(IMAGES, labels, IMAGES[:0], IMAGES)
    found = explain_maps(red, patches, positions, predictions, crop_size=96)
    kinds = [1, 5], [0, 4], [3, 7], [2, 6]  # tumor, no tumor, missed, false alarms
    assert found.shown.tolist() == sum(kinds, [])
    assert (found.patches == IMAGES[positions[found.shown]]).all()
    expected = compute_maps(red, found.patches, predictions[found.shown], crop_size=96)
    assert (found.maps == expected).all()
