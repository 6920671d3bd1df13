"""Averages of runs, with equal or fitted weights."""

import numpy as np
from sklearn.linear_model import LinearRegression

from pcam_kaggle.inference.ensemble import ensemble_predictions

METHODS = ("mean", "rank", "logit", "fitted")


def fit_weights(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of an ensemble, none negative, that sum to 1.

    The least-squares fit of the labels ("stacked regressions", Breiman 1996, who found
    that non-negative weights generalize). Pass out-of-fold predictions only: on images
    that the networks were trained on, the most overfitted one would win.

    Args:
        predictions: float array (runs, n) of out-of-fold probabilities.
        labels: int array (n,) of 0 and 1.

    Returns:
        float array (runs,).

    Raises:
        ValueError: no run's predictions rise with the labels.
    """
    fit = LinearRegression(positive=True).fit(np.transpose(predictions), labels)
    if not fit.coef_.sum():
        raise ValueError("weights: expected predictions that rise with the labels. Received: none")
    return fit.coef_ / fit.coef_.sum()


def blend_oof(oof: np.ndarray, labels: np.ndarray, folds: np.ndarray, method: str) -> np.ndarray:
    """Out-of-fold predictions of a blend; fitted weights never see their own fold.

    Args:
        oof: float array (runs, n) of out-of-fold probabilities.
        labels: int array (n,) of 0 and 1.
        folds: int array (n,).
        method: str, one of METHODS.

    Returns:
        float array (n,).
    """
    if method != "fitted":
        return ensemble_predictions(oof, method)
    blended = np.zeros(len(labels))
    known = np.unique(folds)
    for fold in known:
        own = folds == fold
        # One fold alone: each half by the other's weights, so that no image weighs
        # itself.
        parts = [own] if len(known) > 1 else split_in_two(len(labels))
        for part in parts:
            weights = fit_weights(oof[:, ~part], labels[~part])
            blended[part] = weights @ oof[:, part]
    return blended


def split_in_two(count: int) -> list[np.ndarray]:
    """Two masks that share no place and cover all."""
    odd = np.arange(count) % 2 == 1
    return [odd, ~odd]
