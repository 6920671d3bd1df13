"""Ensembles: averages that are what their names say."""

import types

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pcam_kaggle.inference.ensemble import average_members, ensemble_predictions, log_odds


def test_mean_rank_and_logit_are_what_their_names_say():
    predictions = [[0.1, 0.5, 0.9, 0.5], [0.2, 0.99, 0.98, 0.97]]
    assert np.allclose(ensemble_predictions(predictions, "mean"), [0.15, 0.745, 0.94, 0.735])
    # Ranks 1, 2.5, 4, 2.5 and 1, 4, 3, 2 of 4.
    assert np.allclose(ensemble_predictions(predictions, "rank"), [0.25, 0.8125, 0.875, 0.5625])
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
    assert np.isclose(roc_auc_score(labels, together), roc_auc_score(labels, predictions))


@pytest.mark.parametrize("method", ["mean", "rank", "logit"])
def test_a_weight_counts_a_network_as_often(method):
    predictions = np.random.default_rng(0).random((2, 50))
    weighted = ensemble_predictions(predictions, method, weights=[0.75, 0.25])
    repeated = ensemble_predictions([*[predictions[0]] * 3, predictions[1]], method)
    assert np.allclose(weighted, repeated)


def test_the_submission_of_members_is_the_average_of_their_test_patches():
    tests = np.random.default_rng(0).random((3, 20)).astype("float32")
    members = [types.SimpleNamespace(test=test) for test in tests]
    found = average_members(members, "logit")
    assert found.dtype == np.float64
    assert (found == ensemble_predictions(tests, "logit")).all()


def test_log_odds_are_bounded_where_a_probability_is_sure():
    found = log_odds([0.0, 0.5, 0.9, 1.0])
    assert np.isfinite(found).all() and found[1] == 0
    assert found[0] == pytest.approx(-found[3]) and found[3] > 16
    assert found[2] == pytest.approx(np.log(9))
