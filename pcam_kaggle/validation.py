"""How sure a score is, and how well probabilities mean what they say."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

NUM_RESAMPLES = 200
NUM_BINS = 15
LARGEST_GAP = 0.03  # of AUC: networks trained on half of the images lose about 0.01


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
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    scores = [
        roc_auc_score(labels[drawn], predictions[drawn])
        for drawn in resample(labels, seed)
    ]
    low, high = np.quantile(scores, (0.025, 0.975))
    return float(low), float(high)


def resample(labels, seed=0):
    """Yield 200 draws with replacement, positions, as many of each label as there are.

    Args:
        labels: int array (n,) of 0 and 1.
        seed: int, of the draws.
    """
    random = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    for _ in range(NUM_RESAMPLES):
        yield np.concatenate([random.choice(part, len(part)) for part in classes])


def measure_folds(labels, members):
    """ROC AUC of each network on its own held-out part, and their mean.

    Args:
        labels: int array (n,) of 0 and 1.
        members: list of dicts with fold, positions and oof, as `train_member` returns.

    Returns:
        dict: the AUC by fold (str), and "mean".
    """
    scores = {
        str(member["fold"]): float(
            roc_auc_score(labels[member["positions"]], member["oof"])
        )
        for member in members
    }
    return {**scores, "mean": float(np.mean(list(scores.values())))}


def measure_seeds(labels, members):
    """ROC AUC out of fold of each seed alone: how much of a score is luck.

    The first network of every fold makes the first seed's predictions, and so on.

    Returns:
        dict: "each", a list; "mean"; and "sd" over seeds (n - 1), None for one seed.
    """
    by_fold = {}
    for member in members:
        by_fold.setdefault(member["fold"], []).append(member)
    each = []
    for networks in zip(*by_fold.values()):
        positions = np.concatenate([network["positions"] for network in networks])
        predictions = np.concatenate([network["oof"] for network in networks])
        each.append(float(roc_auc_score(labels[positions], predictions)))
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else None
    return {"each": each, "mean": float(np.mean(each)), "sd": spread}


def warn_of_gap(oof_auc, stain_auc):
    """A warning, in a list, where another colour of stain costs too much; else []."""
    gap = oof_auc - stain_auc
    if gap <= LARGEST_GAP:
        return []
    return [
        f"warning: AUC {oof_auc:.3f} out of fold, but {stain_auc:.3f} on a colour of "
        "stain that was held out. The private slides may be of another stain: trust "
        "the lower figure"
    ]


def measure_calibration(labels, predictions):
    """Expected calibration error (Naeini et al. 2015, 15 bins) and Brier score.

    Returns:
        dict: "ece" and "brier", floats; 0 is perfect.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions, "float64")
    bins = bin_predictions(labels, predictions)
    gaps = (bins["share"] - bins["prediction"]).abs()
    error = (gaps * bins["count"]).sum() / len(labels)
    brier = brier_score_loss(labels, predictions)
    return {"ece": float(error), "brier": float(brier)}


def bin_predictions(labels, predictions):
    """The calibration curve (15 equal bins): mean prediction, share of tumour, count.

    Returns:
        DataFrame with columns prediction, share, count, without empty bins.
    """
    bins = np.minimum((predictions * NUM_BINS).astype(int), NUM_BINS - 1)
    table = pd.DataFrame({"prediction": predictions, "share": labels, "count": 1})
    return table.groupby(bins).agg(
        {"prediction": "mean", "share": "mean", "count": "sum"}
    )


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
