"""One style for all figures: readable at 390 pixels of width, safe for color blindness."""

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..system.files import write_beside
from ..system.provenance import is_notebook

# Okabe and Ito's palette without its yellow, which is too pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
CLASS_COLORS = {"no tumor": COLORS[0], "tumor": COLORS[1]}
CLASS_LINES = {"no tumor": "--", "tumor": "-"}  # tells the classes apart without color
WIDTH = 6.4  # inches; in a picture 390 pixels wide, 11 points are 9 pixels
DPI = 200
STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 10,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
}


@contextlib.contextmanager
def draw_figure(path: Path, title: str, height: float, note: str = "") -> Iterator[Figure]:
    """Give an empty figure to draw on, and write it as PNG.

    Args:
        path: the PNG to write, 1280 pixels wide.
        title: what the figure shows, its finding with its number if it has one.
        height: in inches of 200 pixels.
        note: what a reader has to know, below the figure.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        place = {"x": 0.0125, "ha": "left", "parse_math": False}
        figure.suptitle(textwrap.fill(title, 52), fontsize=13, weight="bold", **place)
        if note:
            figure.supxlabel(textwrap.fill(note, 84), fontsize=9, color="0.35", **place)
        yield figure
        save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG atomically; a notebook also shows it."""
    with write_beside(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI)
    if is_notebook():
        import IPython.display

        IPython.display.display(IPython.display.Image(str(path)))


def label_axes(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Label both axes, with their units, and add a light grid."""
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
