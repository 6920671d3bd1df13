"""What each member of an average contributes to it."""

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score

from .scores import draw_aucs


@dataclasses.dataclass(frozen=True)
class Contribution:
    """What a run contributes to a blend, or a method to a run of several.

    `oof_auc` is its own ROC AUC out of fold, on the patches that all members have predicted, and
    `weight` its share in the average. `adds` is the AUC with it less the AUC without it, and
    `interval` the 95 % interval of that, paired by the same draws; None for a member alone.
    """

    run: str
    oof_auc: float
    weight: float
    adds: float | None
    interval: tuple | None = None


def measure_contributions(
    names: list,
    oof: np.ndarray,
    labels: np.ndarray,
    average: Callable,
    slides: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> list:
    """Measure what each member adds to the others.

    Args:
        names: the members' names.
        oof: float array (members, n) of out-of-fold probabilities.
        labels: int array (n,) of 0 and 1.
        average: function of such an array of some of the members that returns their average.
        slides: array (n,) of slide names, or None if they are unknown.
        weights: float array (members,), or None for equal ones.

    Returns:
        list of Contribution.
    """
    whole = average(oof)
    auc, drawn, found = roc_auc_score(labels, whole), None, []
    for i, name in enumerate(names):
        adds = interval = None
        if len(names) > 1:
            drawn = draw_aucs(labels, whole, slides) if drawn is None else drawn
            rest = average(np.delete(oof, i, axis=0))
            adds = float(auc - roc_auc_score(labels, rest))
            edges = np.quantile(drawn - draw_aucs(labels, rest, slides), (0.025, 0.975))
            interval = tuple(edges.tolist())
        weight = 1 / len(names) if weights is None else float(weights[i])
        own = float(roc_auc_score(labels, oof[i]))
        found.append(Contribution(name, own, weight, adds, interval))
    return found


def describe_gain(gain: float | None, interval: tuple | None) -> str:
    """A difference of AUCs, such as "+0.0021 (+0.0005 to +0.0038)", or "" for None."""
    if gain is None:
        return ""
    if interval is None:  # as older versions wrote it
        return f"{gain:+.4f}"
    low, high = interval
    return f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"
