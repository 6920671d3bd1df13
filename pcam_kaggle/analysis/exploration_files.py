"""Tables, charts and lines of text of an exploration."""

import traceback
from pathlib import Path

import numpy as np
import pandas as pd

from ..system.files import write_json, write_table
from .exploration import CLASSES, Exploration
from .exploration_grids import plot_oddities, plot_samples, plot_stains
from .patch_grids import CENTER
from .style import CLASS_COLORS, CLASS_LINES, draw_figure, label_axes

CHANNELS = ("all channels", "red", "green", "blue")


def write_exploration(exploration: Exploration, images: np.ndarray, output: Path) -> tuple:
    """Write exploration.json, patches.csv and the pictures data_*.png.

    patches.csv has a row per training patch: id, label, its measurements, its hash in
    hexadecimal digits and its stain.

    Args:
        exploration: Exploration.
        images: uint8 array (n, 96, 96, 3), the training patches.
        output: the folder.

    Returns:
        The names of the files, and a warning for each picture that failed.
    """
    patches = exploration.patches
    hashes = [f"{value:016x}" for value in patches["hash"]]
    labels = patches["label"].to_numpy()
    write_json(output / "exploration.json", exploration.summary)
    write_table(output / "patches.csv", patches.assign(hash=hashes).round(5))
    pictures = {
        "labels": lambda path: plot_labels(exploration, path),
        "samples": lambda path: plot_samples(images, labels, path),
        "pixels": lambda path: plot_pixels(exploration.counts, path),
        "means": lambda path: plot_means(exploration, path),
        "oddities": lambda path: plot_oddities(images, exploration, path),
        "stains": lambda path: plot_stains(images, patches, path),
    }
    files, warnings = ["exploration.json", "patches.csv"], []
    for name, draw in pictures.items():
        file = f"data_{name}.png"
        try:
            draw(output / file)
            files.append(file)
        except Exception as error:  # must not lose the tables
            traceback.print_exc()
            warnings.append(f"warning: no {file}: {type(error).__name__}: {error}")
    return files, warnings


def describe_exploration(summary: dict) -> list:
    """Describe an exploration in lines of text."""
    shape = "x".join(map(str, summary["shape"]))
    lines = [f"train      {summary['patches']:,} patches of {shape} {summary['dtype']}"]
    rows = {
        name: {
            "patches": f"{count:,}",
            "share": f"{count / summary['patches']:.2%}",
            "brightness": f"{summary['brightness'].get(name, float('nan')):.1f}",
            "tissue": f"{summary['tissue'].get(name, float('nan')):.1%}",
        }
        for name, count in zip(CLASSES, summary["labels"].values())
    }
    lines += pd.DataFrame(rows).T.to_string().splitlines()
    for kind, found in summary["blank"].items():
        lines.append(f"{kind:<10} {found['patches']:,}, {found['positive']:,} tumor")
    copies = summary["duplicates"]
    lines.append(
        f"duplicates {copies['exact_pairs']:,} exact pairs, {copies['near_pairs']:,} "
        f"near pairs, {copies['label_conflicts']:,} with contradicting labels"
    )
    for number, stain in enumerate(summary["stains"], 1):
        share = f"{stain['positive_share']:.1%} tumor"
        lines.append(f"stain {number}    {stain['patches']:,} patches, {share}")
    if "slides" in summary:
        slides = summary["slides"]
        lines.append(
            f"slides     {slides['slides']:,}: {slides['slides_without_tumor']:,} without tumor "
            f"patches, {slides['slides_of_tumor_alone']:,} with tumor patches only"
        )
    if hospitals := summary.get("hospitals"):
        lines.append(
            f"hospitals  the group of hue is that of the hospital for {hospitals['agreeing']:,} of "
            f"{hospitals['slides']:,} slides (adjusted Rand index {hospitals['rand']:.2f})"
        )
    if "test" in summary:
        test = summary["test"]
        lines.append(
            f"test       {test['patches']:,} patches, brightness "
            f"{test['brightness']:.1f}, tissue {test['tissue']:.1%}"
        )
    return lines


