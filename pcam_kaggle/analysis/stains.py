"""Groups of hue: patches whose stain differs in color."""

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

# Of 22,000 patches of PCam, the mean density of green was 0.039 or more, those of red and blue
# at most 1.33 times as high. A patch outside of these limits shows no stain.
LOWEST_DENSITY = 0.03
HIGHEST_HUE = 2


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


def cluster_hues(hues: np.ndarray, num_groups: int = 2) -> np.ndarray:
    """Cluster hues (n, 2) by k-means on the standardized values: int array (n,)."""
    scaled = StandardScaler().fit_transform(hues)
    return KMeans(min(num_groups, len(hues)), n_init=10, random_state=0).fit_predict(scaled)


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
