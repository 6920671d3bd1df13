"""The average of kept networks, as their run averaged them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .calibration import calibrate
from .ensemble import ensemble_predictions


def map_kept(predictions: np.ndarray, maps: list | None) -> np.ndarray:
    """Apply the calibration map of each network, (scale, offset), if there are maps.

    Args:
        predictions: float64 array (networks, n) of probabilities.
        maps: a map of each network, or None.
    """
    if not maps:
        return predictions
    return np.stack([calibrate(own, *pair) for own, pair in zip(predictions, maps, strict=True)])


def average_kept(predictions: np.ndarray, members: Sequence, method: str) -> np.ndarray:
    """Average the networks of each method of a run, then the methods: the mean of their log-odds.

    Args:
        predictions: float64 array (networks, n), as `map_kept` returns it.
        members: the method ("member" of its facts) that each network belongs to.
        method: as for `ensemble_predictions`, of the networks of a method.

    Returns:
        float64 array (n,).
    """
    rows = pd.Series(range(len(members))).groupby(list(members), sort=False)
    parts = [ensemble_predictions(predictions[own], method) for _, own in rows]
    return ensemble_predictions(parts, "logit") if len(parts) > 1 else parts[0]
