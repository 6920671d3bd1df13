"""Two groups of hue: patches whose stain differs in color."""

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

# Of 22,000 patches of PCam, the mean density of green was 0.039 or more, those of red and blue
# at most 1.33 times as high. A patch outside of these limits shows no stain.
LOWEST_DENSITY = 0.03
HIGHEST_HUE = 2
LOWEST_SHARE = 0.05  # of the patches in a fold; 0.32 for PCam


def measure_hue(patches: pd.DataFrame) -> np.ndarray:
    """Measure the optical densities of red and blue relative to green: float array (n, 2).

    Args:
        patches: DataFrame as `measure_patches` returns it.
    """
    green = np.maximum(patches[["green"]].to_numpy(), LOWEST_DENSITY)
    return patches[["red", "blue"]].to_numpy() / green


def find_stained(patches: pd.DataFrame) -> np.ndarray:
    """The positions of patches that are not blank and have a hue: int array."""
    has_hue = (patches["green"] >= LOWEST_DENSITY) & (measure_hue(patches) <= HIGHEST_HUE).all(1)
    return np.flatnonzero((patches["blank"] == "") & has_hue)


def cluster_hues(hues: np.ndarray) -> np.ndarray:
    """Cluster hues (n, 2) in two groups by k-means on the standardized values: int array (n,)."""
    scaled = StandardScaler().fit_transform(hues)
    return KMeans(2, n_init=10, random_state=0).fit_predict(scaled)


def cluster_stains(patches: pd.DataFrame) -> np.ndarray:
    """Assign patches to two groups of hue: int array (n,), 0 the larger, -1 without a stain.

    The hue differs between scanners and recipes of staining, whatever amount of tissue a patch
    shows. What sets the two groups of PCam apart is not known.

    Args:
        patches: DataFrame as `measure_patches` returns it.
    """
    stains = np.full(len(patches), -1)
    stained = find_stained(patches)
    stains[stained] = 0
    if len(stained) > 1:
        clusters = cluster_hues(measure_hue(patches.iloc[stained]))
        sizes = np.bincount(clusters, minlength=2)
        stains[stained] = np.argsort(np.argsort(-sizes, kind="stable"))[clusters]
    return stains


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
    names = np.arange(len(labels)) if slides is None else np.asarray(slides)
    _, groups = np.unique(names, return_inverse=True)
    stained = find_stained(patches)
    hues = pd.DataFrame(measure_hue(patches.iloc[stained]))
    means = hues.groupby(groups[stained]).mean()
    clusters = cluster_hues(means.to_numpy()) if len(means) > 1 else 0
    clusters = pd.Series(clusters, means.index)
    folds = clusters.reindex(groups, fill_value=-1).to_numpy()
    if (folds == 1).sum() > (folds == 0).sum():
        folds = np.where(folds < 0, -1, 1 - folds)
    folds = np.maximum(folds, 0)
    counts = np.zeros((2, 2), int)
    np.add.at(counts, (folds, np.asarray(labels)), 1)
    if counts.min() < 2 or counts[1].sum() < LOWEST_SHARE * len(folds):
        raise ValueError(
            "split, stain_check: expected two patches or more of both labels, and "
            f"{LOWEST_SHARE:.0%} of all patches, in both groups of hue. Received: "
            f"{counts[0].tolist()} and {counts[1].tolist()} patches without and with tumor. "
            "Try: split=stratified stain_check=false"
        )
    return folds
