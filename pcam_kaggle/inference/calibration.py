"""Probabilities of each network, calibrated."""

import dataclasses

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ..analysis.reliability import measure_calibration
from ..data.folds import make_folds
from .calibration_settings import CalibratedSettings
from .ensemble import average_members, ensemble_predictions, log_odds


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration of single networks, measured out of fold.

    `before` and `after` hold the expected calibration error ("ece") and the Brier score
    ("brier"), `after` of cross-fitted maps. `maps` has the scale and the offset of each network's
    log-odds by the name of its file, or is None for no maps. `refused` says why requested maps
    could not be fitted; the submission then stays uncalibrated.
    """

    before: dict
    after: dict | None = None
    maps: dict | None = None
    refused: str | None = None


def calibrate_members(
    members: list,
    oof: pd.DataFrame,
    settings: CalibratedSettings,
    slides: np.ndarray | None,
    prefix: str = "",
) -> tuple:
    """Map each network's test predictions, if requested, then average over the networks.

    A network's map is fitted on its own out-of-fold predictions. Fitted on those of all networks
    it would not suit the average for the test patches, which is of more networks per patch.

    Args:
        members: list of Member.
        oof: their out-of-fold predictions, as `gather_oof` returns them.
        settings: CalibratedSettings.
        slides: array (n,) of the slides of all training patches, or None if they are not known.
        prefix: what the names of the networks' files start with.

    Returns:
        The ensemble's prediction of the test patches, float64 array (m,); the out-of-fold
        predictions after cross-fitted maps, a DataFrame like `oof`; a Calibration. If the map of
        one network cannot be fitted, none is applied.
    """
    test = average_members(members, settings.ensemble)
    before = measure_calibration(oof["label"], oof["prediction"])
    if settings.calibration == "none":
        return test, oof, Calibration(before)
    maps, mapped, cross_fitted = {}, [], []
    for member in members:
        labels, positions = oof["label"].loc[member.positions].to_numpy(), member.positions
        try:
            scale, offset = fit_calibration(labels, member.oof)
            halves = make_folds(labels, 2, 0, None if slides is None else slides[positions])
            crossed = cross_fit(labels, member.oof, halves)
        except ValueError as error:  # must not lose a finished run
            name = f"calibration of fold {member.fold} seed {member.seed} and of its halves"
            refused = f"{name}: {error}. Try: train longer, or calibration=none"
            print(refused, flush=True)
            return test, oof, Calibration(before, refused=refused)
        maps[f"{prefix}fold{member.fold}_seed{member.seed}"] = scale, offset
        mapped.append(calibrate(member.test, scale, offset))
        cross_fitted.append(pd.Series(crossed, positions))
    crossed = oof.assign(prediction=pd.concat(cross_fitted).groupby(level=0).mean())
    after = measure_calibration(crossed["label"], crossed["prediction"])
    test = ensemble_predictions(mapped, settings.ensemble)
    return test, crossed, Calibration(before, after, maps)


def cross_fit(labels: np.ndarray, predictions: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Map each half of the predictions by the map that is fitted on the other half.

    Args:
        labels, predictions: of a network's validation fold, arrays (n,).
        halves: array (n,) of 0 and 1.

    Returns:
        float64 array (n,) of probabilities.

    Raises:
        ValueError: as `fit_calibration`.
    """
    mapped = np.zeros(len(labels))
    for own in (halves == 0, halves == 1):
        mapped[own] = calibrate(predictions[own], *fit_calibration(labels[~own], predictions[~own]))
    return mapped


def fit_calibration(labels: np.ndarray, predictions: np.ndarray) -> tuple:
    """Fit a monotone map that calibrates probabilities (Platt 1999).

    Scale and offset of the log-odds, fitted by logistic regression to out-of-fold predictions.
    The order of the patches stays the same.

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
            "expected out-of-fold predictions that rise with the labels. "
            f"Received: a slope of {scale:.3g}"
        )
    return scale, offset


def calibrate(predictions: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """Map probabilities to calibrated ones: float64 array of the shape of `predictions`."""
    return 1 / (1 + np.exp(-(scale * log_odds(predictions) + offset)))
