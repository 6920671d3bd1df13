"""Pictures of patches in rows."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..data.decode import IMAGE_SHAPE
from .exploration import CLASSES, Exploration
from .stains import measure_hue
from .style import COLORS, label_axes, new_figure, save_figure

LABELED_CENTER = 32  # side of the center that decides the label
PATCHES_PER_ROW = 8
MAX_POINTS = 3_000  # of each stain in the scatter plot


def draw_patches(figure: Figure, rows: list, outline: bool = False) -> None:
    """Draw patches in rows, each row under its name.

    Args:
        figure: Figure or subfigure.
        rows: list of (name, list of (uint8 array (96, 96, 3), caption)).
        outline: whether to outline the 32x32 center.
    """
    num_columns = max(len(patches) for _, patches in rows)
    grid = figure.subplots(len(rows), num_columns, squeeze=False)
    for line, (name, patches) in zip(grid, rows):
        line[0].set_title(name, loc="left", fontsize=11)
        for axes in line[len(patches) :]:
            axes.set_axis_off()
        for axes, (patch, caption) in zip(line, patches):
            axes.imshow(patch)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("0.8")
            below = {"transform": axes.transAxes, "ha": "center", "va": "top"}
            axes.text(0.5, -0.03, caption, **below)
            if outline:
                outline_center(axes)


def outline_center(axes: Axes) -> None:
    """Outline the center that decides the label, visibly on any tissue."""
    corner = (IMAGE_SHAPE[0] - LABELED_CENTER) / 2 - 0.5
    for color, width in (("white", 3.5), ("black", 1.5)):
        style = {"edgecolor": color, "linewidth": width, "fill": False}
        place = ((corner, corner), LABELED_CENTER, LABELED_CENTER)
        axes.add_patch(Rectangle(*place, **style))


def plot_samples(images: np.ndarray, labels: np.ndarray, path: Path, seed: int = 0) -> None:
    """Draw random patches of both classes, with the center outlined.

    Args:
        images: uint8 array (n, 96, 96, 3).
        labels: int array (n,) of 0 and 1.
        path: the PNG to write (1200x680 pixels).
        seed: random seed of the choice.
    """
    random = np.random.default_rng(seed)
    rows = []
    for label in (1, 0):
        positions = np.flatnonzero(labels == label)
        chosen = random.permutation(positions)[: 2 * PATCHES_PER_ROW]
        for start in range(0, len(chosen), PATCHES_PER_ROW):
            part = chosen[start : start + PATCHES_PER_ROW]
            name = CLASSES[label] if not start else ""
            rows.append((name, [(images[i], "") for i in part]))
    title = "Samples; the label says whether the outlined 32x32 center contains tumor"
    figure = new_figure(title, 12, 6.8)
    draw_patches(figure, rows, outline=True)
    save_figure(figure, path)


def plot_oddities(images: np.ndarray, exploration: Exploration, path: Path) -> None:
    """Draw black, white and near-empty patches, and pairs of copies.

    Args:
        images: uint8 array (n, 96, 96, 3).
        exploration: Exploration.
        path: the PNG to write (1200 pixels wide).
    """
    patches, labels = exploration.patches, exploration.patches["label"]
    rows = []
    for kind in ("black", "white", "near-empty"):
        found = np.flatnonzero(patches["blank"] == kind)
        name = f"{kind}: {len(found):,}, {labels[found].sum():,} of them with tumor"
        shown = [(images[i], CLASSES[labels[i]]) for i in found[:PATCHES_PER_ROW]]
        if shown:
            rows.append((name, shown))
    twins = exploration.twins
    pairs = twins[["first", "second"]].to_numpy()[: PATCHES_PER_ROW // 2]
    if len(pairs):
        shown = [(images[i], CLASSES[labels[i]]) for i in pairs.ravel()]
        rows.append((f"copies: {len(twins):,} pairs, side by side", shown))
    title = "Blank patches and copies" if rows else "No blank patches and no copies"
    figure = new_figure(title, 12, 0.6 + 1.75 * len(rows))
    if rows:
        draw_patches(figure, rows)
    save_figure(figure, path)


def plot_stains(images: np.ndarray, patches: pd.DataFrame, path: Path, seed: int = 0) -> None:
    """Draw the stain clusters in color space, and patches of each.

    Args:
        images: uint8 array (n, 96, 96, 3).
        patches: DataFrame as in Exploration.
        path: the PNG to write (1300x550 pixels).
        seed: random seed of the choice.
    """
    figure = new_figure("Stain colors: two clusters of hue", 13, 5.5)
    left, right = figure.subfigures(1, 2, width_ratios=(2, 3))
    axes = left.subplots()
    random = np.random.default_rng(seed)
    rows = []
    for stain in sorted(set(patches["stain"]) - {-1}):
        members = random.permutation(np.flatnonzero(patches["stain"] == stain))
        red, blue = measure_hue(patches.iloc[members[:MAX_POINTS]]).T
        style = {"s": 4, "alpha": 0.5, "color": COLORS[stain], "marker": "o^"[stain]}
        name = f"{stain + 1}: {len(members):,} patches"
        axes.scatter(red, blue, label=name, **style)
        for first, text in ((0, f"cluster {stain + 1}"), (6, "")):
            shown = [(images[i], "") for i in members[first : first + 6]]
            rows += [(text, shown)] if shown else []
    label_axes(axes, "optical density, red / green", "optical density, blue / green")
    hue = measure_hue(patches.loc[patches["stain"] >= 0])
    if len(hue) > 1:  # leave out the few outliers of ink and dust
        low, high = np.quantile(hue, (0.002, 0.998), axis=0)
        low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    if rows:
        axes.legend(markerscale=3, loc="upper left")
        draw_patches(right, rows)
    save_figure(figure, path)
