"""ROC AUC: its interval, and the comparison of two predictions of the same patches.

Whole slides are drawn where they are known (the bootstrap of clusters; Obuchowski 1997 is the
analytic alternative). Patches of one slide are alike, so an interval by patch is too narrow for
other slides.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from sklearn.metrics import roc_auc_score

NUM_DRAWS = 2_000
BLOCK = 200_000  # weights at a time, few enough for a processor's cache
SIDES = ("left", "right")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far one ROC AUC is above another on the same patches.

    `interval` is the 95 % interval (low, high) of the `difference`, `num_patches` their number,
    and `num_slides` that of the slides drawn, None if patches were drawn.
    """

    difference: float
    interval: tuple
    num_patches: int
    num_slides: int | None

    def is_noise(self) -> bool:
        """Whether 0 lies within the interval."""
        return self.interval[0] <= 0 <= self.interval[1]

    def describe(self) -> str:
        """The size of the difference, its interval, and what that covers and what not."""
        low, high = self.interval
        more = "no more" if self.is_noise() else "more"
        kind = "patches" if self.num_slides is None else "slides"
        covered = f"{more} than the choice of these {kind} explains"
        return (
            f"{abs(self.difference):.4f} (95 % interval of the difference {low:+.4f} to "
            f"{high:+.4f}; {self.num_patches:,} patches, {describe_draws(self.num_slides)}): "
            f"{covered}; other seeds and folds are not counted"
        )


def compare_auc(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, slides: np.ndarray | None = None
) -> Comparison:
    """Compare two predictions of the same patches, paired by the same draws.

    Args:
        labels: int array (n,) of 0 and 1.
        first, second: float arrays (n,).
        slides: array (n,) of slide names, or None.

    Raises:
        ValueError: there is only one label.
    """
    aucs = [roc_auc_score(labels, predictions) for predictions in (first, second)]
    drawn = [draw_aucs(labels, predictions, slides) for predictions in (first, second)]
    low, high = np.quantile(drawn[0] - drawn[1], (0.025, 0.975))
    interval = float(low), float(high)
    return Comparison(float(aucs[0] - aucs[1]), interval, len(labels), count_slides(slides))


def bootstrap_auc(
    labels: np.ndarray, predictions: np.ndarray, slides: np.ndarray | None = None, seed: int = 0
) -> tuple:
    """The 95 % interval (low, high) of ROC AUC by the percentile bootstrap.

    Args:
        labels, predictions, slides, seed: as `draw_aucs` takes them.
    """
    low, high = np.quantile(draw_aucs(labels, predictions, slides, seed), (0.025, 0.975))
    return float(low), float(high)


def count_slides(slides: np.ndarray | None) -> int | None:
    """The number of slides, or None where patches are drawn: of one slide or of unknown ones."""
    count = 0 if slides is None else len(np.unique(slides))
    return count if count > 1 else None


def describe_draws(num_slides: int | None) -> str:
    """What an interval is worth, as `count_slides` tells it."""
    if num_slides is None:
        return "by patch: too narrow for other slides"
    return f"by slide: {num_slides} slides"


def draw_aucs(
    labels: np.ndarray, predictions: np.ndarray, slides: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """The ROC AUC of every draw; the same seed draws the same patches for other predictions.

    Args:
        labels: int array (n,) of 0 and 1.
        predictions: float array (n,).
        slides: array (n,) of slide names, or None.
        seed: random seed of the draws.

    Returns:
        float array (NUM_DRAWS,).

    Raises:
        ValueError: there is only one label.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    order = np.argsort(predictions)
    negative, positive = order[labels[order] == 0], order[labels[order] == 1]
    # A patch with tumor outranks the negatives before it; those of equal prediction count half.
    ends = [np.searchsorted(predictions[negative], predictions[positive], s) for s in SIDES]
    aucs = []
    for weights in draw_weights(labels, slides, seed):
        below = np.zeros((len(weights), len(negative) + 1), int)
        np.cumsum(weights.take(negative, axis=1), axis=1, out=below[:, 1:])
        hits = weights.take(positive, axis=1)
        outranked = hits * (below.take(ends[0], axis=1) + below.take(ends[1], axis=1))
        aucs.append(outranked.sum(axis=1) / (2 * hits.sum(axis=1) * below[:, -1]))
    return np.concatenate(aucs)


def draw_weights(
    labels: np.ndarray, slides: np.ndarray | None = None, seed: int = 0
) -> Iterator[np.ndarray]:
    """Yield how often each patch is drawn: NUM_DRAWS rows, in int arrays (rows, n).

    Slides are drawn with all their patches; patches, where there are not two known slides. A draw
    without one of the labels is not taken.

    Args:
        labels, slides, seed: as `draw_aucs` takes them.

    Raises:
        ValueError: there is only one label.
    """
    labels, random = np.asarray(labels), np.random.default_rng(seed)
    if set(labels.tolist()) != {0, 1}:
        raise ValueError(f"labels: expected 0 and 1. Received: {sorted(set(labels.tolist()))}")
    places = np.arange(len(labels))
    if count_slides(slides):
        places = np.unique(slides, return_inverse=True)[1]
    held = np.stack([np.bincount(places, labels == label) for label in (0, 1)], axis=1)
    count, left = len(held), NUM_DRAWS
    while left:
        rows = min(left, max(1, BLOCK // len(labels)))
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        drawn = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        drawn = drawn[(drawn @ held > 0).all(axis=1)]
        yield drawn.take(places, axis=1)
        left -= len(drawn)
