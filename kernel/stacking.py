"""Weights of an ensemble of runs, and what each run contributes to it."""

import dataclasses

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.scores import compare_auc
from pcam_kaggle.inference.ensemble import ensemble_predictions

METHODS = ("mean", "rank", "logit", "fitted")


@dataclasses.dataclass(frozen=True)
class Contribution:
    """What a run contributes to a blend.

    Attributes:
        run: str, its name.
        oof_auc: float, its own AUC on the images that all runs have.
        weight: float, its share in the average.
        adds: float, AUC with it less AUC without it; None for one run alone.
        interval: tuple, the 95 % interval (low, high) of `adds`, paired; None for one run alone.
    """

    run: str
    oof_auc: float
    weight: float
    adds: float | None
    interval: tuple | None = None


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


def measure_contributions(
    names: list[str],
    oof: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    method: str,
    weights: np.ndarray | None,
    slides: np.ndarray | None = None,
) -> list[Contribution]:
    """Each run's AUC and weight, and what it adds to the others.

    Args:
        names: the runs' names.
        oof, labels, folds, method: as `blend_oof` takes them.
        weights: float array (runs,), or None for equal ones.
        slides: array (n,) of slide names, or None if they are unknown.
    """
    blended = blend_oof(oof, labels, folds, method)
    contributions = []
    for i, name in enumerate(names):
        others = [j for j in range(len(names)) if j != i]
        adds = interval = None
        if others:
            rest = blend_oof(oof[others], labels, folds, method)
            found = compare_auc(labels, blended, rest, slides)
            adds, interval = found.difference, found.interval
        weight = 1 / len(names) if weights is None else float(weights[i])
        own = float(roc_auc_score(labels, oof[i]))
        contributions.append(Contribution(name, own, weight, adds, interval))
    return contributions


def describe_gain(gain: float | None, interval: tuple | None) -> str:
    """A difference of AUCs, such as "+0.0021 (+0.0005 to +0.0038)", or "" for None."""
    if gain is None:
        return ""
    if interval is None:  # as older versions wrote it
        return f"{gain:+.4f}"
    low, high = interval
    return f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"
