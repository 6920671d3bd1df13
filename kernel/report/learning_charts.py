"""Charts of how networks learned and how a study searched; titles say what was computed."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from pcam_kaggle.analysis.style import COLORS, draw_figure, label_axes

from .names import name_setting, name_trials

MAX_SHOWN = 1.5  # early losses in the hundreds would flatten the other values
LEARNING_CURVES = {"auc": "ROC AUC", "loss": "binary cross-entropy", "accuracy": "accuracy"}
NOTABLE = 0.002  # of AUC; single epochs differ by less without a trend
NETWORK = ["fold", "seed"]


def plot_curves(history: pd.DataFrame, path: Path, note: str) -> None:
    """Draw AUC, loss and accuracy by epoch: thin for each network, bold for their mean.

    Args:
        history: DataFrame with columns fold, seed, epoch, accuracy, loss and auc, and the last
            three again with the prefix val_; in a run of several methods also member.
        path: the PNG to write.
        note: which run it is.
    """
    methods = dict(list(split_methods(history)))
    if len(history.drop_duplicates([*NETWORK, *history.columns.intersection(["member"])])) > 1:
        note += "; thin: each network, bold: the mean"
    with draw_figure(path, describe_curves(history), 7.5, note) as figure:
        grid = figure.subplots(3, 1, sharex=True)
        for axes, (name, text) in zip(grid, LEARNING_CURVES.items()):
            label_axes(axes, "", text)
            ends = []
            for place, (method, rows) in enumerate(methods.items()):
                color = COLORS[place % len(COLORS)]
                other = color if len(methods) > 1 else COLORS[1]
                ends.append((draw_networks(axes, rows, name, other, "--"), "training", other))
                kind = method or "validation"
                ends.append((draw_networks(axes, rows, f"val_{name}", color, "-"), kind, color))
            highest = history[[name, f"val_{name}"]].max(axis=None)
            if highest > MAX_SHOWN:
                axes.set_ylim(0, MAX_SHOWN)
                axes.set_title(f"cut at {MAX_SHOWN}; the highest value is {highest:.3g}")
            label_ends(axes, ends if len(methods) == 1 else ends[1::2])
        grid[-1].set_xlabel("epoch")
        grid[-1].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if len(methods) > 1:
            lines = (("--", "training"), ("-", "validation"))
            keys = [Line2D([], [], color="0.3", linestyle=s, label=text) for s, text in lines]
            grid[0].legend(handles=keys)


def split_methods(history: pd.DataFrame):
    """The rows of each method of a run of several, by its name; of others all, by ""."""
    names = history.get("member", pd.Series("", history.index))
    return history.groupby(names, sort=False)


def draw_networks(axes: Axes, rows: pd.DataFrame, name: str, color: str, style: str) -> float:
    """Draw a measure of each network and their mean; return the mean's last value."""
    networks = [part for _, part in rows.groupby(NETWORK)]
    for part in networks if len(networks) > 1 else []:
        axes.plot(part["epoch"], part[name], style, color=color, linewidth=0.8, alpha=0.35)
    mean = average_networks(rows, name)
    marker = "o" if len(mean) == 1 else None
    axes.plot(mean.index, mean, style, color=color, linewidth=2.2, marker=marker)
    return mean.iloc[-1]


def average_networks(rows: pd.DataFrame, name: str) -> pd.Series:
    """The mean of a measure over networks, by epoch; NaN where one of them has NaN.

    A network that stopped early counts with its last epoch.
    """
    table = rows.set_index(["epoch", *NETWORK])[name].unstack(NETWORK)
    ends = rows.groupby(NETWORK)["epoch"].max()[table.columns].to_numpy()
    trained = table.index.to_numpy()[:, None] <= ends
    return table.where(trained, table.ffill()).mean(axis=1, skipna=False)


def label_ends(axes: Axes, ends: list) -> None:
    """Write the last values of curves beside them, apart from each other.

    Args:
        axes: Axes.
        ends: list of (last value, name, color).
    """
    low, high = axes.get_ylim()
    place = -np.inf
    for value, name, color in sorted(end for end in ends if np.isfinite(end[0])):
        place = max(min(value, high), place + 0.11 * (high - low))
        style = {"color": color, "va": "center", "fontsize": 10}
        axes.text(1.02, place, f"{name} {value:.3f}", transform=axes.get_yaxis_transform(), **style)


