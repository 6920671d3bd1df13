"""Charts of a run, in one style: colour-blind safe, with labelled axes."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from .evaluation import GRID
from .paths import write_beside

# Okabe and Ito's palette, without its yellow, which is pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
CLASS_COLOURS = {"no tumour": COLOURS[0], "tumour": COLOURS[1]}
CLASS_LINES = {"no tumour": "--", "tumour": "-"}  # told apart without colour, too
MAX_SHOWN = 1.5
CURVES = {
    "accuracy": "accuracy",
    "loss": "loss (binary cross-entropy)",
    "auc": "ROC AUC",
}


def new_figure(title, width=15, height=5):
    """An empty figure under its title; sizes in inches of 100 pixels."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=15)
    return figure


def save_figure(figure, path):
    """Write a figure as PNG, whole or not at all."""
    with write_beside(path) as partial:
        figure.savefig(partial)


def label_axes(axes, xlabel, ylabel, title=""):
    """Name both axes, with their units, and lay a light grid."""
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize=12)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def plot_curves(history, path, title):
    """Accuracy, loss and AUC per epoch and fold, as the seed plots them.

    Args:
        history: DataFrame with columns fold, seed, epoch, accuracy, loss, auc, and the
            last three again with val_ before them.
        path: Path of the PNG (1500x500 pixels).
        title: str.
    """
    figure = new_figure(title)
    folds = sorted(history["fold"].unique())
    for axes, (name, text) in zip(figure.subplots(1, 3), CURVES.items()):
        for (fold, _), rows in history.groupby(["fold", "seed"]):
            colour = COLOURS[folds.index(fold) % len(COLOURS)]
            marker = "o" if len(rows) == 1 else None
            axes.plot(rows["epoch"], rows[name], "--", color=colour, marker=marker)
            axes.plot(rows["epoch"], rows[f"val_{name}"], color=colour, marker=marker)
        label_axes(axes, "epoch", text)
        axes.xaxis.get_major_locator().set_params(integer=True)
        highest = history[[name, f"val_{name}"]].to_numpy().max()
        if highest > MAX_SHOWN:  # early losses of hundreds would flatten the rest
            axes.set_ylim(0, MAX_SHOWN)
            axes.set_ylabel(f"{text}, cut at {MAX_SHOWN} (highest {highest:.3g})")
    keys = [
        Line2D([], [], color="0.3", linestyle="--", label="training"),
        Line2D([], [], color="0.3", label="validation"),
    ]
    keys += [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], linewidth=4, label=f"fold {f}")
        for i, f in enumerate(folds)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    save_figure(figure, path)


