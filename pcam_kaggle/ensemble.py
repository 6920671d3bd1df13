"""The predictions of many networks as one."""

import numpy as np
import pandas as pd

from .validation import log_odds


def ensemble_predictions(predictions, method, weights=None):
    """One prediction per patch from those of several networks.

    Args:
        predictions: array (networks, n) of probabilities.
        method: "mean"; "rank", the mean of each network's ranks over n, which takes
            only their order; "logit", the mean log-odds, which heeds the sure ones.
        weights: array (networks,) that sums to 1, or None for equal ones.

    Returns:
        float64 array (n,) between 0 and 1. One network keeps its order in each method.
    """
    predictions = np.asarray(predictions, "float64")
    if method == "rank":
        predictions = pd.DataFrame(predictions).rank(axis=1, pct=True).to_numpy()
    if method == "logit":
        mean = np.average(log_odds(predictions), axis=0, weights=weights)
        return 1 / (1 + np.exp(-mean))
    return np.average(predictions, axis=0, weights=weights)
