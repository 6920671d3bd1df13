"""Charts of a finished run or study."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .evaluation import CURVE_GRID, Confusion, Evaluation
from .patch_grids import draw_patches
from .style import CLASS_COLORS, CLASS_LINES, COLORS, label_axes, new_figure, save_figure

MAX_SHOWN = 1.5  # early losses in the hundreds would flatten the other values
LEARNING_CURVES = {"accuracy": "accuracy", "loss": "loss (binary cross-entropy)", "auc": "ROC AUC"}


def plot_curves(history: pd.DataFrame, path: Path, title: str) -> None:
    """Draw accuracy, loss and AUC by epoch, with a color for each fold or member.

    Args:
        history: DataFrame with columns fold, seed, epoch, accuracy, loss and auc, and the last
            three again with the prefix val_; in a run of several methods also member.
        path: the PNG to write (1500x500 pixels).
        title: title of the figure.
    """
    figure = new_figure(title)
    names = history.get("member", history["fold"].map("fold {}".format))
    kinds = list(dict.fromkeys(names))
    for axes, (name, text) in zip(figure.subplots(1, 3), LEARNING_CURVES.items()):
        for (kind, *_), rows in history.groupby([names, "fold", "seed"]):
            color = COLORS[kinds.index(kind) % len(COLORS)]
            marker = "o" if len(rows) == 1 else None
            axes.plot(rows["epoch"], rows[name], "--", color=color, marker=marker)
            axes.plot(rows["epoch"], rows[f"val_{name}"], color=color, marker=marker)
        label_axes(axes, "epoch", text)
        axes.xaxis.get_major_locator().set_params(integer=True)
        highest = history[[name, f"val_{name}"]].to_numpy().max()
        if highest > MAX_SHOWN:
            axes.set_ylim(0, MAX_SHOWN)
            axes.set_ylabel(f"{text}, cut at {MAX_SHOWN} (highest {highest:.3g})")
    keys = [
        Line2D([], [], color="0.3", linestyle="--", label="training"),
        Line2D([], [], color="0.3", label="validation"),
    ]
    keys += [
        Line2D([], [], color=COLORS[i % len(COLORS)], linewidth=4, label=kind)
        for i, kind in enumerate(kinds)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    save_figure(figure, path)


def plot_roc(
    curves: dict, points: dict, auc: float, interval: tuple, path: Path, title: str
) -> None:
    """Draw the ROC and precision-recall curves with 95 % bands.

    Args:
        curves: dict as `band_curves` returns it.
        points: dict as `find_operating_points` returns it; marked on the curves.
        auc: ROC AUC.
        interval: its 95 % interval (low, high).
        path: the PNG to write (1200x600 pixels).
        title: title of the figure.
    """
    figure = new_figure(title, 12, 6)
    left, right = figure.subplots(1, 2)
    low, high = interval
    name = f"AUC {auc:.4f} ({low:.4f} to {high:.4f})"
    for axes, kind, label in ((left, "roc", name), (right, "pr", "precision")):
        line, lower, upper = curves[kind]
        band = {"color": COLORS[4], "alpha": 0.4, "linewidth": 0}
        axes.fill_between(CURVE_GRID, lower, upper, **band)
        axes.plot(CURVE_GRID, line, color=COLORS[0], label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    left.plot([0, 1], [0, 1], ":", color="0.5", label="chance, AUC 0.5")
    for (name, point), marker in zip(points.items(), "o^sD"):
        style = {"marker": marker, "linestyle": "", "color": COLORS[1], "label": name}
        left.plot(1 - point.specificity, point.sensitivity, **style)
        if point.precision is not None:
            right.plot(point.sensitivity, point.precision, **style)
    label_axes(left, "1 - specificity (false positive rate)", "sensitivity", "ROC")
    label_axes(right, "recall (sensitivity)", "precision", "precision-recall")
    left.legend(loc="lower right", title="band: 95 %, bootstrap")
    save_figure(figure, path)


def plot_scores(
    labels: np.ndarray, predictions: np.ndarray, bins: pd.DataFrame, path: Path, title: str
) -> None:
    """Draw histograms of each class's predictions, and the calibration curve.

    Args:
        labels: int array (n,) of 0 and 1.
        predictions: float array (n,), out of fold.
        bins: DataFrame as `bin_predictions` returns it.
        path: the PNG to write (1200x500 pixels).
        title: title of the figure.
    """
    figure = new_figure(title, 12, 5)
    left, right = figure.subplots(1, 2)
    edges = np.linspace(0, 1, 41)
    for label, (name, color) in enumerate(CLASS_COLORS.items()):
        chosen = predictions[labels == label]
        style = {"histtype": "step", "linewidth": 2, "linestyle": CLASS_LINES[name]}
        left.hist(chosen, edges, color=color, label=name, **style)
    left.set_yscale("log")
    label_axes(left, "predicted probability of tumor", "patches (log scale)")
    left.legend(title="truth", loc="upper center")
    right.plot([0, 1], [0, 1], ":", color="0.5", label="perfectly calibrated")
    right.plot(bins["prediction"], bins["share"], color=COLORS[0])
    sizes = 20 + 180 * np.sqrt(bins["count"] / bins["count"].max())
    right.scatter(bins["prediction"], bins["share"], sizes, color=COLORS[0], label="out of fold")
    right.set(xlim=(0, 1), ylim=(0, 1))
    label_axes(right, "mean prediction in the bin", "share of tumor (area: number of patches)")
    right.legend(loc="upper left", markerscale=0.5)
    save_figure(figure, path)


def plot_errors(evaluation: Evaluation, path: Path, title: str) -> None:
    """Draw the confusion matrix and, where stains are known, the errors by stain.

    Args:
        evaluation: Evaluation.
        path: the PNG to write (1200x500 pixels; 600x500 without stains).
        title: title of the figure.
    """
    by_stain = evaluation.by_stain
    figure = new_figure(title, 12 if by_stain else 6, 5)
    left, *right = figure.subplots(1, 2 if by_stain else 1, squeeze=False)[0]
    draw_confusion(left, evaluation.confusion)
    if by_stain:
        draw_stain_bars(right[0], by_stain)
    save_figure(figure, path)


def draw_confusion(axes: Axes, confusion: Confusion) -> None:
    """Draw the confusion matrix with counts and the share of each row."""
    counts = np.array(confusion.counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
            color = "white" if shares[row, column] > 0.5 else "black"
            place = {"ha": "center", "va": "center", "fontsize": 15, "color": color}
            axes.text(column, row, text, **place)
    names = list(CLASS_COLORS)
    axes.set_xticks((0, 1), names)
    axes.set_yticks((0, 1), names, rotation=90, va="center")
    axes.set(xlabel="predicted", ylabel="truth")
    axes.set_title(f"threshold {confusion.threshold:.3f} (Youden)", fontsize=12)


def draw_stain_bars(axes: Axes, by_stain: tuple) -> None:
    """Draw the sensitivity, specificity and AUC of each stain color."""
    for place, name in enumerate(("sensitivity", "specificity", "auc")):
        values = [getattr(scores, name) or np.nan for scores in by_stain]
        x = np.arange(len(by_stain)) + 0.27 * (place - 1)
        label = "ROC AUC" if name == "auc" else name
        style = {"color": COLORS[place], "hatch": ("", "//", "..")[place]}
        axes.bar(x, values, 0.25, label=label, edgecolor="white", **style)
    texts = [f"{row.stain + 1}\n{row.patches:,} patches" for row in by_stain]
    axes.set_xticks(np.arange(len(by_stain)), texts)
    axes.set_ylim(0, 1.2)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    label_axes(axes, "stain cluster", "rates at that threshold; AUC")
    axes.legend(loc="upper center", ncols=3)


def plot_maps(rows: list, path: Path, title: str) -> None:
    """Draw patches next to their class activation maps.

    Args:
        rows: list of (name, list of (uint8 array (96, 96, 3), float array (96, 96) from 0 to 1,
            caption)).
        path: the PNG to write (1400 pixels wide).
        title: title of the figure.
    """
    figure = new_figure(title, 14, 0.8 + 2.0 * len(rows))
    shown = []
    for name, patches in rows:
        line = []
        for patch, heat, caption in patches:
            line += [(patch, caption), (overlay_heat(patch, heat), "")]
        shown.append((name, line))
    draw_patches(figure, shown, outline=True)
    save_figure(figure, path)


def overlay_heat(patch: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A patch in gray with its map in orange on top: uint8 array (96, 96, 3)."""
    gray = np.repeat(patch.mean(axis=2, keepdims=True), 3, axis=2)
    orange = np.array([0xE6, 0x6F, 0x00])
    strength = 0.75 * np.clip(heat, 0, 1)[..., None]
    return (gray * (1 - strength) + orange * strength).astype("uint8")


