"""Stratified cross-validation folds, grouped by slide or otherwise."""

import dataclasses

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold


def make_folds(
    labels: np.ndarray, num_folds: int, seed: int, slides: np.ndarray | None = None
) -> np.ndarray:
    """Assign every image to a validation fold.

    Args:
        labels: int array (n,) of 0 and 1.
        num_folds: at least 2.
        seed: random seed that shuffles the images (or the slides).
        slides: array (n,) of slides or other groups, which folds never share; None for none.

    Returns:
        int array (n,) with values from 0 to num_folds - 1. The folds have the same balance of
        labels, as nearly as whole images (or slides) allow.

    Raises:
        ValueError: there are more folds than images of a label or than groups, or a fold would
            hold only one label.
    """
    labels = np.asarray(labels)
    counts = {"negative images": (labels == 0).sum(), "positive images": labels.sum()}
    if slides is not None:
        counts["slides or groups"] = len(set(slides))
    for kind, count in counts.items():
        if count < num_folds:
            raise ValueError(
                f"num_folds: expected no more folds than {kind} ({count}). "
                f"Received: num_folds={num_folds}"
            )
    splitter = StratifiedKFold if slides is None else StratifiedGroupKFold
    splitter = splitter(num_folds, shuffle=True, random_state=seed)
    folds = np.full(len(labels), -1)
    for fold, (_, valid) in enumerate(splitter.split(labels, labels, slides)):
        if len(set(labels[valid])) < 2:
            raise ValueError(
                f"num_folds: fold {fold} of {num_folds} would hold only one label; the slides "
                f"or groups are too uneven. Received: num_folds={num_folds}"
            )
        folds[valid] = fold
    return folds


@dataclasses.dataclass(frozen=True)
class Split:
    """One network's share of the patches: positions to train on and to validate on.

    `seed` is the random seed of the initial weights, the order and the augmentation; `name`
    starts each line of the log.
    """

    train: np.ndarray
    valid: np.ndarray
    seed: int
    name: str


def split_fold(folds: np.ndarray, fold: int, seed: int, name: str) -> Split:
    """Hold out one fold; patches of fold -1 are in neither part."""
    train = np.flatnonzero((folds != fold) & (folds >= 0))
    return Split(train, np.flatnonzero(folds == fold), seed, name)
