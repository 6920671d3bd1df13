"""A monotone map to calibrated probabilities."""

import dataclasses

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ..analysis.reliability import measure_calibration
from .ensemble import log_odds


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration of the out-of-fold predictions.

    `before` and `after` hold the expected calibration error ("ece") and the Brier score
    ("brier"). `map` is the scale and the offset of the log-odds, fitted on the same
    predictions, or None for no map. `refused` says why a requested map could not be fitted; the
    submission then stays uncalibrated.
    """

    before: dict
    map: tuple | None = None
    after: dict | None = None
    refused: str | None = None

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        """Return the probabilities after the map, if there is one."""
        return calibrate(predictions, *self.map) if self.map else predictions


def calibrate_oof(oof: pd.DataFrame, method: str) -> Calibration:
    """Measure the calibration of out-of-fold predictions, and fit a map if requested.

    Args:
        oof: columns label and prediction.
        method: "none" or "platt".
    """
    labels, predictions = oof["label"], oof["prediction"]
    before = measure_calibration(labels, predictions)
    if method == "none":
        return Calibration(before)
    try:
        scale, offset = fit_calibration(labels, predictions)
    except ValueError as error:  # must not lose a finished run
        print(error, flush=True)
        return Calibration(before, refused=str(error))
    after = measure_calibration(labels, calibrate(predictions, scale, offset))
    return Calibration(before, (scale, offset), after)


def fit_calibration(labels: np.ndarray, predictions: np.ndarray) -> tuple:
    """Fit a monotone map that calibrates probabilities (Platt 1999).

    Scale and offset of the log-odds, fitted by logistic regression to out-of-fold predictions.
    The order of patches, and so the AUC, stays the same.

    Returns:
        (scale, offset), floats for `calibrate`.

    Raises:
        ValueError: predictions fall as the labels rise, so that the map would reverse their
            order.
    """
    fit = LogisticRegression(C=1e6).fit(log_odds(predictions)[:, None], labels)
    scale, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if scale <= 0:
        raise ValueError(
            "calibration: expected out-of-fold predictions that rise with the labels. "
            f"Received: a slope of {scale:.3g}. Try: train longer, or calibration=none"
        )
    return scale, offset


def calibrate(predictions: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """Map probabilities to calibrated ones: float64 array of the shape of `predictions`."""
    return 1 / (1 + np.exp(-(scale * log_odds(predictions) + offset)))
