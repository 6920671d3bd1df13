"""The average over networks."""

import numpy as np
import pandas as pd


def ensemble_predictions(
    predictions: list | np.ndarray, method: str, weights: np.ndarray | None = None
) -> np.ndarray:
    """One prediction per patch from those of several networks.

    Args:
        predictions: array (networks, n) of probabilities, or a list of arrays (n,).
        method: "mean"; "rank", the mean of each network's ranks over n, which uses only their
            order; "logit", the mean log-odds, which gives confident networks more weight.
        weights: array (networks,) that sums to 1, or None for equal ones.

    Returns:
        float64 array (n,) between 0 and 1. A single network's order is preserved.
    """
    predictions = np.asarray(predictions, "float64")
    if method == "rank":
        predictions = pd.DataFrame(predictions).rank(axis=1, pct=True).to_numpy()
    if method == "logit":
        mean = np.average(log_odds(predictions), axis=0, weights=weights)
        return 1 / (1 + np.exp(-mean))
    return np.average(predictions, axis=0, weights=weights)


def average_members(members: list, method: str) -> np.ndarray:
    """The ensemble's prediction of the test patches: float64 array (n,).

    Args:
        members: list of Member.
        method: as for `ensemble_predictions`.
    """
    return ensemble_predictions([member.test for member in members], method)


def log_odds(predictions: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, clipped away from 0 and 1."""
    bounded = np.clip(np.asarray(predictions, "float64"), 1e-7, 1 - 1e-7)
    return np.log(bounded / (1 - bounded))
