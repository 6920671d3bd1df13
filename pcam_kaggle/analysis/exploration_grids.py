"""Pictures of an exploration: samples, oddities and stains."""

from pathlib import Path

import numpy as np
import pandas as pd

from .exploration import CLASSES, Exploration
from .patch_grids import PATCHES_PER_ROW, draw_patches, make_rows, outline_centers
from .stains import measure_hue
from .style import COLORS, draw_figure, label_axes

MAX_POINTS = 3_000  # of each stain in the scatter plot


def plot_samples(images: np.ndarray, labels: np.ndarray, path: Path, seed: int = 0) -> None:
    """Draw random patches of both classes, with the center outlined.

    Args:
        images: uint8 array (n, 96, 96, 3).
        labels: int array (n,) of 0 and 1.
        path: the PNG to write.
        seed: random seed of the choice.
    """
    random = np.random.default_rng(seed)
    rows = []
    for label in (1, 0):
        chosen = random.permutation(np.flatnonzero(labels == label))[: 2 * PATCHES_PER_ROW]
        rows += make_rows(CLASSES[label], [(images[i], "") for i in chosen])
    title = "Random patches; the outlined center, 32x32 of 96x96 pixels, decides the label"
    with draw_figure(path, title, 0.9 + 1.7 * len(rows)) as figure:
        outline_centers(draw_patches(figure, rows))


def plot_oddities(images: np.ndarray, exploration: Exploration, path: Path) -> None:
    """Draw black, white and near-empty patches, and duplicates.

    Args:
        images: uint8 array (n, 96, 96, 3).
        exploration: Exploration.
        path: the PNG to write.
    """
    patches, labels = exploration.patches, exploration.patches["label"]
    rows = []
    for kind in ("black", "white", "near-empty"):
        found = np.flatnonzero(patches["blank"] == kind)
        name = f"{kind}: {len(found):,}, {labels[found].sum():,} of them with tumor"
        rows += make_rows(name, [(images[i], CLASSES[labels[i]]) for i in found[:PATCHES_PER_ROW]])
    twins = exploration.twins
    pairs = twins[["first", "second"]].to_numpy()[:PATCHES_PER_ROW]
    shown = [(images[i], CLASSES[labels[i]]) for i in pairs.ravel()]
    rows += make_rows("duplicates: each pair side by side", shown)
    num_blank = (patches["blank"] != "").sum()
    title = f"Of {len(patches):,} patches, blank: {num_blank:,}; duplicate pairs: {len(twins):,}"
    with draw_figure(path, title, 0.9 + 1.9 * len(rows)) as figure:
        if rows:
            draw_patches(figure, rows)


def plot_stains(images: np.ndarray, patches: pd.DataFrame, path: Path, seed: int = 0) -> None:
    """Draw the stain clusters in color space, and patches of each.

    Args:
        images: uint8 array (n, 96, 96, 3).
        patches: DataFrame as in Exploration.
        path: the PNG to write.
        seed: random seed of the choice.
    """
    random, rows, points, shares = np.random.default_rng(seed), [], [], []
    for stain, part in patches[patches["stain"] >= 0].groupby("stain"):
        members = random.permutation(part.index)
        points.append(measure_hue(patches.iloc[members[:MAX_POINTS]]))
        shares.append(f"{len(part):,} patches ({part['label'].mean():.0%} tumor)")
        rows.append((f"stain {stain + 1}", [(images[i], "") for i in members[:PATCHES_PER_ROW]]))
    # The axes leave out the few outliers of ink and dust.
    hues = np.concatenate([np.zeros((0, 2)), *points])
    low, high = np.quantile(hues if len(hues) > 1 else [[0, 0], [1, 1]], (0.002, 0.998), axis=0)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    hidden = ((hues < low) | (hues > high)).any(axis=1).sum()
    note = f"{len(hues):,} patches are drawn, {hidden:,} of them outside the axes"
    title = f"Colors of stain: {' and '.join(shares) or 'none'}"
    with draw_figure(path, title, 5 + 1.65 * len(rows), note) as figure:
        upper, lower = figure.subfigures(2, 1, height_ratios=(4, 1.65 * len(rows) or 1))
        axes = upper.subplots()
        for stain, part in enumerate(points):
            style = {"s": 4, "alpha": 0.5, "color": COLORS[stain], "marker": "o^"[stain]}
            axes.scatter(*part.T, label=f"stain {stain + 1}", **style)
        label_axes(axes, "optical density, red / green", "optical density, blue / green")
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        if rows:
            axes.legend(markerscale=3, loc="upper left")
            draw_patches(lower, rows)
