"""How sure a score is, and how well probabilities mean what they say."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

NUM_RESAMPLES = 200
NUM_BINS = 15


def bootstrap_auc(labels, predictions, seed=0):
    """The 95 % interval of ROC AUC by a stratified percentile bootstrap.

    It says how much the images drawn matter; neighbouring patches of a slide are alike,
    so that other slides differ by more.

    Args:
        labels: int array (n,) of 0 and 1.
        predictions: float array (n,).
        seed: int, of the draws.

    Returns:
        (low, high), floats.
    """
    random = np.random.default_rng(seed)
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    scores = []
    for _ in range(NUM_RESAMPLES):
        drawn = np.concatenate([random.choice(part, len(part)) for part in classes])
        scores.append(roc_auc_score(labels[drawn], predictions[drawn]))
    low, high = np.quantile(scores, (0.025, 0.975))
    return float(low), float(high)


def measure_calibration(labels, predictions):
    """Expected calibration error (Naeini et al. 2015, 15 bins) and Brier score.

    Returns:
        dict: "ece" and "brier", floats; 0 is perfect.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions, "float64")
    bins = np.minimum((predictions * NUM_BINS).astype(int), NUM_BINS - 1)
    error = 0.0
    for place in range(NUM_BINS):
        inside = bins == place
        if inside.any():
            gap = abs(labels[inside].mean() - predictions[inside].mean())
            error += inside.mean() * gap
    brier = brier_score_loss(labels, predictions)
    return {"ece": float(error), "brier": float(brier)}


def fit_calibration(labels, predictions):
    """A monotone map of probabilities to what they should have been (Platt 1999).

    Scale and offset of the log-odds, fitted by logistic regression to out-of-fold
    predictions. The order of patches, and so the AUC, stays.

    Returns:
        (scale, offset), floats for `calibrate`.

    Raises:
        ValueError: predictions that fall where the labels rise: the map would turn the
            order round.
    """
    fit = LogisticRegression(C=1e6).fit(log_odds(predictions)[:, None], labels)
    scale, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if scale <= 0:
        raise ValueError(
            "calibration: expected out-of-fold predictions that rise with the labels. "
            f"Received: a slope of {scale:.3g}; train for longer, or calibration=none"
        )
    return scale, offset


def calibrate(predictions, scale, offset):
    """Probabilities after the map: float64 array of the shape of `predictions`."""
    return 1 / (1 + np.exp(-(scale * log_odds(predictions) + offset)))


def log_odds(predictions):
    """Log-odds of probabilities, bounded off 0 and 1."""
    bounded = np.clip(np.asarray(predictions, "float64"), 1e-7, 1 - 1e-7)
    return np.log(bounded / (1 - bounded))
