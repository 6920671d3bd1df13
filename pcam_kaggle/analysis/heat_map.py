"""Predictions of a large image, drawn over it."""

import math
from pathlib import Path

import numpy as np
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from ..data.tiles import CENTER, TiledImage
from .style import WIDTH, draw_figure

COLOR_MAP = "viridis"  # as even to the eye without red or green
OPACITY = 0.6
TITLE = "Research use only: predicted probability of tumor"
REASON = (
    "Not a diagnosis: PCam is half tumor and mined for hard negatives, so these probabilities "
    "do not carry over to slides."
)


def plot_heat_map(picture: np.ndarray, values: np.ndarray, tiled: TiledImage, path: Path) -> None:
    """Draw the probability of each center over the image, with a legend and a scale bar.

    Args:
        picture: uint8 array (h, w, 3), the image in any size.
        values: float array (rows, columns), NaN where nothing was predicted.
        tiled: TiledImage.
        path: the PNG to write.
    """
    width, height = tiled.width * tiled.mpp, tiled.height * tiled.mpp
    rows, columns = (count * CENTER * tiled.mpp for count in values.shape)
    num_glass = int(np.isnan(values).sum())
    note = f"{values.size:,} tiles, {num_glass:,} of them glass: not predicted, not colored. "
    note += f"Scale assumed: {tiled.mpp:g} µm per pixel. " if tiled.is_assumed else ""
    inches = min(max(0.94 * WIDTH * height / width, 1), 2 * WIDTH)
    with draw_figure(path, TITLE, inches + 1.9, note + REASON) as figure:
        axes = figure.subplots()
        gray = 255 - (255 - picture.mean(axis=2)) * 0.7  # paler than the colors
        axes.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
        style = {"cmap": COLOR_MAP, "vmin": 0, "vmax": 1, "alpha": OPACITY}
        extent = (0, columns, rows, 0)
        colors = axes.imshow(values, extent=extent, interpolation="nearest", **style)
        axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color="0.8")
        length = choose_length(width / 4)
        place = {"bbox_to_anchor": (0, -0.01), "bbox_transform": axes.transAxes}
        style = {"loc": 2, "frameon": False, "borderpad": 0, "size_vertical": width / 120, "sep": 3}
        axes.add_artist(AnchoredSizeBar(axes.transData, length, f"{length:,} µm", **place, **style))
        label = f"probability that the center of {CENTER * tiled.mpp:.0f} µm contains tumor"
        figure.colorbar(colors, orientation="horizontal", label=label, aspect=40, pad=0.02)


def choose_length(limit: float) -> int:
    """The longest of 1, 2, 5, 10, 20, ... micrometers up to a limit, for a scale bar."""
    power = 10 ** math.floor(math.log10(limit))
    return int(next(step for step in (5, 2, 1) if step * power <= limit) * power)
