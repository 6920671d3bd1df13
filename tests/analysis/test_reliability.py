"""Calibration is measured: true probabilities pass, sure ones do not."""

import numpy as np
import pytest

from pcam_kaggle.analysis.reliability import NUM_BINS, bin_predictions, measure_calibration

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.random(20_000)
LABELS = (RANDOM.random(20_000) < TRUE).astype(int)


def test_true_probabilities_are_calibrated_and_sure_ones_are_not():
    true = measure_calibration(LABELS, TRUE)
    sure = measure_calibration(LABELS, np.where(TRUE > 0.5, 0.99, 0.01))
    assert true["ece"] < 0.02 < 0.2 < sure["ece"]
    assert true["brier"] == pytest.approx(np.mean((LABELS - TRUE) ** 2))
    assert measure_calibration([0, 1], [0.0, 1.0]) == {"ece": 0, "brier": 0}


def test_the_error_is_the_mean_gap_weighted_by_count():
    labels = np.array([0, 1, 1, 1])
    predictions = np.array([0.51, 0.52, 0.99, 0.99])  # two bins of two
    expected = 0.5 * abs(0.5 - 0.515) + 0.5 * abs(1 - 0.99)
    assert measure_calibration(labels, predictions)["ece"] == pytest.approx(expected)


def test_bins_are_equal_parts_and_hold_their_ends():
    predictions = np.array([0.0, 1 / NUM_BINS - 1e-6, 1 / NUM_BINS + 1e-6, 1.0])
    bins = bin_predictions(np.array([0, 0, 1, 1]), predictions)
    assert bins.index.tolist() == [0, 1, NUM_BINS - 1]
    assert bins["count"].tolist() == [2, 1, 1]
    assert bins["share"].tolist() == [0, 1, 1]