def find_trend(mean: pd.Series) -> str:
    """Whether a measure "rises" to the last epoch, "peaks" before it, or is "flat"; or "".

    Compares its last value with the highest before; "" where one of them is unknown.
    """
    gain = mean.iloc[-1] - mean.iloc[:-1].max()
    if not np.isfinite(gain):
        return ""
    return "rises" if gain >= NOTABLE else "peaks" if gain <= -NOTABLE else "flat"


def describe_curves(history: pd.DataFrame) -> str:
    """What the validation AUC does, in a sentence."""
    means = {method: average_networks(rows, "val_auc") for method, rows in split_methods(history)}
    if len(means) > 1:
        ends = {method: mean.iloc[-1] for method, mean in means.items()}
        last = {method: round(end, 3) for method, end in ends.items() if np.isfinite(end)}
        best = [method for method in last if last[method] == max(last.values())]
        if not best:
            return "The validation AUC is unknown"
        verb = "end" if len(best) > 1 else "ends"
        return f"{' and '.join(best)} {verb} with the highest validation AUC, {last[best[0]]:.3f}"
    (mean,) = means.values()
    count = len(history.drop_duplicates(NETWORK))
    name = "Validation AUC" if count == 1 else f"Mean validation AUC of {count} networks"
    last, epochs, trend = mean.iloc[-1], mean.iloc[:-1], find_trend(mean)
    if not np.isfinite(last):
        return f"{name}: unknown in the last epoch"
    if not trend:
        return f"{name}: {last:.3f} after {'one epoch' if epochs.empty else 'the last epoch'}"
    if trend == "rises":
        return (
            f"{name} still rises in the last epoch, by {last - epochs.iloc[-1]:.3f} to {last:.3f}"
        )
    if trend == "peaks":
        best = f"{epochs.max():.3f} in epoch {epochs.idxmax()}"
        return f"{name} peaks at {best} and ends at {last:.3f}"
    return f"{name} ends within {NOTABLE} of its highest, at {last:.3f}"


def plot_study(trials: pd.DataFrame, importance: dict, path: Path, note: str) -> None:
    """Draw the trials of a study in order, and the importance of its settings.

    Args:
        trials: DataFrame with columns number, value (AUC) and state.
        importance: dict of settings and shares, the largest first; may be empty.
        path: the PNG to write.
        note: which study it is.
    """
    height = 0.32 * len(importance) + 1.2 if importance else 0
    with draw_figure(path, describe_study(trials), 4.2 + height, note) as figure:
        ratios = [3.4, height] if importance else [1]
        upper, *lower = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
        markers = {"COMPLETE": ("o", COLORS[0]), "PRUNED": ("x", COLORS[1])}
        for state, (marker, color) in markers.items():
            rows = trials.loc[trials["state"] == state]
            style = {"marker": marker, "linestyle": "", "color": color}
            if len(rows):
                text = f"{state.lower()}: {len(rows)}"
                upper.plot(rows["number"], rows["value"], label=text, **style)
        complete = find_complete(trials)
        best = complete["value"].cummax()
        upper.step(complete["number"], best, where="post", color="0.4", label="highest so far")
        label_axes(upper, "trial", "validation ROC AUC")
        upper.xaxis.get_major_locator().set_params(integer=True)
        upper.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, frameon=False)
        if importance:
            names = [name_setting(name) for name in importance][::-1]
            lower[0].barh(names, [*importance.values()][::-1], color=COLORS[2])
            lower[0].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            title = f"importance (fANOVA), estimated from {len(complete)} trials"
            label_axes(lower[0], "share of the variance of the AUC", "", title)


def find_complete(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that were completed and have a value."""
    return trials.loc[(trials["state"] == "COMPLETE") & trials["value"].notna()]


def describe_study(trials: pd.DataFrame) -> str:
    """Which trial is highest among how many, in a sentence."""
    complete = find_complete(trials)
    highest = complete["value"].max()
    name = name_trials(complete.loc[complete["value"] == highest, "number"])
    return f"Highest validation AUC of {len(complete)} completed trials: {highest:.4f}, {name}"
