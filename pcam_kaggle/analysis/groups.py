"""Groups that folds must not share: slides, hospitals, hues."""

import numpy as np
import pandas as pd

from ..data.competition import summarize_items
from ..data.folds import make_folds
from .hospitals import find_hospitals
from .stains import cluster_hues, find_stained, measure_hue

LOWEST_SHARE = 0.05  # of the patches in a fold; 0.32 for PCam
NUM_HUES = 20  # groups of hue from which three or more folds are made


def group_slides(split: str, slides: np.ndarray | None) -> np.ndarray | None:
    """The groups that folds must not share: hospitals for split "hospital", else slides.

    Raises:
        ValueError: the hospitals are not known; names the slides whose names tell nothing.
    """
    if split != "hospital":
        return slides
    received = "no map"
    if slides is not None:
        hospitals = find_hospitals(slides)
        unknown = slides[hospitals == ""]
        if not len(unknown):
            return hospitals
        received = summarize_items(sorted(set(unknown)), "other name")
    raise ValueError(
        "split=hospital: expected a map (slide_map) to slides such as "
        f"camelyon16_train_tumor_071. Received: {received}\nTry: split=auto"
    )


def group_hues(
    patches: pd.DataFrame, slides: np.ndarray | None = None, num_groups: int = 2
) -> np.ndarray:
    """Group patches, or whole slides, by hue: int array (n,), -1 without a stain.

    Args:
        patches: DataFrame as `measure_patches` returns it.
        slides: array (n,) of slide names, or None.
        num_groups: the number of groups.
    """
    names = np.arange(len(patches)) if slides is None else np.asarray(slides)
    _, groups = np.unique(names, return_inverse=True)
    stained = find_stained(patches)
    hues = pd.DataFrame(measure_hue(patches.iloc[stained]))
    means = hues.groupby(groups[stained]).mean()
    clusters = cluster_hues(means.to_numpy(), num_groups) if len(means) else 0
    return pd.Series(clusters, means.index).reindex(groups, fill_value=-1).to_numpy()


def make_hue_folds(
    patches: pd.DataFrame,
    labels: np.ndarray,
    num_folds: int,
    seed: int,
    slides: np.ndarray | None = None,
) -> np.ndarray:
    """Make folds that share no group of hue: the two of `make_stain_folds`, or folds of 20 groups.

    Args:
        patches, labels, slides: as for `make_stain_folds`.
        num_folds, seed: as for `make_folds`.

    Raises:
        ValueError: as `make_stain_folds` and `make_folds`.
    """
    if num_folds == 2:
        return make_stain_folds(patches, labels, slides)
    return make_folds(labels, num_folds, seed, group_hues(patches, slides, NUM_HUES))


def make_stain_folds(
    patches: pd.DataFrame, labels: np.ndarray, slides: np.ndarray | None = None
) -> np.ndarray:
    """Make two folds that differ in hue, to measure the loss on another stain.

    Patches, or whole slides, are clustered by hue, and each fold holds out one of the two groups.
    Patches without a stain are in the first fold, or with their slide.

    Args:
        patches: DataFrame as `measure_patches` returns it.
        labels: int array (n,) of 0 and 1.
        slides: array (n,) of slide names, or None.

    Returns:
        int array (n,): 0 for the larger group, 1 for the other.

    Raises:
        ValueError: a group has fewer than two patches of a label, or less than 5 % of all.
    """
    folds = group_hues(patches, slides)
    if (folds == 1).sum() > (folds == 0).sum():
        folds = np.where(folds < 0, -1, 1 - folds)
    folds = np.maximum(folds, 0)
    counts = np.zeros((2, 2), int)
    np.add.at(counts, (folds, np.asarray(labels)), 1)
    if counts.min() < 2 or counts[1].sum() < LOWEST_SHARE * len(folds):
        raise ValueError(
            "split=hue: expected two patches or more of both labels, and "
            f"{LOWEST_SHARE:.0%} of all patches, in both groups of hue. Received: "
            f"{counts[0].tolist()} and {counts[1].tolist()} patches without and with tumor. "
            "Try: split=auto"
        )
    return folds
