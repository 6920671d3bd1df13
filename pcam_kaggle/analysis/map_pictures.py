"""Patches beside their class activation maps."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from scipy.ndimage import binary_opening

from .patch_grids import CENTER, draw_patches, make_rows, outline_centers
from .shown import choose_shown
from .style import draw_figure
from .tissue import STEP, find_tissue

COLORS_OF_HEAT = "viridis"
SHOWN_PER_KIND = 2  # patches of each kind, each beside its map
LONGEST_NAME = 12  # characters that fit below a patch, beside its probability
USE = "research use only, not for diagnosis"


def plot_maps(found: list, path: Path, note: str) -> None:
    """Draw patches beside their class activation maps: the surest hits and the worst errors.

    Args:
        found: list as `gather_maps` returns it, not empty.
        path: the PNG to write.
        note: which run it is.
    """
    labels, answers = (np.array([row[i] for row in found]) for i in (1, 2))
    rows = []
    for kind, places in choose_shown(labels, answers).items():
        shown = [found[place] for place in places[:SHOWN_PER_KIND]]
        if not shown:
            continue
        called = "tumor" if shown[0][2] >= 0.5 else "no tumor"
        pairs = []
        for name, _, answer, *patch_and_map in shown:
            pairs += [(patch_and_map[0], f"{name[:8]}, p {answer:.3f}")]
            pairs += [(color_map(*patch_and_map), "")]
        rows.append((f"{kind}; beside each: evidence for {called}", pairs))
    note += "; first 8 digits of the patch's id; p: predicted probability of tumor"
    title = describe_maps([row[4] for row in found])
    draw_pairs(rows, path, title, note)


def plot_patches(found: list, path: Path, note: str) -> None:
    """Draw any patches beside their class activation maps, in their order.

    Args:
        found: list of (name, prediction, patch, map), not empty.
        path: the PNG to write.
        note: which run it is.
    """
    pairs = []
    for name, answer, *patch_and_map in found:
        called = "tumor" if answer >= 0.5 else "no tumor"
        shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 2]}.."
        pairs += [(patch_and_map[0], f"{shown}, p {answer:.3f}")]
        pairs += [(color_map(*patch_and_map), f"evidence for {called}")]
    draw_pairs(make_rows("", pairs), path, describe_maps([row[3] for row in found]), note)


def draw_pairs(rows: list, path: Path, title: str, note: str) -> None:
    """Draw rows of patches, each beside its map, with the scale of the maps.

    Args:
        rows: as `draw_patches` takes them, each patch before its map.
        path, title, note: as `draw_figure` takes them.
    """
    with draw_figure(path, title, 1.6 + 1.95 * len(rows), f"{note}; {USE}") as figure:
        grid = draw_patches(figure, rows)
        outline_centers(grid[:, 1::2])
        bar = {"orientation": "horizontal", "shrink": 0.6, "aspect": 40}
        bar["label"] = "share of the map's maximum; glass is left blank"
        figure.colorbar(ScalarMappable(cmap=COLORS_OF_HEAT), ax=grid, **bar)


def color_map(patch: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map in colors, with glass left white: uint8 array (96, 96, 3).

    Args:
        patch: uint8 array (96, 96, 3).
        heat: float array (96, 96), 0 to 1.
    """
    colors = matplotlib.colormaps[COLORS_OF_HEAT](heat, bytes=True)[..., :3]
    is_glass = binary_opening(~find_tissue(patch[None])[0], np.ones((3, 3)))  # no specks
    is_glass = is_glass.repeat(STEP, axis=0).repeat(STEP, axis=1)
    return np.where(is_glass[..., None], np.uint8(255), colors)


def describe_maps(maps: list) -> str:
    """How much of the maps lies in the center that decides the label."""
    total = np.sum(maps)
    if not total > 0:
        return "The Grad-CAM maps are empty"
    share, area = np.sum([heat[CENTER] for heat in maps]) / total, maps[0][CENTER].size
    area /= maps[0].size
    return f"The center, {area:.0%} of a patch, holds {share:.0%} of the Grad-CAM maps"
