"""Evaluation of out-of-fold predictions."""

import dataclasses

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from .reliability import measure_calibration
from .scores import bootstrap_auc, count_slides, draw_weights

CURVE_GRID = np.linspace(0, 1, 201)  # where the curves are evaluated
WANTED_RATE = 0.95


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and the rates if patches at or above it are called tumor.

    `precision` is None if no patch is called tumor.
    """

    threshold: float
    sensitivity: float
    specificity: float
    precision: float | None


@dataclasses.dataclass(frozen=True)
class Confusion:
    """The confusion matrix at a threshold: `counts` are ((tn, fp), (fn, tp))."""

    threshold: float
    counts: tuple


@dataclasses.dataclass(frozen=True)
class StainScores:
    """The errors on one stain color, at the threshold of the confusion matrix.

    Rates are None if the stain lacks the class, `auc` if it lacks either class. `positives` is
    the number of patches with tumor, None of runs of older versions.
    """

    stain: int
    patches: int
    auc: float | None
    sensitivity: float | None
    specificity: float | None
    positives: int | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How good out-of-fold predictions are.

    Attributes:
        auc: ROC AUC.
        interval: its 95 % bootstrap interval (low, high).
        resampled: what was drawn for it, "slides" or "patches".
        num_slides: the number of slides drawn, or None.
        operating_points: dict of names and OperatingPoint, as `find_operating_points` returns
            it.
        confusion: Confusion at Youden's threshold.
        calibration: dict, as `measure_calibration` returns it.
        by_stain: tuple of StainScores, the largest stain first; empty if unknown.
    """

    auc: float
    interval: tuple
    resampled: str
    num_slides: int | None
    operating_points: dict
    confusion: Confusion
    calibration: dict
    by_stain: tuple


def evaluate_predictions(
    labels: np.ndarray,
    predictions: np.ndarray,
    stains: np.ndarray | None = None,
    slides: np.ndarray | None = None,
) -> Evaluation:
    """Evaluate a run's out-of-fold predictions.

    Args:
        labels: int array (n,) of 0 and 1.
        predictions: float array (n,).
        stains: int array (n,), the stain cluster of each patch (-1 for none), or None if they
            are unknown.
        slides: array (n,) of slide names, or None if they are unknown.
    """
    num_slides = count_slides(slides)
    points = find_operating_points(labels, predictions)
    threshold = points["Youden"].threshold
    table = confusion_matrix(labels, predictions >= threshold, labels=[0, 1])
    (tn, fp), (fn, tp) = table.tolist()
    by_stain = ()
    if stains is not None:
        by_stain = measure_stains(labels, predictions, stains, threshold)
    return Evaluation(
        auc=float(roc_auc_score(labels, predictions)),
        interval=bootstrap_auc(labels, predictions, slides),
        resampled="slides" if num_slides else "patches",
        num_slides=num_slides,
        operating_points=points,
        confusion=Confusion(threshold, ((tn, fp), (fn, tp))),
        calibration=measure_calibration(labels, predictions),
        by_stain=by_stain,
    )


def find_operating_points(labels: np.ndarray, predictions: np.ndarray) -> dict:
    """Find useful thresholds.

    Returns:
        dict of names and OperatingPoint: "specificity 95 %", "sensitivity 95 %",
        "Youden" (1950: the largest sum of sensitivity and specificity) and "0.5".
    """
    false_rate, true_rate, thresholds = roc_curve(labels, predictions, drop_intermediate=False)
    chosen = {
        "specificity 95 %": np.flatnonzero(1 - false_rate >= WANTED_RATE)[-1],
        "sensitivity 95 %": np.flatnonzero(true_rate >= WANTED_RATE)[0],
        "Youden": np.argmax(true_rate - false_rate),
    }
    points = {
        name: measure_point(labels, predictions, thresholds[place])
        for name, place in chosen.items()
    }
    return {**points, "0.5": measure_point(labels, predictions, 0.5)}


def measure_point(labels: np.ndarray, predictions: np.ndarray, threshold: float) -> OperatingPoint:
    """Measure the rates if patches at or above a threshold are called tumor."""
    called = predictions >= threshold
    hits = int((called & (labels == 1)).sum())
    return OperatingPoint(
        # Just above every prediction where roc_curve's first threshold is infinite.
        threshold=float(min(threshold, np.max(predictions) + 1e-6)),
        sensitivity=hits / int((labels == 1).sum()),
        specificity=float((~called & (labels == 0)).sum() / (labels == 0).sum()),
        precision=hits / int(called.sum()) if called.any() else None,
    )


def measure_stains(
    labels: np.ndarray, predictions: np.ndarray, stains: np.ndarray, threshold: float
) -> tuple:
    """Measure the errors on each stain color: a tuple of StainScores."""
    rows = []
    for stain in sorted(set(stains.tolist()) - {-1}):
        part = stains == stain
        truth, called = labels[part], predictions[part] >= threshold
        both = len(set(truth)) == 2
        rows.append(
            StainScores(
                stain=stain,
                patches=int(part.sum()),
                auc=float(roc_auc_score(truth, predictions[part])) if both else None,
                sensitivity=share_of_true(called[truth == 1]),
                specificity=share_of_true(~called[truth == 0]),
                positives=int((truth == 1).sum()),
            )
        )
    return tuple(rows)


def share_of_true(values: np.ndarray) -> float | None:
    """The share of true values, or None for an empty array."""
    return float(values.mean()) if len(values) else None


def band_curves(
    labels: np.ndarray, predictions: np.ndarray, slides: np.ndarray | None = None
) -> dict:
    """ROC and precision-recall curves with pointwise 95 % bands, by the draws of `bootstrap_auc`.

    Returns:
        dict of "roc" (true positive rate over the false positive rate) and "pr" (precision over
        recall), both at CURVE_GRID: float arrays (3, 201), the curve, its lower and its upper
        edge.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    order = np.argsort(-predictions)
    positive = labels[order] == 1
    ends = np.flatnonzero(np.diff(predictions[order], append=-np.inf))  # the last of equal ones
    whole = interpolate_curves(np.ones(len(labels), int), positive, ends)
    drawn = [
        interpolate_curves(weights[order], positive, ends)
        for block in draw_weights(labels, slides)
        for weights in block
    ]
    edges = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {
        name: np.stack([whole[i], edges[0][i], edges[1][i]]) for i, name in enumerate(("roc", "pr"))
    }


def interpolate_curves(weights: np.ndarray, positive: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Both curves at the points of CURVE_GRID: float array (2, 201).

    Args:
        weights: int array (n,), how often each patch counts, the highest prediction first.
        positive: bool array (n,), the patches with tumor, in the same order.
        ends: int array, the last place of each prediction.
    """
    called, hits = (
        np.concatenate([[0], np.cumsum(counts)[ends]]) for counts in (weights, weights * positive)
    )
    false_alarms, recall = called - hits, hits / hits[-1]
    precision = np.divide(hits, called, out=np.ones(len(called)), where=called > 0)
    return np.stack(
        [
            np.interp(CURVE_GRID, false_alarms / false_alarms[-1], recall),
            np.interp(CURVE_GRID, recall, precision),
        ]
    )
