"""Expected calibration error and Brier score."""

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss

NUM_BINS = 15


def measure_calibration(labels: np.ndarray, predictions: np.ndarray) -> dict:
    """Measure the expected calibration error (Naeini et al. 2015, 15 bins) and Brier score.

    Returns:
        dict: "ece" and "brier", floats; 0 is perfect.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions, "float64")
    bins = bin_predictions(labels, predictions)
    gaps = (bins["share"] - bins["prediction"]).abs()
    error = (gaps * bins["count"]).sum() / len(labels)
    brier = brier_score_loss(labels, predictions)
    return {"ece": float(error), "brier": float(brier)}


def bin_predictions(labels: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """The calibration curve (15 equal bins): mean prediction, share of tumor, count.

    Returns:
        DataFrame with columns prediction, share, count, without empty bins.
    """
    bins = np.minimum((predictions * NUM_BINS).astype(int), NUM_BINS - 1)
    table = pd.DataFrame({"prediction": predictions, "share": labels, "count": 1})
    return table.groupby(bins).agg({"prediction": "mean", "share": "mean", "count": "sum"})
