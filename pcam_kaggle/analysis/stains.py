"""Stain colors, and the laboratories behind them."""

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler


def measure_hue(patches: pd.DataFrame) -> np.ndarray:
    """Measure the optical densities of red and blue relative to green: float array (n, 2).

    Args:
        patches: DataFrame as `measure_patches` returns it.
    """
    return patches[["red", "blue"]].to_numpy() / patches[["green"]].to_numpy()


def cluster_hues(hues: np.ndarray) -> np.ndarray:
    """Cluster hues (n, 2) in two, as Camelyon16 has two laboratories: int array (n,).

    This is k-means on the standardized values.
    """
    scaled = StandardScaler().fit_transform(hues)
    return KMeans(2, n_init=10, random_state=0).fit_predict(scaled)


def cluster_stains(patches: pd.DataFrame) -> np.ndarray:
    """Cluster the stains of patches: int array (n,), 0 the largest, -1 for blank patches.

    It clusters the hue, which differs between laboratories and scanners, whatever amount of
    tissue a patch shows.

    Args:
        patches: DataFrame as `measure_patches` returns it.
    """
    stains = np.full(len(patches), -1)
    stained = np.flatnonzero(patches["blank"] == "")
    stains[stained] = 0
    if len(stained) > 1:
        clusters = cluster_hues(measure_hue(patches.iloc[stained]))
        sizes = np.bincount(clusters, minlength=2)
        stains[stained] = np.argsort(np.argsort(-sizes, kind="stable"))[clusters]
    return stains


def make_stain_folds(
    patches: pd.DataFrame, labels: np.ndarray, slides: np.ndarray | None = None
) -> np.ndarray:
    """Make two folds that differ in stain, to measure the loss on another laboratory.

    Patches, or whole slides, are clustered by hue. On PCam the two clusters are most likely the
    two laboratories of Camelyon16. Each fold holds out one of them. Blank patches, which have
    no hue, are in the first fold, or with their slide.

    Args:
        patches: DataFrame as `measure_patches` returns it.
        labels: int array (n,) of 0 and 1.
        slides: array (n,) of slide names, or None.

    Returns:
        int array (n,): 0 for the larger cluster, 1 for the other.

    Raises:
        ValueError: a cluster has fewer than two patches of a label.
    """
    names = np.arange(len(labels)) if slides is None else np.asarray(slides)
    _, groups = np.unique(names, return_inverse=True)
    stained = np.flatnonzero(patches["blank"] == "")
    hues = pd.DataFrame(measure_hue(patches.iloc[stained]))
    means = hues.groupby(groups[stained]).mean()
    clusters = cluster_hues(means.to_numpy()) if len(means) > 1 else 0
    clusters = pd.Series(clusters, means.index)
    folds = clusters.reindex(groups, fill_value=-1).to_numpy()
    if (folds == 1).sum() > (folds == 0).sum():
        folds = np.where(folds < 0, -1, 1 - folds)
    folds = np.maximum(folds, 0)
    counts = pd.crosstab(folds, np.asarray(labels))
    if counts.shape != (2, 2) or counts.to_numpy().min() < 2:
        raise ValueError(
            "split, stain_check: expected two patches or more of both labels in both "
            f"stain colors. Received: {counts.to_numpy().tolist()}. Try: split=stratified "
            "stain_check=false"
        )
    return folds
