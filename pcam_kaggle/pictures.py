"""Pictures of patches: samples, means, colours, oddities, what networks look at."""

import json

import numpy as np
from matplotlib.patches import Rectangle

from .data import IMAGE_SHAPE
from .exploration import CLASSES
from .figures import (
    CLASS_COLOURS,
    CLASS_LINES,
    COLOURS,
    label_axes,
    new_figure,
    save_figure,
)
from .paths import write_beside
from .quality import measure_hue

CENTRE = 32  # side of the centre whose tissue decides the label
PATCHES_PER_ROW = 8  # patches in a row
NUM_POINTS = 3_000


def write_exploration(exploration, images, output):
    """exploration.json, its tables, and data_*.png, its pictures.

    Args:
        exploration: Exploration.
        images: uint8 array (n, 96, 96, 3).
        output: Path of a folder.

    Returns:
        List of the names of the files.
    """
    patches = exploration.patches
    pictures = {
        "data_labels.png": (plot_labels, exploration),
        "data_samples.png": (plot_samples, images, patches["label"].to_numpy()),
        "data_pixels.png": (plot_pixels, exploration.counts),
        "data_means.png": (plot_means, exploration.means),
        "data_oddities.png": (plot_oddities, images, exploration),
        "data_stains.png": (plot_stains, images, patches),
    }
    for name, (plot, *given) in pictures.items():
        plot(*given, output / name)
    with write_beside(output / "exploration.json") as partial:
        text = json.dumps(exploration.summary, indent=2) + "\n"
        partial.write_text(text, "utf-8", newline="\n")
    return ["exploration.json", *pictures]


def draw_patches(figure, rows, outline=False):
    """Patches in rows, each row under its name.

    Args:
        figure: Figure, or a part of one.
        rows: list of (text, list of (uint8 array (96, 96, 3), caption)).
        outline: bool, whether to outline the 32x32 centre.
    """
    num_columns = max(len(patches) for _, patches in rows)
    grid = figure.subplots(len(rows), num_columns, squeeze=False)
    for line, (text, patches) in zip(grid, rows):
        line[0].set_title(text, loc="left", fontsize=11)
        for axes in line[len(patches) :]:
            axes.set_axis_off()
        for axes, (patch, caption) in zip(line, patches):
            axes.imshow(patch)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("0.8")
            axes.text(
                0.5, -0.03, caption, transform=axes.transAxes, ha="center", va="top"
            )
            if outline:
                corner = (IMAGE_SHAPE[0] - CENTRE) / 2 - 0.5
                place = ((corner, corner), CENTRE, CENTRE)
                for colour, width in (("white", 3.5), ("black", 1.5)):  # on any tissue
                    style = {"edgecolor": colour, "linewidth": width, "fill": False}
                    axes.add_patch(Rectangle(*place, **style))


def plot_samples(images, labels, path, seed=0):
    """Patches of both classes drawn at random, the centre that decides outlined.

    Args:
        images: uint8 array (n, 96, 96, 3).
        labels: int array (n,) of 0 and 1.
        path: Path of the PNG (1200x680 pixels).
        seed: int, of the draw.
    """
    random = np.random.default_rng(seed)
    rows = []
    for label in (1, 0):
        positions = np.flatnonzero(labels == label)
        chosen = random.permutation(positions)[: 2 * PATCHES_PER_ROW]
        for start in range(0, len(chosen), PATCHES_PER_ROW):
            part = chosen[start : start + PATCHES_PER_ROW]
            name = CLASSES[label] if not start else ""
            rows.append((name, [(images[i], "") for i in part]))
    title = "Samples; the label says whether the outlined 32x32 centre holds tumour"
    figure = new_figure(title, 12, 6.8)
    draw_patches(figure, rows, outline=True)
    save_figure(figure, path)


def plot_labels(exploration, path):
    """How many patches of each class, and how much tissue they show.

    Args:
        exploration: Exploration.
        path: Path of the PNG (1200x450 pixels).
    """
    figure = new_figure("Labels, and how much of a patch is tissue", 12, 4.5)
    left, right = figure.subplots(1, 2)
    counts = list(exploration.summary["labels"].values())
    bars = left.bar(CLASSES, counts, color=CLASS_COLOURS.values(), width=0.6)
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
        colour = CLASS_COLOURS[name]
        right.hist(rows, edges, weights=shares, color=colour, label=name, **style)
    label_axes(right, "share of tissue in the patch", "share of the class's patches")
    right.legend(loc="upper left")
    save_figure(figure, path)


def plot_pixels(counts, path):
    """Distributions of pixel intensity and of each channel, by class.

    Args:
        counts: int array (2, 3, 256), as Exploration has it.
        path: Path of the PNG (1500x400 pixels).
    """
    figure = new_figure("Pixel values of each class", 15, 4)
    parts = {"all channels": counts.sum(axis=1)}
    parts |= {n: counts[:, i] for i, n in enumerate(("red", "green", "blue"))}
    for axes, (name, by_class) in zip(
        figure.subplots(1, 4, sharey=True), parts.items()
    ):
        for label, text in enumerate(CLASSES):
            density = by_class[label] / max(by_class[label].sum(), 1)
            style = {"color": CLASS_COLOURS[text], "linestyle": CLASS_LINES[text]}
            axes.plot(np.arange(256), density, label=text, **style)
        label_axes(axes, "value (0 dark, 255 bright)", "", name)
    figure.axes[0].set_ylabel("share of the pixels")
    highest = max(
        np.sort(part / max(part.sum(), 1))[-4] for part in counts.reshape(-1, 256)
    )
    figure.axes[0].set_ylim(
        0, 1.2 * highest
    )  # white glass, 255, would flatten the rest
    figure.axes[-1].legend(loc="upper left")
    save_figure(figure, path)