def plot_roc(curves, points, auc, interval, path, title):
    """The ROC and the precision-recall curve, with 95 % bands and operating points.

    Args:
        curves: dict, as `band_curves` returns it.
        points: dict, as `find_operating_points` returns it.
        auc: float, ROC AUC; interval: its 95 % interval (low, high).
        path: Path of the PNG (1200x600 pixels).
        title: str.
    """
    figure = new_figure(title, 12, 6)
    left, right = figure.subplots(1, 2)
    low, high = interval
    name = f"AUC {auc:.4f} ({low:.4f} to {high:.4f})"
    for axes, kind, label in ((left, "roc", name), (right, "pr", "precision")):
        line, lower, upper = curves[kind]
        axes.fill_between(GRID, lower, upper, color=COLOURS[4], alpha=0.4, linewidth=0)
        axes.plot(GRID, line, color=COLOURS[0], label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    left.plot([0, 1], [0, 1], ":", color="0.5", label="chance, AUC 0.5")
    for (name, point), marker in zip(points.items(), "o^sD"):
        style = {"marker": marker, "linestyle": "", "color": COLOURS[1], "label": name}
        left.plot(1 - point["specificity"], point["sensitivity"], **style)
        if point["precision"] is not None:
            right.plot(point["sensitivity"], point["precision"], **style)
    label_axes(left, "1 - specificity (false positive rate)", "sensitivity", "ROC")
    label_axes(right, "recall (sensitivity)", "precision", "precision-recall")
    left.legend(loc="lower right", title="band: 95 %, bootstrap")
    save_figure(figure, path)


def plot_scores(labels, predictions, bins, path, title):
    """Predictions of each class as histograms, and the calibration curve.

    Args:
        labels, predictions: arrays (n,), out of fold.
        bins: DataFrame, as `bin_predictions` returns it.
        path: Path of the PNG (1200x500 pixels).
        title: str.
    """
    figure = new_figure(title, 12, 5)
    left, right = figure.subplots(1, 2)
    edges = np.linspace(0, 1, 41)
    for label, (name, colour) in enumerate(CLASS_COLOURS.items()):
        chosen = predictions[labels == label]
        style = {"histtype": "step", "linewidth": 2, "linestyle": CLASS_LINES[name]}
        left.hist(chosen, edges, color=colour, label=name, **style)
    left.set_yscale("log")
    label_axes(left, "predicted probability of tumour", "patches (log scale)")
    left.legend(title="truth", loc="upper center")
    right.plot([0, 1], [0, 1], ":", color="0.5", label="perfectly calibrated")
    right.plot(bins["prediction"], bins["share"], color=COLOURS[0])
    sizes = 20 + 180 * np.sqrt(bins["count"] / bins["count"].max())
    right.scatter(
        bins["prediction"], bins["share"], sizes, color=COLOURS[0], label="out of fold"
    )
    right.set(xlim=(0, 1), ylim=(0, 1))
    label_axes(
        right, "mean prediction in the bin", "share of tumour (area: number of patches)"
    )
    right.legend(loc="upper left", markerscale=0.5)
    save_figure(figure, path)


def plot_errors(confusion, by_stain, path, title):
    """The confusion matrix at the chosen threshold, and errors by colour of stain.

    Args:
        confusion: dict of threshold and counts [[tn, fp], [fn, tp]].
        by_stain: list of dicts, as `measure_stains` returns it; may be empty.
        path: Path of the PNG (1200x500 pixels).
        title: str.
    """
    figure = new_figure(title, 12, 5)
    left, right = figure.subplots(1, 2)
    counts = np.array(confusion["counts"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
            colour = "white" if shares[row, column] > 0.5 else "black"
            place = {"ha": "center", "va": "center", "fontsize": 15, "color": colour}
            left.text(column, row, text, **place)
    names = list(CLASS_COLOURS)
    left.set_xticks((0, 1), names)
    left.set_yticks((0, 1), names, rotation=90, va="center")
    left.set(xlabel="called", ylabel="truth")
    left.set_title(f"threshold {confusion['threshold']:.3f} (Youden)", fontsize=12)
    if not by_stain:
        right.set_axis_off()
        right.text(0.5, 0.5, "no clusters of stain", ha="center")
    for place, name in enumerate(("sensitivity", "specificity", "auc")):
        values = [row[name] or np.nan for row in by_stain]
        x = np.arange(len(by_stain)) + 0.27 * (place - 1)
        hatch = ("", "//", "..")[place]
        label = "ROC AUC" if name == "auc" else name
        style = {"color": COLOURS[place], "hatch": hatch, "edgecolor": "white"}
        right.bar(x, values, 0.25, label=label, **style)
    if by_stain:
        texts = [f"{row['stain'] + 1}\n{row['patches']:,} patches" for row in by_stain]
        right.set_xticks(np.arange(len(by_stain)), texts)
        right.set_ylim(0, 1.2)
        right.set_yticks(np.linspace(0, 1, 6))
        right.yaxis.set_major_formatter(PercentFormatter(1))
        label_axes(right, "cluster of stain", "at that threshold; AUC")
        right.legend(loc="upper center", ncols=3)
    save_figure(figure, path)


def plot_study(trials, importance, path, title):
    """The trials of a study in order, and what decided.

    Args:
        trials: DataFrame with columns number, value (AUC) and state.
        importance: dict of setting and share, the largest first; may be empty.
        path: Path of the PNG (1200x500 pixels).
        title: str.
    """
    figure = new_figure(title, 12, 5)
    left, right = figure.subplots(1, 2)
    markers = {"COMPLETE": ("o", COLOURS[0]), "PRUNED": ("x", COLOURS[1])}
    for state, (marker, colour) in markers.items():
        rows = trials.loc[trials["state"] == state]
        if rows.empty:
            continue
        style = {"marker": marker, "linestyle": "", "color": colour}
        left.plot(rows["number"], rows["value"], label=state.lower(), **style)
    complete = trials.loc[trials["state"] == "COMPLETE"]
    best = complete["value"].cummax()
    left.step(complete["number"], best, where="post", color="0.4", label="best so far")
    label_axes(left, "trial", "validation ROC AUC", "history")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend()
    names = list(importance)[::-1]
    right.barh(names, [importance[name] for name in names], color=COLOURS[2])
    right.xaxis.set_major_formatter(PercentFormatter(1))
    label_axes(right, "share of the variance explained", "setting", "importance")
    save_figure(figure, path)
