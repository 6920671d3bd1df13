"""The block diagram of a network: its stages, and the receptive field of each."""

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from pcam_kaggle.analysis.style import COLORS, WIDTH, draw_figure

PATCH, CENTER = 96, 32  # pixels on a side
COLUMNS = 38  # characters of a line in a block
LINE, GAP = 0.24, 0.34  # inches
BOX, ICON = 4.4, 1.0  # widths in inches


def plot_stages(name: str, stages: list, crop: int, size: int, path: Path) -> None:
    """Draw the stages of a network from top to bottom.

    Args:
        name: the network's name.
        stages: list of Stage, the head last.
        crop: side of the part of the patch that the network gets, in pixels.
        size: side to which that part is resized.
        path: the PNG to write.
    """
    blocks = [("input, RGB", [describe_input(crop, size)], 0.0)]
    for stage in stages:
        title = f"stride {stage.stride}: {stage.channels:,} channels" if stage.stride else "head"
        blocks.append((title, wrap_layers(stage.layers), stage.receptive_field * crop / size))
    heights = [max((1 + len(lines)) * LINE + 0.16, ICON * 0.9 * bool(f)) for _, lines, f in blocks]
    total = sum(heights) + GAP * (len(blocks) - 1)
    seen = blocks[-2][2]
    compared = "wider" if seen > CENTER else "not wider"
    title = f"{name}: its last receptive field is {compared} than the {CENTER}-pixel center"
    with draw_figure(path, title, total + 0.75) as figure:
        axes = figure.add_subplot()
        axes.set(xlim=(0, WIDTH), ylim=(-total - 0.02, 0.02), aspect="equal")
        axes.set_axis_off()
        top = 0.0
        for number, ((heading, lines, field), height) in enumerate(zip(blocks, heights)):
            draw_block(axes, heading, lines, top, height)
            if field:
                draw_patch(axes, field, crop, top - height / 2)
            if number < len(blocks) - 1:
                ends = (BOX / 2, top - height - GAP), (BOX / 2, top - height)
                axes.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": "0.3"})
            top -= height + GAP


def describe_input(crop: int, size: int) -> str:
    """What a network gets of a patch, such as "the central 64x64 pixels, resized to 96x96"."""
    part = f"the central {crop}x{crop} pixels" if crop < PATCH else f"all {PATCH}x{PATCH} pixels"
    return part if crop == size else f"{part}, resized to {size}x{size}"


def wrap_layers(text: str) -> list[str]:
    """Layers as lines that break between the kinds of layers."""
    kept = text.replace(", ", ",\n").replace(" ", "\xa0").replace("\n", " ")
    return [line.replace("\xa0", " ") for line in textwrap.wrap(kept, COLUMNS)]


def draw_block(axes: Axes, title: str, lines: list, top: float, height: float) -> None:
    """Draw a block with its title and its layers."""
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "linewidth": 1.2}
    box = FancyBboxPatch((0.02, top - height), BOX, height, fc="#eef4fa", ec=COLORS[0], **style)
    axes.add_patch(box)
    first = top - (height - (1 + len(lines)) * LINE) / 2 - LINE / 2
    for number, line in enumerate([title, *lines]):
        weight = "normal" if number else "bold"
        place = BOX / 2, first - number * LINE
        axes.text(*place, line, ha="center", va="center", fontsize=11, fontweight=weight)


def draw_patch(axes: Axes, field: float, crop: int, middle: float) -> None:
    """Draw a patch, its center, and a central receptive field within the part that is used."""
    side, left = ICON * 0.78, BOX + 0.3
    for pixels, style in (
        (min(field, crop), {"fc": COLORS[4], "ec": "none", "alpha": 0.6}),
        (PATCH, {"fc": "none", "ec": "black"}),
        (CENTER, {"fc": "none", "ec": "black", "linestyle": (0, (2, 1.5))}),
    ):
        width = side * pixels / PATCH
        corner = left + (side - width) / 2, middle - width / 2
        axes.add_patch(Rectangle(corner, width, width, **style))
    axes.text(left + side + 0.1, middle, f"{field:,.0f} px", va="center", fontsize=10)
