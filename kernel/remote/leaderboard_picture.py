"""leaderboard.png: a submission's scores and ranks, and where they stand."""

import warnings
from pathlib import Path

import matplotlib.font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcam_kaggle.analysis.style import COLORS, save_figure

from ..locks import writing
from .standing import Entry, Standing, list_rows_around

BLUE, ORANGE = COLORS[:2]
GRAY = "0.35"
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Arial")


def plot_leaderboard(entry: Entry, standings: list[Standing], path: Path) -> None:
    """Draw leaderboard.png: scores, ranks, the rows around, all teams' scores.

    Args:
        entry: Entry.
        standings: list of Standing, the one to show the rows of last.
        path: Path of the PNG (1600x900 pixels, readable at half the size).
    """
    accent = BLUE if entry.service == "Kaggle" else ORANGE
    figure = Figure(figsize=(16, 9), dpi=100, facecolor="white")
    write(figure, 0.04, 0.915, entry.competition, fontsize=32, weight="bold")
    late = "" if standings[-1].placed else f"; {entry.describe_lateness()}"
    service = entry.describe_service() + late
    write(figure, 0.04, 0.862, service, fontsize=20, color=accent)
    team = shorten(entry.team, 26)
    write(figure, 0.96, 0.915, team, fontsize=25, weight="bold", ha="right")
    write(figure, 0.96, 0.862, entry.date, fontsize=20, color=GRAY, ha="right")
    for i, standing in enumerate(reversed(standings)):
        draw_score(figure, standing, 0.765 - 0.34 * i, accent)
    draw_rows(figure, standings[-1], entry.team, accent)
    for i, standing in enumerate(reversed(standings)):
        axes = figure.add_axes((0.7, 0.54 - 0.36 * i, 0.26, 0.26))
        draw_distribution(axes, standing, accent)
    write(figure, 0.04, 0.04, entry.describe_build(), fontsize=18, color=GRAY)
    with warnings.catch_warnings(), writing(path):
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script without a font
        save_figure(figure, path)


def write(figure: Figure, x: float, y: float, text: str, **style) -> None:
    """Write a text as it is: a team's name may hold $ signs, or Chinese."""
    known = set(matplotlib.font_manager.get_font_names())
    fonts = [name for name in FONTS if name in known]
    figure.text(x, y, text, parse_math=False, family=fonts, **style)


def draw_score(figure: Figure, standing: Standing, top: float, accent: str) -> None:
    """One board's score and rank, large."""
    write(figure, 0.04, top, f"{standing.board} score", fontsize=20, color=GRAY)
    write(figure, 0.04, top - 0.1, standing.score, fontsize=54, weight="bold")
    write(figure, 0.04, top - 0.155, standing.describe_rank(), fontsize=20)
    share = standing.describe_percentile()
    write(figure, 0.04, top - 0.197, share, fontsize=19, color=accent)
    write(figure, 0.04, top - 0.237, standing.describe_tie(), fontsize=19, color=GRAY)


def draw_rows(figure: Figure, standing: Standing, team: str, accent: str) -> None:
    """The rows around the own one."""
    left, right, top = 0.315, 0.63, 0.765
    write(figure, left, top, f"{standing.board} board", fontsize=20, color=GRAY)
    for i, (rank, name, score, own) in enumerate(list_rows_around(standing, team)):
        y = top - 0.06 - 0.068 * i
        style = {"fontsize": 19, "va": "center"}
        if own:
            style |= {"weight": "bold", "color": "white"}
            frame = (left - 0.008, y - 0.03, right - left + 0.016, 0.06)
            box = figure.add_axes(frame, facecolor=accent, xticks=[], yticks=[])
            box.spines[:].set_visible(False)
        write(figure, left + 0.058, y, rank, ha="right", **style)
        write(figure, left + 0.072, y, shorten(name, 16), **style)
        write(figure, right, y, score, ha="right", **style)


def draw_distribution(axes: Axes, standing: Standing, accent: str) -> None:
    """All teams' scores, and where the own one and MLE-bench's lines lie among them."""
    scores = sorted(float(score) for _, score in standing.teams)
    own = float(standing.score)
    # The tail of near-random scores would squeeze what matters.
    low = max(0, min([*scores[len(scores) // 10 :][:1], own, 0.99]) - 0.01)
    shown = [score for score in scores if score >= low]
    tallest = max(axes.hist(shown, bins=50, range=(low, 1), color="0.75")[0], default=1)
    marks = [(own, standing.score, accent)]
    for name, line in standing.medal_lines.items():
        source = "MLE-bench: " if name == "gold" else ""
        marks.append((float(line), f"{source}{name} {line}", GRAY))
    axes.set_ylim(0, (1 + 0.3 * len(marks)) * max(1, tallest))  # room for texts above the bars
    # Each line ends at its text, and lower scores have lower texts, so that none is crossed.
    for i, (score, text, color) in enumerate(sorted(marks, reverse=True)):
        draw_mark(axes, score, text, color, top=0.92 - 0.105 * i, right=score > (low + 1) / 2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=15)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.set_ylabel("teams", fontsize=16)
    hidden = len(scores) - len(shown)
    below = f" ({hidden} lower not shown)" if hidden else ""
    axes.set_xlabel(f"{standing.board} ROC AUC{below}", fontsize=16)


def draw_mark(axes: Axes, score: float, text: str, color: str, top: float, right: bool) -> None:
    """A line at a score, and its text: the own score's are thick, those in gray are thin."""
    bold = color != GRAY
    axes.axvline(score, ymax=top + 0.05, color=color, linewidth=3 if bold else 1)
    axes.annotate(
        text,
        (score, top),
        xycoords=("data", "axes fraction"),
        xytext=(-8 if right else 8, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=18 if bold else 15,
        weight="bold" if bold else "normal",
        color=color,
    )


def shorten(text: str, length: int) -> str:
    """A text of at most `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "\u2026"
