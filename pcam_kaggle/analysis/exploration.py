"""Properties of the patches in numbers."""

import dataclasses

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from ..data.decode import IMAGE_SHAPE
from .hospitals import HOSPITALS, find_hospitals
from .patches import PATCHES_PER_PART, find_twins, measure_patches
from .stains import cluster_stains

CLASSES = ("no tumor", "tumor")
DENSITIES = ["red", "green", "blue"]
MAX_COUNTED = 20_000  # patches whose pixels are counted; more would change no curve
MAX_LISTED = 1_000  # ids of each kind that exploration.json names


@dataclasses.dataclass(frozen=True)
class Exploration:
    """What `explore` found.

    Attributes:
        patches: DataFrame, a row per training patch: id, label, the columns of
            `measure_patches`, and `stain`, the cluster of its color (0 the largest, -1 for a
            blank patch).
        twins: DataFrame, pairs as `find_twins` returns them.
        counts: int64 array (2, 3, 256): pixels by class, channel and value, over at most 20,000
            patches.
        means: float array (2, 96, 96, 3): the mean patch of each class.
        summary: dict, all of this in numbers, as in exploration.json.
    """

    patches: pd.DataFrame
    twins: pd.DataFrame
    counts: np.ndarray
    means: np.ndarray
    summary: dict


def explore(
    images: np.ndarray,
    ids: np.ndarray,
    labels: np.ndarray,
    slides: np.ndarray | None = None,
    test_images: np.ndarray | None = None,
    test_ids: np.ndarray | None = None,
) -> Exploration:
    """Explore the training patches, and compare the test patches with them.

    Args:
        images: uint8 array (n, 96, 96, 3), RGB.
        ids: array (n,) of str.
        labels: int array (n,) of 0 and 1.
        slides: array (n,) of slide names, or None.
        test_images: uint8 array (m, 96, 96, 3), or None for no comparison.
        test_ids: array (m,) of str, with `test_images`.
    """
    labels = np.asarray(labels)
    patches = measure_patches(images)
    patches.insert(0, "id", np.asarray(ids))
    patches.insert(1, "label", labels)
    patches["stain"] = cluster_stains(patches)
    twins = find_twins(images, patches)
    summary = summarize_patches(patches, twins)
    if slides is not None:
        summary["slides"] = summarize_slides(slides, labels)
        if hospitals := compare_hospitals(slides, patches["stain"].to_numpy()):
            summary["hospitals"] = hospitals
    if test_images is not None:
        test = measure_patches(test_images)
        test.insert(0, "id", np.asarray(test_ids))
        summary["test"] = summarize_test(test)
    counts, means = count_pixels(images, labels), average_classes(images, labels)
    return Exploration(patches, twins, counts, means, summary)


def summarize_patches(patches: pd.DataFrame, twins: pd.DataFrame) -> dict:
    """The numbers of an exploration, as in exploration.json."""
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
        "blank": summarize_blanks(patches),
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


def summarize_blanks(patches: pd.DataFrame) -> dict:
    """For each kind of blank patch: how many, how many with tumor, and which."""
    summary = {}
    for kind in ("black", "white", "near-empty"):
        rows = patches.loc[patches["blank"] == kind]
        summary[kind] = {"patches": len(rows), "ids": rows["id"].head(MAX_LISTED).tolist()}
        if "label" in rows:
            summary[kind]["positive"] = int(rows["label"].sum())
    return summary


def find_conflicts(patches: pd.DataFrame, twins: pd.DataFrame) -> pd.DataFrame:
    """The twins whose labels contradict each other: rows of `twins`."""
    labels = patches["label"].to_numpy()
    return twins.loc[labels[twins["first"]] != labels[twins["second"]]]


def summarize_slides(slides: np.ndarray, labels: np.ndarray) -> dict:
    """Count the slides and their patches, and the slides with no or only tumor."""
    by_slide = pd.Series(labels).groupby(np.asarray(slides)).agg(["size", "mean"])
    return {
        "slides": len(by_slide),
        "patches_per_slide": by_slide["size"].describe().round(1).to_dict(),
        "slides_without_tumor": int((by_slide["mean"] == 0).sum()),
        "slides_of_tumor_alone": int((by_slide["mean"] == 1).sum()),
    }


def compare_hospitals(slides: np.ndarray, stains: np.ndarray) -> dict | None:
    """Compare the group of hue that most patches of a slide have with its hospital.

    Args:
        slides: array (n,) of slide names.
        stains: int array (n,) of groups as `cluster_stains` returns it.

    Returns:
        dict: "table", the number of slides of each hospital by group; "agreeing", the slides on
        the diagonal that holds more; "slides"; "rand", the adjusted Rand index, 0 for chance. None
        if no name tells the hospital.
    """
    table = pd.DataFrame({"hospital": find_hospitals(slides), "stain": stains, "slide": slides})
    table = table[(table["hospital"] != "") & (table["stain"] >= 0)]
    if table.empty:
        return None
    groups = table.groupby(["hospital", "slide"])["stain"].mean().round().astype(int)
    hospitals = groups.index.get_level_values("hospital")
    counts = pd.crosstab(hospitals, groups.to_numpy())
    counts = counts.reindex(index=HOSPITALS, columns=[0, 1], fill_value=0).to_numpy()
    return {
        "table": {name: row.tolist() for name, row in zip(HOSPITALS, counts)},
        "agreeing": int(max(np.trace(counts), np.trace(counts[::-1]))),
        "slides": len(groups),
        "rand": float(adjusted_rand_score(hospitals, groups)),
    }


def summarize_test(patches: pd.DataFrame) -> dict:
    """The test patches in numbers, as in exploration.json."""
    return {
        "patches": len(patches),
        "brightness": float(patches["brightness"].mean()),
        "tissue": float(patches["tissue"].mean()),
        "blank": summarize_blanks(patches),
        "density": patches[DENSITIES].mean().round(4).tolist(),
    }


def count_pixels(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count pixels by class, channel and value: int64 array (2, 3, 256).

    Counts at most 20,000 patches, evenly spread.
    """
    counts = np.zeros((2, 3, 256), "int64")
    num_counted = min(len(images), MAX_COUNTED)
    positions = np.linspace(0, len(images) - 1, num_counted, dtype=int)
    for start in range(0, num_counted, PATCHES_PER_PART):
        part = positions[start : start + PATCHES_PER_PART]
        pixels, classes = images[part], labels[part]
        for label in (0, 1):
            chosen = pixels[classes == label]
            for channel in range(3):
                values = chosen[..., channel].ravel()
                counts[label, channel] += np.bincount(values, minlength=256)
    return counts


def average_classes(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean patch of each class: float64 (2, 96, 96, 3); 0 for an absent class."""
    sums = np.zeros((2, *IMAGE_SHAPE), "uint64")
    for start in range(0, len(images), PATCHES_PER_PART):
        part = slice(start, start + PATCHES_PER_PART)
        for label in (0, 1):
            sums[label] += images[part][labels[part] == label].sum(0, dtype="uint32")
    sizes = np.maximum(np.bincount(labels, minlength=2), 1)
    return sums / sizes[:, None, None, None]
