"""Intervals that cover, calibration that is measured and mended without a new order."""

import numpy as np
import pytest
from pcam_kaggle.config import Config
from pcam_kaggle.validation import (
    bootstrap_auc,
    calibrate,
    fit_calibration,
    measure_calibration,
    measure_folds,
    measure_seeds,
    warn_of_gap,
)
from sklearn.metrics import roc_auc_score

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.random(20_000)
LABELS = (RANDOM.random(20_000) < TRUE).astype(int)


def test_the_interval_covers_the_score_and_narrows_with_more_images():
    widths = []
    for count in (500, 20_000):
        labels, predictions = LABELS[:count], TRUE[:count]
        low, high = bootstrap_auc(labels, predictions)
        assert low < roc_auc_score(labels, predictions) < high
        widths.append(high - low)
    assert 4 < widths[0] / widths[1] < 10  # the root of 40 is 6.3
    few = LABELS[:50], TRUE[:50]
    assert bootstrap_auc(*few) == bootstrap_auc(*few)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    truth = roc_auc_score(LABELS, TRUE)
    draws = [RANDOM.choice(20_000, 300, replace=False) for _ in range(60)]
    intervals = [bootstrap_auc(LABELS[d], TRUE[d]) for d in draws]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.85 <= covered <= 1


def test_true_probabilities_are_calibrated_and_sure_ones_are_not():
    true = measure_calibration(LABELS, TRUE)
    sure = measure_calibration(LABELS, np.where(TRUE > 0.5, 0.99, 0.01))
    assert true["ece"] < 0.02 < 0.2 < sure["ece"]
    assert true["brier"] == pytest.approx(np.mean((LABELS - TRUE) ** 2))
    assert measure_calibration([0, 1], [0.0, 1.0]) == {"ece": 0, "brier": 0}


def test_the_map_mends_distorted_probabilities_and_keeps_the_order():
    odds = np.log(TRUE / (1 - TRUE))
    distorted = 1 / (1 + np.exp(-(3 * odds + 1)))
    scale, offset = fit_calibration(LABELS, distorted)
    assert scale == pytest.approx(1 / 3, rel=0.05)
    assert offset == pytest.approx(-1 / 3, abs=0.05)
    mended = calibrate(distorted, scale, offset)
    assert measure_calibration(LABELS, mended)["ece"] < 0.02
    assert measure_calibration(LABELS, distorted)["ece"] > 0.1
    order = np.argsort(distorted, kind="stable")
    assert (np.diff(mended[order]) >= 0).all()


def test_predictions_against_the_labels_are_refused():
    with pytest.raises(ValueError, match="expected out-of-fold predictions that rise"):
        fit_calibration(LABELS, 1 - TRUE)


def test_ranks_are_not_calibrated():
    with pytest.raises(ValueError, match="ranks are no probabilities"):
        Config(calibration="platt", ensemble="rank")


def make_members(num_seeds):
    """Two folds of networks whose seeds differ in how well they predict."""
    folds = np.arange(2_000) % 2
    members = []
    for fold in (0, 1):
        positions = np.flatnonzero(folds == fold)
        for seed in range(num_seeds):
            noise = np.random.default_rng(seed).normal(0, 0.1 + seed, len(positions))
            oof = TRUE[positions] + noise
            members.append({"fold": fold, "positions": positions, "oof": oof})
    return members


def test_each_seed_is_scored_over_all_folds_and_their_spread_is_given():
    members = make_members(num_seeds=3)
    measured = measure_seeds(LABELS, members)
    assert len(measured["each"]) == 3
    assert measured["each"] == sorted(measured["each"], reverse=True)
    positions = np.concatenate([members[0]["positions"], members[3]["positions"]])
    first = np.concatenate([members[0]["oof"], members[3]["oof"]])
    assert measured["each"][0] == roc_auc_score(LABELS[positions], first)
    assert measured["sd"] == pytest.approx(np.std(measured["each"], ddof=1))
    assert measure_seeds(LABELS, make_members(1))["sd"] is None


def test_each_held_out_part_is_scored_on_its_own():
    members = make_members(num_seeds=1)
    members[1]["oof"] = members[1]["oof"] + 100  # another scale does not matter
    measured = measure_folds(LABELS, members)
    assert set(measured) == {"0", "1", "mean"}
    assert measured["mean"] == pytest.approx((measured["0"] + measured["1"]) / 2)
    assert measured["1"] > 0.8


def test_a_gap_to_another_stain_is_warned_of():
    assert warn_of_gap(0.95, 0.93) == []
    (warning,) = warn_of_gap(0.95, 0.90)
    assert "0.950" in warning and "0.900" in warning and "the lower figure" in warning
