"""Folds: stratified, grouped by slide where a map is given, or by stain."""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from .quality import cluster_hues, measure_hue, measure_patches


def make_folds(labels, num_folds, seed, slides=None):
    """The validation fold of every image.

    Args:
        labels: int array (n,) of 0 and 1.
        num_folds: int, at least 2.
        seed: int, shuffles the images (or the slides) before they are dealt out.
        slides: array (n,) of slide names, or None. Folds never share a slide.

    Returns:
        int array (n,) with values from 0 to num_folds - 1. The folds have the same
        balance of labels, as nearly as whole images (or slides) allow.

    Raises:
        ValueError: more folds than images of a label or than slides, or a fold that
            would hold only one label.
    """
    labels = np.asarray(labels)
    counts = {"negative images": (labels == 0).sum(), "positive images": labels.sum()}
    if slides is not None:
        counts["slides"] = len(set(slides))
    for kind, count in counts.items():
        if count < num_folds:
            raise ValueError(
                f"num_folds: there are only {count} {kind}. "
                f"Received: num_folds={num_folds}"
            )
    splitter = StratifiedKFold if slides is None else StratifiedGroupKFold
    splitter = splitter(num_folds, shuffle=True, random_state=seed)
    folds = np.full(len(labels), -1)
    for fold, (_, valid) in enumerate(splitter.split(labels, labels, slides)):
        if len(set(labels[valid])) < 2:
            raise ValueError(
                f"num_folds: fold {fold} of {num_folds} would hold only one label; the "
                f"slides are too uneven. Received: num_folds={num_folds}"
            )
        folds[valid] = fold
    return folds


def make_stain_folds(images, labels, slides=None):
    """Two folds of unlike colours: what another laboratory's stain would cost.

    Images (or whole slides) are clustered by hue, the optical densities of red and of
    blue as shares of green's (k-means, k = 2, on standardised values): on PCam, most
    likely the two laboratories of Camelyon16. Each fold is one colour, held out once.

    Args:
        images: uint8 array (n, side, side, 3).
        labels: int array (n,) of 0 and 1.
        slides: array (n,) of slide names, or None.

    Returns:
        int array (n,): 0 for the larger cluster, 1 for the other.

    Raises:
        ValueError: a cluster with fewer than two images of a label.
    """
    features = measure_hue(measure_patches(images))
    names = np.arange(len(labels)) if slides is None else np.asarray(slides)
    _, groups = np.unique(names, return_inverse=True)
    means = pd.DataFrame(features).groupby(groups).mean().to_numpy()
    folds = cluster_hues(means)[groups]
    if (folds == 1).sum() > (folds == 0).sum():
        folds = 1 - folds
    counts = pd.crosstab(folds, np.asarray(labels))
    if counts.shape != (2, 2) or counts.to_numpy().min() < 2:
        raise ValueError(
            "split: expected both labels in both colours of stain. Received: "
            f"{counts.to_numpy().tolist()} images of each; use split=stratified"
        )
    return folds


def draw_images(num_available, num_images, seed):
    """Sorted positions of `num_images` images drawn at random; 0 takes all.

    Raises:
        ValueError: more images than there are.
    """
    if num_images > num_available:
        raise ValueError(
            f"num_images: there are only {num_available} training images. "
            f"Received: num_images={num_images}"
        )
    if not num_images:
        return np.arange(num_available)
    shuffled = np.random.default_rng(seed).permutation(num_available)
    return np.sort(shuffled[:num_images])


def load_slides(slide_map, ids):
    """The slide of every id, from a CSV with columns id and slide (or wsi).

    Raises:
        FileNotFoundError: no such file.
        ValueError: other columns, an id twice, ids that the map misses.
    """
    table = pd.read_csv(slide_map, dtype=str, keep_default_na=False)
    if list(table.columns) not in (["id", "slide"], ["id", "wsi"]):
        raise ValueError(
            f"slide_map {slide_map}: expected columns id,slide. "
            f"Received: {','.join(table.columns)}"
        )
    table.columns = ["id", "slide"]
    slides = table.set_index("id")["slide"]
    missing = sorted(set(ids) - set(slides.index))
    repeated = sorted(set(slides.index[slides.index.duplicated()]))
    for problem, wrong in (("misses", missing), ("names twice", repeated)):
        if wrong:
            raise ValueError(
                f"slide_map {slide_map}: {problem} {len(wrong)} ids. "
                f"Received: {', '.join(wrong[:10])}"
            )
    return slides.loc[list(ids)].to_numpy()
