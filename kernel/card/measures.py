"""The figures of a model card, each with its 95 % interval."""

import dataclasses

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.evaluation import Evaluation, evaluate_predictions
from pcam_kaggle.analysis.scores import bootstrap_auc, draw_weights

from ..report.reading import ReportRun


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of hue: its number from 1, its patches, those with tumor, the AUC and its interval.

    `auc` and `interval` are None if the group lacks one of the labels.
    """

    number: int
    patches: int
    positives: int
    auc: float | None
    interval: tuple | None


@dataclasses.dataclass(frozen=True)
class Measures:
    """What the out-of-fold predictions of a run show.

    Attributes:
        evaluation: Evaluation.
        rates: the intervals of sensitivity and specificity, ((low, high), (low, high)), by the
            name of an operating point.
        groups: tuple of Group; empty where the hues of the patches are not known.
    """

    evaluation: Evaluation
    rates: dict
    groups: tuple


def measure(run: ReportRun, stains: pd.Series | None) -> Measures:
    """Measure a run's out-of-fold predictions; slides are drawn where they are known.

    Args:
        run: ReportRun with an oof.csv.
        stains: the group of hue by patch id, -1 for none, or None if they are unknown.
    """
    labels, predictions = (run.oof[name].to_numpy() for name in ("label", "prediction"))
    slides, groups = run.slides, []
    if stains is not None:
        known = stains.reindex(run.oof.index).to_numpy()
        groups = [(number, known == number) for number in sorted(set(known) - {-1})]
    evaluation = evaluate_predictions(labels, predictions, None, slides)
    return Measures(
        evaluation,
        bound_rates(labels, predictions, evaluation.operating_points, slides),
        tuple(measure_group(*group, labels, predictions, slides) for group in groups),
    )


def measure_group(
    number: int,
    chosen: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    slides: np.ndarray | None,
) -> Group:
    """Measure the patches of one group of hue."""
    labels, predictions = labels[chosen], predictions[chosen]
    slides = None if slides is None else slides[chosen]
    auc = interval = None
    if len(set(labels)) == 2:
        auc = float(roc_auc_score(labels, predictions))
        interval = bootstrap_auc(labels, predictions, slides)
    return Group(int(number) + 1, len(labels), int(labels.sum()), auc, interval)


def bound_rates(
    labels: np.ndarray, predictions: np.ndarray, points: dict, slides: np.ndarray | None
) -> dict:
    """The 95 % intervals of both rates at thresholds that stay as they are in every draw.

    Args:
        labels, predictions, slides: as `bootstrap_auc` takes them.
        points: dict of names and OperatingPoint.
    """
    called = predictions[:, None] >= np.array([point.threshold for point in points.values()])
    truth = (labels == 1)[:, None]
    parts = [truth & called, ~truth & ~called, truth, ~truth]
    columns = np.concatenate(parts, axis=1).astype("float32")
    counts = np.concatenate([w.astype("float32") @ columns for w in draw_weights(labels, slides)])
    right, totals = counts[:, :-2].reshape(len(counts), 2, -1), counts[:, -2:, None]
    low, high = np.quantile(right / totals, (0.025, 0.975), axis=0)
    pairs = np.stack([low, high], axis=-1).tolist()  # (rate, point, edge)
    return {name: tuple(map(tuple, edges)) for name, edges in zip(points, zip(*pairs))}