def plot_study(trials: pd.DataFrame, importance: dict, path: Path, title: str) -> None:
    """Draw the trials of a study in order, and the importance of its settings.

    Args:
        trials: DataFrame with columns number, value (AUC) and state.
        importance: dict of settings and shares, the largest first; may be empty.
        path: the PNG to write (1200x500 pixels; 600x500 without importance).
        title: title of the figure.
    """
    figure = new_figure(title, 12 if importance else 6, 5)
    left, *right = figure.subplots(1, 2 if importance else 1, squeeze=False)[0]
    markers = {"COMPLETE": ("o", COLORS[0]), "PRUNED": ("x", COLORS[1])}
    for state, (marker, color) in markers.items():
        rows = trials.loc[trials["state"] == state]
        if rows.empty:
            continue
        style = {"marker": marker, "linestyle": "", "color": color}
        left.plot(rows["number"], rows["value"], label=state.lower(), **style)
    complete = trials.loc[trials["state"] == "COMPLETE"]
    best = complete["value"].cummax()
    left.step(complete["number"], best, where="post", color="0.4", label="best so far")
    label_axes(left, "trial", "validation ROC AUC", "history")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend()
    if importance:
        draw_importance(right[0], importance)
    save_figure(figure, path)


def draw_importance(axes: Axes, importance: dict) -> None:
    """Draw the importance of a study's settings, the largest on top."""
    names = list(importance)[::-1]
    axes.barh(names, [importance[name] for name in names], color=COLORS[2])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    label_axes(axes, "share of the variance explained", "setting", "importance")
