"""leaderboard.png: a submission's scores and ranks, and where they stand."""

import textwrap
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
SIZE = (5.4, 7.7)  # inches; in a picture 390 pixels wide, 10 points are 10 pixels
LEFT, RIGHT, MIDDLE = 0.05, 0.95, 0.53
DISTRIBUTION = (0.12, 0.125, 0.83, 0.21)  # left, bottom, width, height


def plot_leaderboard(entry: Entry, standings: list[Standing], path: Path) -> None:
    """Draw leaderboard.png: scores, ranks, the rows around, all teams' scores.

    Args:
        entry: Entry.
        standings: list of Standing, the one to show the rows and all scores of last.
        path: Path of the PNG (1080x1540 pixels, readable at 390 pixels of width).
    """
    accent, shown = BLUE if entry.service == "Kaggle" else ORANGE, standings[-1]
    figure = Figure(figsize=SIZE, facecolor="white")
    write(figure, LEFT, 0.957, shorten(entry.competition, 34), fontsize=15, weight="bold")
    write(figure, LEFT, 0.93, entry.describe_service(), fontsize=10, color=accent)
    if not shown.placed:
        write(figure, LEFT, 0.907, entry.describe_lateness(), fontsize=10, color=accent)
    write(figure, LEFT, 0.872, shorten(entry.team, 30), fontsize=11, weight="bold")
    write(figure, RIGHT, 0.872, entry.date, fontsize=10, color=GRAY, ha="right")
    for left, standing in zip((LEFT, MIDDLE), reversed(standings)):
        draw_score(figure, standing, left, accent)
    draw_rows(figure, shown, entry.team, accent)
    draw_distribution(figure.add_axes(DISTRIBUTION), shown, accent)
    build = textwrap.fill(entry.describe_build(), 72)
    write(figure, LEFT, 0.014, build, fontsize=8.5, color=GRAY)
    with warnings.catch_warnings(), writing(path):
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script without a font
        save_figure(figure, path)


def write(figure: Figure, x: float, y: float, text: str, **style) -> None:
    """Write a text as it is: a team's name may hold $ signs, or Chinese."""
    known = set(matplotlib.font_manager.get_font_names())
    fonts = [name for name in FONTS if name in known]
    figure.text(x, y, text, parse_math=False, family=fonts, **style)


def draw_score(figure: Figure, standing: Standing, left: float, accent: str) -> None:
    """One board's score and rank, large."""
    write(figure, left, 0.828, f"{standing.board} score", fontsize=10, color=GRAY)
    write(figure, left, 0.778, standing.score, fontsize=27, weight="bold")
    write(figure, left, 0.752, standing.describe_rank(), fontsize=9)
    write(figure, left, 0.732, standing.describe_percentile(), fontsize=9, color=accent)
    write(figure, left, 0.712, standing.describe_tie(), fontsize=9, color=GRAY)


def draw_rows(figure: Figure, standing: Standing, team: str, accent: str) -> None:
    """The rows around the own one."""
    write(figure, LEFT, 0.675, f"{standing.board} leaderboard", fontsize=10, color=GRAY)
    for i, (rank, name, score, own) in enumerate(list_rows_around(standing, team)):
        y = 0.652 - 0.031 * i
        style = {"fontsize": 10, "va": "center"}
        if own:
            style |= {"weight": "bold", "color": "white"}
            frame = (LEFT - 0.015, y - 0.015, RIGHT - LEFT + 0.03, 0.03)
            box = figure.add_axes(frame, facecolor=accent, xticks=[], yticks=[])
            box.spines[:].set_visible(False)
        write(figure, 0.15, y, rank, ha="right", **style)
        write(figure, 0.19, y, shorten(name, 34), **style)
        write(figure, RIGHT, y, score, ha="right", **style)


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
        marks.append((float(line), f"{name} {line}", GRAY))
    axes.set_ylim(0, (1 + 0.3 * len(marks)) * max(1, tallest))  # room for texts above the bars
    # Each line ends at its text, and lower scores have lower texts, so that none is crossed.
    for i, (score, text, color) in enumerate(sorted(marks, reverse=True)):
        draw_mark(axes, score, text, color, top=0.93 - 0.115 * i, right=score > (low + 1) / 2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.set_ylabel("teams", fontsize=9)
    hidden = len(scores) - len(shown)
    below = f" ({hidden} lower not shown)" if hidden else ""
    lines = "; medal lines of MLE-bench" if standing.medal_lines else ""
    axes.set_xlabel(f"{standing.board} ROC AUC{below}{lines}", fontsize=9)


def draw_mark(axes: Axes, score: float, text: str, color: str, top: float, right: bool) -> None:
    """A line at a score, and its text: the own score's are thick, those in gray are thin."""
    bold = color != GRAY
    axes.axvline(score, ymax=top + 0.05, color=color, linewidth=2 if bold else 0.8)
    axes.annotate(
        text,
        (score, top),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=11 if bold else 9,
        weight="bold" if bold else "normal",
        color=color,
    )


def shorten(text: str, length: int) -> str:
    """A text of at most `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "\u2026"
