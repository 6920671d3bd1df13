"""Prediction: invariant under its own views, in the order asked for."""

import keras
import numpy as np
import pytest
from pcam_kaggle.prediction import predict

from pcam_kaggle.models import build_model

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3)).astype("uint8")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_model("small_cnn")


@pytest.mark.parametrize(
    "tta, view",
    [
        ("flip", lambda x: x[:, ::-1]),
        ("flip", lambda x: x[:, :, ::-1]),
        ("flip", lambda x: x[:, ::-1, ::-1]),
        ("dihedral", lambda x: x[:, ::-1]),
        ("dihedral", lambda x: x.transpose(0, 2, 1, 3)),
        ("dihedral", lambda x: np.rot90(x, 1, (1, 2))),
        ("dihedral", lambda x: np.rot90(x, 3, (1, 2))),
    ],
)
def test_tta_is_invariant_under_its_own_group(network, tta, view):
    seen = predict(network, np.ascontiguousarray(view(IMAGES)), tta=tta)
    assert np.abs(seen - predict(network, IMAGES, tta=tta)).max() < 1e-6


def test_flips_alone_do_not_cover_a_quarter_turn(network):
    turned = np.ascontiguousarray(np.rot90(IMAGES, 1, (1, 2)))
    seen = predict(network, turned, tta="flip")
    assert np.abs(seen - predict(network, IMAGES, tta="flip")).max() > 1e-6


def test_tta_is_the_mean_over_views_in_evaluation_mode(network):
    flips = [IMAGES[:, ::a, ::b] for a in (1, -1) for b in (1, -1)]
    single = [np.asarray(network(v.astype("float32")))[:, 0] for v in flips]
    assert np.allclose(predict(network, IMAGES, tta="flip"), np.mean(single, 0))
    assert np.allclose(predict(network, IMAGES, tta="none"), single[0])


def test_predictions_follow_the_positions(network):
    whole = predict(network, IMAGES)
    assert whole.shape == (5,)
    assert np.allclose(predict(network, IMAGES, [3, 0]), whole[[3, 0]])


def test_many_batches_are_as_one(network, monkeypatch):
    whole = predict(network, IMAGES, tta="flip")
    monkeypatch.setattr("pcam_kaggle.prediction.IMAGES_PER_PASS", 8)
    assert np.allclose(predict(network, IMAGES, tta="flip"), whole)
