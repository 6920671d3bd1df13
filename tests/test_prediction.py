"""Prediction: invariant under its own views, in the order asked for, well averaged."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pcam_kaggle.models import build_model
from pcam_kaggle.prediction import ensemble_predictions, predict

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


def test_mean_rank_and_logit_are_what_their_names_say():
    predictions = [[0.1, 0.5, 0.9, 0.5], [0.2, 0.99, 0.98, 0.97]]
    assert np.allclose(
        ensemble_predictions(predictions, "mean"), [0.15, 0.745, 0.94, 0.735]
    )
    # Ranks 1, 2.5, 4, 2.5 and 1, 4, 3, 2 of 4.
    assert np.allclose(
        ensemble_predictions(predictions, "rank"), [0.25, 0.8125, 0.875, 0.5625]
    )
    odds = np.sqrt((0.9 / 0.1) * (0.98 / 0.02))
    logit = ensemble_predictions(predictions, "logit")
    assert np.isclose(logit[2], odds / (1 + odds))


@pytest.mark.parametrize("method", ["mean", "rank", "logit"])
def test_one_network_keeps_its_order_and_range(method):
    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 2, 100), random.random(100)
    predictions[:2] = 0, 1
    together = ensemble_predictions([predictions], method)
    assert ((together >= 0) & (together <= 1)).all()
    assert np.isclose(
        roc_auc_score(labels, together), roc_auc_score(labels, predictions)
    )
