"""What out-of-fold predictions are worth: curves, thresholds, errors, what adds."""

import numpy as np
import pandas as pd
from sklearn.metrics import (
    confusion_matrix,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from .validation import measure_seeds, resample

GRID = np.linspace(0, 1, 201)
WANTED = 0.95


def evaluate(oof, members, stains=None):
    """How good a run is, from its out-of-fold predictions alone.

    Args:
        oof: DataFrame with columns label and prediction, n rows, indexed by the
            position of the image, as `gather_oof` returns it.
        members: list of dicts as `train_member` returns them.
        stains: int array, the cluster of colours of every training image (-1 for
            none), or None.

    Returns:
        dict, for JSON: "operating_points", "confusion" at the chosen threshold
        (Youden's), "by_stain" and "adds".
    """
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    points = find_operating_points(labels, predictions)
    threshold = points["Youden"]["threshold"]
    table = confusion_matrix(labels, predictions >= threshold, labels=[0, 1])
    described = {
        "operating_points": points,
        "confusion": {"threshold": threshold, "counts": table.tolist()},
        "adds": measure_gains(oof, members),
    }
    if stains is not None:
        described["by_stain"] = measure_stains(
            oof, np.asarray(stains)[oof.index], threshold
        )
    return described


def find_operating_points(labels, predictions):
    """Thresholds worth knowing, with what each gives.

    Returns:
        dict by name ("specificity 95 %", "sensitivity 95 %", "Youden" (1950: the most
        sensitivity plus specificity), "0.5") of dicts: threshold, sensitivity,
        specificity, precision. A patch is called tumour from the threshold on.
    """
    false_rate, true_rate, thresholds = roc_curve(
        labels, predictions, drop_intermediate=False
    )
    chosen = {
        "specificity 95 %": np.flatnonzero(1 - false_rate >= WANTED)[-1],
        "sensitivity 95 %": np.flatnonzero(true_rate >= WANTED)[0],
        "Youden": np.argmax(true_rate - false_rate),
    }
    points = {
        name: describe_point(labels, predictions, thresholds[place])
        for name, place in chosen.items()
    }
    return {**points, "0.5": describe_point(labels, predictions, 0.5)}


def describe_point(labels, predictions, threshold):
    """What calling tumour from a threshold on gives."""
    called = predictions >= threshold
    hits = int((called & (labels == 1)).sum())
    return {
        # Above every prediction: roc_curve's first threshold is infinite.
        "threshold": float(min(threshold, np.max(predictions) + 1e-6)),
        "sensitivity": hits / int((labels == 1).sum()),
        "specificity": float((~called & (labels == 0)).sum() / (labels == 0).sum()),
        "precision": hits / int(called.sum()) if called.any() else None,
    }


def measure_stains(oof, stains, threshold):
    """Where the errors are: a dict for each cluster of colours, the largest first."""
    rows = []
    for stain in sorted(set(stains) - {-1}):
        part = oof.loc[stains == stain]
        labels, predictions = part["label"].to_numpy(), part["prediction"].to_numpy()
        called = predictions >= threshold
        both = len(set(labels)) == 2
        rows.append(
            {
                "stain": int(stain),
                "patches": len(part),
                "auc": float(roc_auc_score(labels, predictions)) if both else None,
                "sensitivity": rate_of(called[labels == 1]),
                "specificity": rate_of(~called[labels == 0]),
            }
        )
    return rows


def rate_of(correct):
    """The share that is true, None of nothing."""
    return float(correct.mean()) if len(correct) else None


def measure_gains(oof, members):
    """What views and seeds add out of fold, and how alike the networks' answers are.

    Folds add nothing out of fold, where each image has the networks of one fold only;
    their share shows on the leaderboard. How alike their predictions of the test
    images are says what averaging can give: networks that agree wholly add nothing.

    Returns:
        dict: "auc" with everything; "auc_one_view" without test-time views;
        "auc_one_network", the mean over seeds; "test_correlation", the mean Spearman
        correlation of each two networks' test predictions (None for one network).
    """
    labels = oof["label"]

    def score(name):
        parts = [pd.Series(member[name], member["positions"]) for member in members]
        predictions = pd.concat(parts).groupby(level=0).mean()
        return float(roc_auc_score(labels.loc[predictions.index], predictions))

    tests = np.stack([member["test"] for member in members])
    correlation = None
    if len(members) > 1 and tests.shape[1] > 1:
        matrix = pd.DataFrame(tests.T).corr("spearman").to_numpy()
        correlation = float(matrix[np.triu_indices(len(members), 1)].mean())
    return {
        "auc": score("oof"),
        "auc_one_view": score("oof_one_view"),
        "auc_one_network": measure_seeds(labels, members)["mean"],
        "test_correlation": correlation,
    }


def band_curves(labels, predictions):
    """ROC and precision-recall curves with pointwise 95 % bands, by the bootstrap.

    Returns:
        dict of "roc" (true positive rate over GRID of the false positive rate) and
        "pr" (precision over GRID of the recall): float arrays (3, 201): the curve, the
        lower and the upper edge.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    whole = draw_curves(labels, predictions)
    drawn = [
        draw_curves(labels[places], predictions[places]) for places in resample(labels)
    ]
    edges = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {
        name: np.stack([whole[i], edges[0][i], edges[1][i]])
        for i, name in enumerate(("roc", "pr"))
    }


def draw_curves(labels, predictions):
    """Both curves at the points of GRID: float array (2, 201)."""
    false_rate, true_rate, _ = roc_curve(labels, predictions)
    precision, recall, _ = precision_recall_curve(labels, predictions)
    return np.stack(
        [
            np.interp(GRID, false_rate, true_rate),
            np.interp(GRID, recall[::-1], precision[::-1]),
        ]
    )
