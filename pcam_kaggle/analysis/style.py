"""One style for all figures, safe for color blindness."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..system.files import write_beside
from ..system.provenance import is_notebook

# Okabe and Ito's palette without its yellow, which is too pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
CLASS_COLORS = {"no tumor": COLORS[0], "tumor": COLORS[1]}
CLASS_LINES = {"no tumor": "--", "tumor": "-"}  # tells the classes apart without color


def new_figure(title: str, width: float = 15, height: float = 5) -> Figure:
    """Make an empty figure with a title; `width` and `height` in units of 100 pixels."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=15)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG atomically; a notebook also shows it."""
    with write_beside(path) as partial:
        figure.savefig(partial, format="png")
    if is_notebook():
        import IPython.display

        IPython.display.display(IPython.display.Image(str(path)))


def label_axes(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Label both axes, with their units, and add a light grid."""
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize=12)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
