"""ROC AUC with its interval."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import roc_auc_score

NUM_RESAMPLES = 200


def bootstrap_auc(labels: np.ndarray, predictions: np.ndarray, seed: int = 0) -> tuple:
    """The 95 % interval of ROC AUC by a stratified percentile bootstrap.

    It shows how much the choice of patches matters. Patches of one slide are alike, so the score
    on other slides varies more.

    Args:
        labels: int array (n,) of 0 and 1.
        predictions: float array (n,).
        seed: random seed of the draws.

    Returns:
        (low, high), floats.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    scores = [roc_auc_score(labels[drawn], predictions[drawn]) for drawn in resample(labels, seed)]
    low, high = np.quantile(scores, (0.025, 0.975))
    return float(low), float(high)


def resample(labels: np.ndarray, seed: int = 0) -> Iterator:
    """Yield 200 draws of positions with replacement, stratified by label.

    Args:
        labels: int array (n,) of 0 and 1.
        seed: random seed of the draws.
    """
    random = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    for _ in range(NUM_RESAMPLES):
        yield np.concatenate([random.choice(part, len(part)) for part in classes])
