"""Charts of out-of-fold predictions; their titles say what was computed."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from pcam_kaggle.analysis.evaluation import CURVE_GRID, Confusion, Evaluation, band_curves
from pcam_kaggle.analysis.reliability import bin_predictions
from pcam_kaggle.analysis.scores import describe_draws
from pcam_kaggle.analysis.style import CLASS_COLORS, CLASS_LINES, COLORS, draw_figure, label_axes


def plot_roc(
    oof: pd.DataFrame, slides: np.ndarray | None, evaluation: Evaluation, path: Path, note: str
) -> None:
    """Draw the ROC and precision-recall curves with 95 % bands and the operating points.

    Args:
        oof: DataFrame with columns label and prediction.
        slides: array (n,) of slide names, or None.
        evaluation: Evaluation of these predictions.
        path: the PNG to write.
        note: which run it is.
    """
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    curves = band_curves(labels, predictions, slides)
    note += f"; band and interval: 95 %, bootstrap {describe_draws(evaluation.num_slides)}"
    with draw_figure(path, describe_auc(evaluation), 12.5, note) as figure:
        upper, lower = figure.subplots(2, 1)
        for axes, kind in ((upper, "roc"), (lower, "pr")):
            line, *edges = curves[kind]
            axes.fill_between(CURVE_GRID, *edges, color=COLORS[4], alpha=0.4, linewidth=0)
            axes.plot(CURVE_GRID, line, color=COLORS[0])
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        upper.plot([0, 1], [0, 1], ":", color="0.4", label="chance, AUC 0.5")
        share = labels.mean()
        lower.axhline(share, linestyle=":", color="0.4", label=f"chance, precision {share:.3f}")
        for (name, point), marker in zip(evaluation.operating_points.items(), "o^sD"):
            name = name if name[0].isdigit() else f"{name}, {point.threshold:.2f}"
            style = {"marker": marker, "linestyle": "", "color": COLORS[1], "clip_on": False}
            rates = f"{point.sensitivity:.0%} found, {1 - point.specificity:.0%} false alarms"
            text = f"{name}: {rates}"
            upper.plot(1 - point.specificity, point.sensitivity, label=text, **style)
            if point.precision is not None:
                text = f"{name}: {point.precision:.0%} right of those called"
                lower.plot(point.sensitivity, point.precision, label=text, **style)
        average = average_precision_score(labels, predictions)
        label_axes(upper, "false positive rate (1 - specificity)", "sensitivity", "ROC curve")
        title = f"Precision-recall curve, average precision {average:.3f}"
        label_axes(lower, "recall (sensitivity)", "precision", title)
        for axes in (upper, lower):  # below, where no curve is
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
            axes.legend(title="thresholds", frameon=False, **place)


def describe_auc(evaluation: Evaluation) -> str:
    """The AUC with its interval, and whether that holds chance."""
    low, high = evaluation.interval
    digits = 3 if high - low > 0.01 else 4
    auc, low_text, high_text = (f"{value:.{digits}f}" for value in (evaluation.auc, low, high))
    text = f"AUC {auc} out of fold (95 % interval {low_text} to {high_text})"
    if low <= 0.5 <= high:
        return f"{text}: not significantly above chance"
    return f"{text}: worse than chance" if high < 0.5 else text


def plot_scores(oof: pd.DataFrame, evaluation: Evaluation, path: Path, note: str) -> None:
    """Draw histograms of each class's predictions, and the calibration curve.

    Args:
        oof: DataFrame with columns label and prediction.
        evaluation: Evaluation of these predictions.
        path: the PNG to write.
        note: which run it is.
    """
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    title = describe_calibration(evaluation.calibration["ece"], (predictions - labels).mean())
    with draw_figure(path, title, 8, note) as figure:
        upper, lower = figure.subplots(2, 1)
        for label, (name, color) in enumerate(CLASS_COLORS.items()):
            chosen = predictions[labels == label]
            style = {"histtype": "step", "linewidth": 2, "linestyle": CLASS_LINES[name]}
            text = f"{name}: {len(chosen):,} patches"
            upper.hist(chosen, np.linspace(0, 1, 41), color=color, label=text, **style)
        label_axes(upper, "predicted probability of tumor", "patches")
        upper.legend(loc="upper center")
        bins = bin_predictions(labels, predictions)
        ranges = [wilson(row["share"], row["count"]) for _, row in bins.iterrows()]
        lower.plot([0, 1], [0, 1], ":", color="0.4", label="perfectly calibrated")
        lower.vlines(bins["prediction"], *zip(*ranges), color=COLORS[0])
        style = {"color": COLORS[0], "marker": "o", "markersize": 4}
        lower.plot(bins["prediction"], bins["share"], label="bin, 95 % interval by patch", **style)
        lower.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        label_axes(lower, "mean prediction in the bin", "share with tumor")
        lower.legend(loc="upper left")


def describe_calibration(error: float, bias: float) -> str:
    """The calibration error, and in which direction the predicted probabilities are off."""
    text = f"Expected calibration error {error:.3f}"
    if abs(bias) < 0.0005:
        return text
    side = "high" if bias > 0 else "low"
    return f"{text}; predictions are on average {abs(bias):.3f} too {side}"


def wilson(share: float, count: float) -> tuple:
    """The 95 % interval (low, high) of a share of `count` patches (Wilson 1927)."""
    found = binomtest(round(share * count), int(count)).proportion_ci(method="wilson")
    return found.low, found.high


def plot_errors(evaluation: Evaluation, path: Path, note: str) -> None:
    """Draw the confusion matrix, and the rates of all patches and of each stain as dots.

    Args:
        evaluation: Evaluation.
        path: the PNG to write.
        note: which run it is.
    """
    rows = list_rates(evaluation)
    height = 0.85 * len(rows) + 1.2
    note += "; intervals: 95 %, by patch: too narrow for other slides"
    with draw_figure(path, describe_errors(evaluation), 4.2 + height, note) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(3, height))
        draw_confusion(upper, evaluation.confusion)
        draw_rates(lower, rows)


def list_rates(evaluation: Evaluation) -> list:
    """The rates of all patches and of each stain.

    Returns:
        List of (name, dict of "sensitivity" and "specificity" and (rate, patches)). A rate is
        None without patches of its class; the number is None where an older run did not keep it.
    """
    (tn, fp), (fn, tp) = evaluation.confusion.counts
    every = {"sensitivity": divide(tp, tp + fn), "specificity": divide(tn, tn + fp)}
    total = tn + fp + fn + tp
    rows = [(f"all\n{total:,} patches\nAUC {evaluation.auc:.3f}", every)]
    for row in evaluation.by_stain:
        auc = "unknown" if row.auc is None else f"{row.auc:.3f}"
        known = row.positives is not None
        rates = {
            "sensitivity": (row.sensitivity, row.positives),
            "specificity": (row.specificity, row.patches - row.positives if known else None),
        }
        rows.append((f"stain {row.stain + 1}\n{row.patches:,} patches\nAUC {auc}", rates))
    return rows


def divide(count: int, total: int) -> tuple:
    """A share, or None of nothing, and the total."""
    return (count / total if total else None), total


def describe_errors(evaluation: Evaluation) -> str:
    """The shares of missed tumors and of false alarms, and a stain that has more."""
    (_, rates), *stains = list_rates(evaluation)
    parts = []
    for name, text in (
        ("sensitivity", "of patches with tumor missed"),
        ("specificity", "of others called tumor"),
    ):
        if rates[name][0] is not None:
            parts.append(f"{1 - rates[name][0]:.1%} {text}")
    title = ", ".join(parts)
    if len(stains) == 2 and (found := compare_stains([rates for _, rates in stains])):
        title += f"; {found}"
    return title


def compare_stains(rates: list) -> str:
    """Which of two stains has more of which error, if the intervals are apart; or ""."""
    found = []
    for name in ("sensitivity", "specificity"):
        pairs = [row[name] for row in rates]
        if all(rate is not None and count for rate, count in pairs):
            (low, high), (other_low, other_high) = (wilson(*pair) for pair in pairs)
            if high < other_low or other_high < low:
                found.append(f"{name} is lower in stain {1 if high < other_low else 2}")
    return ", ".join(found)


def draw_confusion(axes: Axes, confusion: Confusion) -> None:
    """Draw the confusion matrix with counts and the share of each row."""
    counts = np.array(confusion.counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        share = f"{shares[row, column]:.1%}" if counts[row].any() else "no such patch"
        color = "white" if shares[row, column] > 0.5 else "black"
        place = {"ha": "center", "va": "center", "fontsize": 13, "color": color}
        axes.text(column, row, f"{count:,}\n{share}", **place)
    names = list(CLASS_COLORS)
    axes.set_xticks((0, 1), [f"called {name}" for name in names])
    axes.set_yticks((0, 1), names)
    axes.set(ylabel="truth", title=f"at the threshold {confusion.threshold:.3f} (Youden)")


def draw_rates(axes: Axes, rows: list) -> None:
    """Draw sensitivity and specificity as dots with 95 % intervals, a line for each row."""
    lowest = 1.0
    for place, (name, marker) in enumerate((("sensitivity", "o"), ("specificity", "s"))):
        color, shift = COLORS[1 - place], 0.34 * (place - 0.5)
        axes.plot([], [], marker, color=color, label=name)
        for y, (_, rates) in enumerate(rows):
            rate, count = rates[name]
            if rate is None:
                continue
            low, high = wilson(rate, count) if count else (rate, rate)
            axes.hlines(y + shift, low, high, color=color, linewidth=2)
            axes.plot(rate, y + shift, marker, color=color)
            text = {"ha": "center", "va": "bottom", "fontsize": 9, "color": color}
            axes.annotate(
                f"{rate:.1%}", (rate, y + shift), (0, 4), textcoords="offset points", **text
            )
            lowest = min(lowest, low)
    axes.set(xlim=(max(0, np.floor(10 * lowest - 0.2) / 10), 1.02), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    label_axes(axes, "", "", "rates at that threshold")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False)