def plot_labels(exploration: Exploration, path: Path) -> None:
    """Draw how many patches each class has, and how much tissue they show.

    Args:
        exploration: Exploration.
        path: the PNG to write.
    """
    patches, counts = exploration.patches, list(exploration.summary["labels"].values())
    total = len(patches)
    title = f"{counts[1] / total:.1%} of {total:,} patches contain tumor"
    with draw_figure(path, title, 6) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(1, 2.2))
        bars = upper.barh(CLASSES, counts, color=CLASS_COLORS.values(), height=0.6)
        upper.bar_label(bars, [f"{n:,}" for n in counts], padding=5, backgroundcolor="white")
        upper.set_xlim(0, 1.15 * max(counts))
        label_axes(upper, "patches", "")
        edges = np.linspace(0, 1, 26)
        for label, name in reversed([*enumerate(CLASSES)]):  # dashes on the solid line
            rows = patches.loc[patches["label"] == label, "tissue"]
            if rows.empty:
                continue
            style = {"histtype": "step", "linewidth": 2, "linestyle": CLASS_LINES[name]}
            style |= {"color": CLASS_COLORS[name], "weights": np.full(len(rows), 1 / len(rows))}
            lower.hist(rows, edges, label=f"{name}: mean {rows.mean():.0%}", **style)
        label_axes(lower, "share of tissue in the patch", "share of the class's patches")
        lower.legend(loc="upper left")


def plot_pixels(counts: np.ndarray, path: Path) -> None:
    """Draw the distributions of pixel values, all and by channel, for each class.

    Args:
        counts: int array (2, 3, 256), as Exploration has it.
        path: the PNG to write.
    """
    parts = np.concatenate([counts.sum(axis=1, keepdims=True), counts], axis=1)
    shares = parts / np.maximum(parts.sum(axis=2, keepdims=True), 1)
    # The peak of white glass at 255 would flatten the other values.
    limit = 1.45 * np.sort(shares[:, 1:])[..., -4].max()
    with draw_figure(path, describe_pixels(parts[:, 0]), 7) as figure:
        grid = figure.subplots(2, 2, sharey=True, sharex=True)
        for axes, name, by_class in zip(grid.flat, CHANNELS, shares.swapaxes(0, 1)):
            notes = []
            for text, share in zip(CLASSES, by_class):
                if share.any():
                    style = {"color": CLASS_COLORS[text], "linestyle": CLASS_LINES[text]}
                    axes.plot(np.arange(256), share, label=text, **style)
                cut = np.flatnonzero(share > limit)
                notes += [f"cut at {n}: {share[n]:.1%}, {text}" for n in cut]
            label_axes(axes, "", "", name)
            style = {"ha": "right", "va": "top", "fontsize": 8, "color": "0.35"}
            axes.text(0.95, 0.97, "\n".join(notes), transform=axes.transAxes, **style)
        grid[0, 0].set(ylim=(0, limit), xlim=(-3, 258))
        figure.supylabel("share of the pixels", fontsize=11)
        for axes in grid[1]:
            axes.set_xlabel("value (0 dark, 255 bright)")
        handles = grid[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=2)


def describe_pixels(counts: np.ndarray) -> str:
    """Which class is darker, from the counts (2, 256) of its pixel values."""
    means = [round(part @ np.arange(256) / max(part.sum(), 1)) for part in counts]
    for label, kind in ((0, "with"), (1, "without")):
        if not counts[label].any():
            return f"Pixel values of the patches {kind} tumor: mean {means[1 - label]} of 255"
    if means[0] == means[1]:
        return f"Patches with tumor are as bright as the others: mean {means[0]} of 255"
    darker = "darker" if means[1] < means[0] else "brighter"
    return f"Patches with tumor are {darker}: mean {means[1]} of 255, others {means[0]}"


def plot_means(exploration: Exploration, path: Path) -> None:
    """Draw the mean patch of each class, and where the two differ.

    Args:
        exploration: Exploration.
        path: the PNG to write.
    """
    means, counts = exploration.means, exploration.summary["labels"].values()
    difference = (means[1] - means[0]).mean(axis=2)
    names = [name for name, count in zip(CLASSES, counts) if count]
    title = f"Mean patch: only {names[0]}"
    if len(names) == 2:
        center, all_sides = difference[CENTER].mean(), difference.mean()
        title = f"Tumor differs by {all_sides:+.1f} gray levels, center by {center:+.1f}"
    with draw_figure(path, title, 3.6) as figure:
        grid = figure.subplots(1, 3)
        for axes in grid:
            axes.set_axis_off()
        for axes, mean, name in zip(grid, means, CLASSES):
            if name in names:
                axes.imshow(np.clip(mean, 0, 255).astype("uint8"))
                axes.set_title(name)
        if len(names) == 2:
            picture = grid[2].imshow(difference, cmap="cividis")
            grid[2].set_title("tumor - no tumor")
            bar = {"location": "bottom", "shrink": 0.6, "label": "difference in gray levels"}
            figure.colorbar(picture, ax=grid, **bar)
