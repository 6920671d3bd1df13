"""Pictures of patches in rows."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

CENTER = (slice(32, 64), slice(32, 64))  # the rows and columns that decide the label
PATCHES_PER_ROW = 4


def draw_patches(figure: Figure, rows: list) -> np.ndarray:
    """Draw patches in rows, each row under its name.

    Args:
        figure: Figure or subfigure.
        rows: list of (name, list of up to 4 (uint8 array (96, 96, 3), caption)).

    Returns:
        The Axes, an array (rows, 4).
    """
    grid = figure.subplots(len(rows), PATCHES_PER_ROW, squeeze=False)
    for line, (name, patches) in zip(grid, rows):
        line[0].set_title(" " if name else "")  # room for the name, which would move the columns
        place = {"xycoords": "axes fraction", "textcoords": "offset points", "in_layout": False}
        line[0].annotate(name, (0, 1), (0, 6), **place)
        for axes in line[len(patches) :]:
            axes.set_axis_off()
        for axes, (patch, caption) in zip(line, patches):
            axes.imshow(patch, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(caption, fontsize=9, parse_math=False)
            axes.spines[:].set(visible=True, color="0.8")
    return grid


def outline_centers(grid: np.ndarray) -> None:
    """Outline the center that decides the label, visibly on any tissue."""
    for axes in grid.ravel():
        for color, width in (("white", 2.5), ("black", 1)) if axes.images else ():
            style = {"edgecolor": color, "linewidth": width, "fill": False}
            axes.add_patch(Rectangle((31.5, 31.5), 32, 32, **style))


def make_rows(name: str, patches: list) -> list:
    """Rows for `draw_patches` of any number of patches, the first one under the name."""
    starts = range(0, len(patches), PATCHES_PER_ROW)
    return [(name * (not i), patches[i : i + PATCHES_PER_ROW]) for i in starts]
