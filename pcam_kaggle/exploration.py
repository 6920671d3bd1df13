"""What the training patches are: balance, colours, stains, oddities, as tables."""

import dataclasses

import numpy as np
import pandas as pd

from .data import IMAGE_SHAPE
from .quality import (
    PATCHES_PER_PART,
    cluster_hues,
    find_twins,
    measure_hue,
    measure_patches,
)

CLASSES = ("no tumour", "tumour")
DENSITIES = ["red", "green", "blue"]
MAX_COUNTED = 20_000  # patches whose pixels are counted: more change no curve
MAX_LISTED = 1_000  # ids that exploration.json names of a kind


@dataclasses.dataclass(frozen=True)
class Exploration:
    """What `explore` found.

    `patches` is a DataFrame, a row per patch: id, label, those of `measure_patches`,
    and `stain`, the cluster of its colours (0 the largest; -1 where it is blank).
    `twins` are pairs as `find_twins` returns them. `counts` int64 (2, 3, 256): pixels
    by class, channel and value, over at most 20,000 patches. `means` float (2, 96, 96,
    3): the mean patch of each class. `summary` is all that in numbers, for JSON.
    """

    patches: pd.DataFrame
    twins: pd.DataFrame
    counts: np.ndarray
    means: np.ndarray
    summary: dict


def explore(images, ids, labels, slides=None):
    """Look at all training patches.

    Args:
        images: uint8 array (n, 96, 96, 3), RGB.
        ids: array (n,) of str.
        labels: int array (n,) of 0 and 1.
        slides: array (n,) of slide names, or None.

    Returns:
        Exploration.
    """
    labels = np.asarray(labels)
    patches = measure_patches(images)
    patches.insert(0, "id", np.asarray(ids))
    patches.insert(1, "label", labels)
    patches["stain"] = cluster_stains(patches)
    twins = find_twins(images, patches)
    summary = summarise_patches(patches, twins)
    if slides is not None:
        summary["slides"] = describe_slides(slides, labels)
    counts = count_pixels(images, labels)
    return Exploration(patches, twins, counts, average(images, labels), summary)


def cluster_stains(patches):
    """The cluster of each patch's colours: int array (n,), -1 for blank patches.

    k-means, k = 2, on the standardised optical densities of red and of blue, each as a
    share of green's: laboratories and scanners, as far as colour tells them apart,
    however much tissue there is.
    """
    stains = np.full(len(patches), -1)
    stained = np.flatnonzero(patches["blank"] == "")
    stains[stained] = 0
    if len(stained) > 1:
        clusters = cluster_hues(measure_hue(patches.iloc[stained]))
        sizes = np.bincount(clusters, minlength=2)
        stains[stained] = np.argsort(np.argsort(-sizes, kind="stable"))[clusters]
    return stains


def summarise_patches(patches, twins):
    """The numbers of an exploration, as exploration.json has them."""
    num_patches, num_positive = len(patches), int(patches["label"].sum())
    conflicts = find_conflicts(patches, twins)
    ids = patches["id"].to_numpy()
    by_class = patches.groupby(patches["label"].map(dict(enumerate(CLASSES))))
    return {
        "patches": num_patches,
        "shape": list(IMAGE_SHAPE),
        "dtype": "uint8",
        "labels": {"0": num_patches - num_positive, "1": num_positive},
        "positive_share": num_positive / num_patches,
        "brightness": by_class["brightness"].mean().astype(float).to_dict(),
        "tissue": by_class["tissue"].mean().astype(float).to_dict(),
        "blank": describe_blanks(patches),
        "duplicates": {
            "exact_pairs": int(twins["exact"].sum()),
            "near_pairs": int((~twins["exact"].astype(bool)).sum()),
            "label_conflicts": len(conflicts),
            "pairs": [
                [ids[pair.first], ids[pair.second], pair.distance]
                for pair in twins.head(MAX_LISTED).itertuples()
            ],
        },
        "stains": [
            {
                "patches": len(group),
                "positive_share": float(group["label"].mean()),
                "density": group[DENSITIES].mean().round(4).tolist(),
            }
            for stain, group in patches.groupby("stain")
            if stain >= 0
        ],
    }


def describe_blanks(patches):
    """Of each kind of blank how many patches, of how many tumours, and which."""
    described = {}
    for kind in ("black", "white", "near-empty"):
        rows = patches.loc[patches["blank"] == kind]
        described[kind] = {
            "patches": len(rows),
            "ids": rows["id"].head(MAX_LISTED).tolist(),
        }
        if "label" in rows:
            described[kind]["positive"] = int(rows["label"].sum())
    return described


def find_conflicts(patches, twins):
    """The twins whose labels contradict each other: rows of `twins`."""
    labels = patches["label"].to_numpy()
    return twins.loc[labels[twins["first"]] != labels[twins["second"]]]


def describe_slides(slides, labels):
    """Numbers of patches and of tumour on slides."""
    by_slide = pd.Series(labels).groupby(np.asarray(slides)).agg(["size", "mean"])
    return {
        "slides": len(by_slide),
        "patches_per_slide": by_slide["size"].describe().round(1).to_dict(),
        "slides_without_tumour": int((by_slide["mean"] == 0).sum()),
        "slides_of_tumour_alone": int((by_slide["mean"] == 1).sum()),
    }


def count_pixels(images, labels):
    """Pixels by class, channel and value: int64 (2, 3, 256).

    Over at most 20,000 patches, evenly spread.
    """
    counts = np.zeros((2, 3, 256), "int64")
    num_counted = min(len(images), MAX_COUNTED)
    places = np.linspace(0, len(images) - 1, num_counted, dtype=int)
    for start in range(0, num_counted, PATCHES_PER_PART):
        part = places[start : start + PATCHES_PER_PART]
        pixels, classes = images[part], labels[part]
        for label in (0, 1):
            chosen = pixels[classes == label]
            for channel in range(3):
                values = chosen[..., channel].ravel()
                counts[label, channel] += np.bincount(values, minlength=256)
    return counts


def average(images, labels):
    """The mean patch of each class: float64 (2, 96, 96, 3); 0 for a class without."""
    sums = np.zeros((2, *IMAGE_SHAPE), "uint64")
    for start in range(0, len(images), PATCHES_PER_PART):
        part = slice(start, start + PATCHES_PER_PART)
        for label in (0, 1):
            sums[label] += images[part][labels[part] == label].sum(0, dtype="uint32")
    sizes = np.maximum(np.bincount(labels, minlength=2), 1)
    return sums / sizes[:, None, None, None]