def plot_means(means, path):
    """The mean patch of each class, and where the two differ.

    Args:
        means: float array (2, 96, 96, 3).
        path: Path of the PNG (1200x450 pixels).
    """
    figure = new_figure("Mean patch of each class", 12, 4.5)
    first, second, last = figure.subplots(1, 3)
    for axes, mean, name in (
        (first, means[0], CLASSES[0]),
        (second, means[1], CLASSES[1]),
    ):
        axes.imshow(np.clip(mean, 0, 255).astype("uint8"))
        axes.set_title(name, fontsize=12)
        axes.set_axis_off()
    difference = (means[1] - means[0]).mean(axis=2)
    largest = max(np.abs(difference).max(), 1e-6)
    picture = last.imshow(difference, cmap="PuOr", vmin=-largest, vmax=largest)
    last.set_title("tumour minus no tumour", fontsize=12)
    last.set_axis_off()
    figure.colorbar(picture, ax=last, label="grey levels (of 255)")
    save_figure(figure, path)


def plot_oddities(images, exploration, path):
    """Black, white and near-empty patches, and pairs that show the same.

    Args:
        images: uint8 array (n, 96, 96, 3).
        exploration: Exploration.
        path: Path of the PNG (1200 pixels wide).
    """
    patches, labels = exploration.patches, exploration.patches["label"]
    rows = []
    for kind in ("black", "white", "near-empty"):
        found = np.flatnonzero(patches["blank"] == kind)
        name = f"{kind}: {len(found):,}, of which {labels[found].sum():,} with tumour"
        shown = [(images[i], CLASSES[labels[i]]) for i in found[:PATCHES_PER_ROW]]
        if shown:
            rows.append((name, shown))
    twins = exploration.twins
    pairs = twins[["first", "second"]].to_numpy()[: PATCHES_PER_ROW // 2]
    if len(pairs):
        shown = [(images[i], CLASSES[labels[i]]) for i in pairs.ravel()]
        rows.append((f"copies: {len(twins):,} pairs, side by side", shown))
    title = "Odd patches" if rows else "Odd patches: none, neither blank nor copies"
    figure = new_figure(title, 12, 0.6 + 1.75 * len(rows))
    if rows:
        draw_patches(figure, rows)
    save_figure(figure, path)


def plot_stains(images, patches, path, seed=0):
    """The clusters of stain in colour space, and patches of each.

    Args:
        images: uint8 array (n, 96, 96, 3).
        patches: DataFrame, as Exploration has it.
        path: Path of the PNG (1300x550 pixels).
        seed: int, of the draw.
    """
    figure = new_figure("Colours of stain: two clusters of hue", 13, 5.5)
    left, right = figure.subfigures(1, 2, width_ratios=(2, 3))
    axes = left.subplots()
    random = np.random.default_rng(seed)
    rows = []
    for stain in sorted(set(patches["stain"]) - {-1}):
        members = random.permutation(np.flatnonzero(patches["stain"] == stain))
        red, blue = measure_hue(patches.iloc[members[:NUM_POINTS]]).T
        style = {"s": 4, "alpha": 0.5, "color": COLOURS[stain], "marker": "o^"[stain]}
        name = f"{stain + 1}: {len(members):,} patches"
        axes.scatter(red, blue, label=name, **style)
        for first, text in ((0, f"cluster {stain + 1}"), (6, "")):
            shown = [(images[i], "") for i in members[first : first + 6]]
            rows += [(text, shown)] if shown else []
    label_axes(axes, "optical density, red / green", "optical density, blue / green")
    hue = measure_hue(patches.loc[patches["stain"] >= 0])
    if len(hue) > 1:
        low, high = np.quantile(hue, (0.002, 0.998), axis=0)  # ink and dust lie beyond
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    if rows:
        axes.legend(markerscale=3, loc="upper left")
        draw_patches(right, rows)
    save_figure(figure, path)


def plot_maps(rows, path, title):
    """What the networks looked at: patches beside their class activation maps.

    Args:
        rows: list of (text, list of (uint8 array (96, 96, 3), float array (96, 96)
            from 0 to 1, caption)).
        path: Path of the PNG (1400 pixels wide).
        title: str.
    """
    figure = new_figure(title, 14, 0.8 + 2.0 * len(rows))
    shown = []
    for text, patches in rows:
        line = []
        for patch, heat, caption in patches:
            line += [(patch, caption), (overlay(patch, heat), "")]
        shown.append((text, line))
    draw_patches(figure, shown, outline=True)
    save_figure(figure, path)


def overlay(patch, heat):
    """A patch in grey, its map in orange on top: uint8 (96, 96, 3)."""
    grey = np.repeat(patch.mean(axis=2, keepdims=True), 3, axis=2)
    orange = np.array([0xE6, 0x6F, 0x00])
    strength = 0.75 * np.clip(heat, 0, 1)[..., None]
    return (grey * (1 - strength) + orange * strength).astype("uint8")
