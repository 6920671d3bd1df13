"""Tables, charts and lines of text of an exploration."""

import traceback
from pathlib import Path

import numpy as np
import pandas as pd

from ..system.files import write_json, write_table
from .exploration import CLASSES, Exploration
from .patch_grids import plot_oddities, plot_samples, plot_stains
from .style import CLASS_COLORS, CLASS_LINES, label_axes, new_figure, save_figure


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
        "means": lambda path: plot_means(exploration.means, path),
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
        f"copies     {copies['exact_pairs']:,} exact pairs, {copies['near_pairs']:,} "
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
        path: the PNG to write (1200x450 pixels).
    """
    figure = new_figure("Labels, and the share of tissue in a patch", 12, 4.5)
    left, right = figure.subplots(1, 2)
    counts = list(exploration.summary["labels"].values())
    bars = left.bar(CLASSES, counts, color=CLASS_COLORS.values(), width=0.6)
    total = max(sum(counts), 1)
    texts = [f"{count:,} ({count / total:.1%})" for count in counts]
    left.bar_label(bars, texts, padding=3, fontsize=12)
    left.set_ylim(0, 1.15 * max(counts))
    label_axes(left, "label", "patches")
    patches = exploration.patches
    edges = np.linspace(0, 1, 26)
    for label, name in enumerate(CLASSES):
        rows = patches.loc[patches["label"] == label, "tissue"]
        shares = np.full(len(rows), 1 / max(len(rows), 1))
        style = {"histtype": "step", "linewidth": 2, "linestyle": CLASS_LINES[name]}
        color = CLASS_COLORS[name]
        right.hist(rows, edges, weights=shares, color=color, label=name, **style)
    label_axes(right, "share of tissue in the patch", "share of the class's patches")
    right.legend(loc="upper left")
    save_figure(figure, path)


def plot_pixels(counts: np.ndarray, path: Path) -> None:
    """Draw the distributions of pixel values, all and by channel, for each class.

    Args:
        counts: int array (2, 3, 256), as Exploration has it.
        path: the PNG to write (1500x400 pixels).
    """
    figure = new_figure("Pixel values of each class", 15, 4)
    parts = {"all channels": counts.sum(axis=1)}
    parts |= {n: counts[:, i] for i, n in enumerate(("red", "green", "blue"))}
    grid = figure.subplots(1, 4, sharey=True)
    for axes, (name, by_class) in zip(grid, parts.items()):
        for label, text in enumerate(CLASSES):
            density = by_class[label] / max(by_class[label].sum(), 1)
            style = {"color": CLASS_COLORS[text], "linestyle": CLASS_LINES[text]}
            axes.plot(np.arange(256), density, label=text, **style)
        label_axes(axes, "value (0 dark, 255 bright)", "", name)
    grid[0].set_ylabel("share of the pixels")
    # The peak of white glass at 255 would flatten the other values.
    densities = [part / max(part.sum(), 1) for part in counts.reshape(-1, 256)]
    highest = max(np.sort(density)[-4] for density in densities)
    grid[0].set_ylim(0, 1.2 * highest)
    grid[-1].legend(loc="upper left")
    save_figure(figure, path)


def plot_means(means: np.ndarray, path: Path) -> None:
    """Draw the mean patch of each class, and where the two differ.

    Args:
        means: float array (2, 96, 96, 3).
        path: the PNG to write (1200x450 pixels).
    """
    figure = new_figure("Mean patch of each class", 12, 4.5)
    *places, last = figure.subplots(1, 3)
    for axes, mean, name in zip(places, means, CLASSES):
        axes.imshow(np.clip(mean, 0, 255).astype("uint8"))
        axes.set_title(name, fontsize=12)
        axes.set_axis_off()
    difference = (means[1] - means[0]).mean(axis=2)
    largest = max(np.abs(difference).max(), 1e-6)
    picture = last.imshow(difference, cmap="PuOr", vmin=-largest, vmax=largest)
    last.set_title("tumor minus no tumor", fontsize=12)
    last.set_axis_off()
    figure.colorbar(picture, ax=last, label="gray levels (of 255)")
    save_figure(figure, path)
