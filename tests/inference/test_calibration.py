"""Calibration: distorted probabilities mended without a new order."""

import numpy as np
import pandas as pd
import pytest

from pcam_kaggle.analysis.reliability import measure_calibration
from pcam_kaggle.inference.calibration import calibrate, calibrate_oof, fit_calibration
from pcam_kaggle.inference.ensemble import log_odds

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.random(20_000)
LABELS = (RANDOM.random(20_000) < TRUE).astype(int)
DISTORTED = 1 / (1 + np.exp(-(3 * np.log(TRUE / (1 - TRUE)) + 1)))


def test_the_map_mends_distorted_probabilities_and_keeps_the_order():
    scale, offset = fit_calibration(LABELS, DISTORTED)
    assert scale == pytest.approx(1 / 3, rel=0.05)
    assert offset == pytest.approx(-1 / 3, abs=0.05)
    mended = calibrate(DISTORTED, scale, offset)
    assert measure_calibration(LABELS, mended)["ece"] < 0.02
    assert measure_calibration(LABELS, DISTORTED)["ece"] > 0.1
    order = np.argsort(DISTORTED, kind="stable")
    assert (np.diff(mended[order]) >= 0).all()


def test_the_map_is_the_most_likely_one_for_few_patches_as_well():
    labels, predictions = LABELS[:60], DISTORTED[:60]
    mended = calibrate(predictions, *fit_calibration(labels, predictions))
    assert np.sum(labels - mended) == pytest.approx(0, abs=1e-2)
    slopes = log_odds(predictions) * (labels - mended)
    assert np.sum(slopes) == pytest.approx(0, abs=5e-2)


def test_predictions_against_the_labels_are_refused():
    with pytest.raises(ValueError, match="expected out-of-fold predictions that rise"):
        fit_calibration(LABELS, 1 - TRUE)


def test_without_a_map_calibration_is_measured_only():
    oof = pd.DataFrame({"label": LABELS, "prediction": DISTORTED})
    found = calibrate_oof(oof, "none")
    assert found.before == measure_calibration(LABELS, DISTORTED)
    assert (found.map, found.after, found.refused) == (None, None, None)
    assert found.apply(TRUE) is TRUE


def test_a_map_is_fitted_measured_and_applied():
    oof = pd.DataFrame({"label": LABELS, "prediction": DISTORTED})
    found = calibrate_oof(oof, "platt")
    assert found.map == fit_calibration(LABELS, DISTORTED) and found.refused is None
    assert found.after["ece"] < 0.02 < found.before["ece"]
    assert found.after["brier"] < found.before["brier"]
    assert (found.apply(TRUE) == calibrate(TRUE, *found.map)).all()


def test_a_map_that_cannot_be_fitted_is_said_and_left_out(capsys):
    oof = pd.DataFrame({"label": [0, 0, 1, 1], "prediction": [0.9, 0.8, 0.2, 0.1]})
    found = calibrate_oof(oof, "platt")
    assert (found.map, found.after) == (None, None)
    assert "calibration=none" in found.refused
    assert capsys.readouterr().out == f"{found.refused}\n"
    assert found.apply(TRUE) is TRUE
