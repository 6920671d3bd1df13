"""Frozen networks of keras.applications as backbones."""

import hashlib

import keras
import numpy as np
import pytest

from pcam_kaggle.models.frozen import build_frozen, find_frozen_revision
from pcam_kaggle.models.pretrained_settings import PretrainedSettings


def make_settings(**changes):
    """A small network's settings, without a download."""
    small = {"architecture": "nasnetmobile", "weights": "none", "input_size": 32}
    return PretrainedSettings(**{**small, **changes})


def test_it_pools_the_maps_of_the_base():
    settings = make_settings(crop_size=32)
    network = build_frozen(settings)
    assert not network.trainable_variables
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    base = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    center = images[:, 32:64, 32:64].astype("float32")
    maps = np.asarray(base(center / 127.5 - 1, training=False))
    features = np.asarray(network(images))
    assert features.shape == (3, base.output_shape[-1]) and features.dtype == np.float32
    np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_its_arithmetic_has_the_dtype_and_the_policy_stays():
    network = build_frozen(make_settings(), "float16")
    base = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    convolution = next(x for x in base.layers if isinstance(x, keras.layers.Conv2D))
    assert convolution.compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"
    assert network.output.dtype == "float32"


def test_its_revision_is_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path / "input"))
    assert find_frozen_revision(make_settings()) == "random"
    assert find_frozen_revision(make_settings(weights="imagenet")) == "unknown"
    own = tmp_path / "own.weights.h5"
    own.write_bytes(b"own")
    cached = tmp_path / "models" / "nasnet_mobile_no_top.h5"
    cached.parent.mkdir()
    cached.write_bytes(b"cached")
    for weights, content in ((str(own), b"own"), ("imagenet", b"cached")):
        digits = hashlib.sha256(content).hexdigest()[:10]
        assert find_frozen_revision(make_settings(weights=weights)) == digits
    with pytest.raises(FileNotFoundError):
        find_frozen_revision(make_settings(weights="missing.h5"))
