"""The exploration at home: a competition folder as tables and pictures."""

import time

import pandas as pd

from pcam_kaggle.cache import load_cached
from pcam_kaggle.data import load_labels, load_sample
from pcam_kaggle.exploration import CLASSES, describe_blanks, explore
from pcam_kaggle.folds import load_slides
from pcam_kaggle.paths import find_data, open_output, write_beside
from pcam_kaggle.pictures import write_exploration
from pcam_kaggle.quality import measure_patches
from pcam_kaggle.stages import measure_peak


def explore_folder(data, output, slide_map=None, say=print):
    """Explore the training patches, and see how the test patches differ.

    Writes exploration.json, patches.csv (a row for every training patch) and the
    pictures data_*.png.

    Args:
        data: Path of the competition's folder, or None to look for it.
        output: Path of the folder for the files.
        slide_map: Path of a CSV (id,slide), or None.
        say: function that prints a line.

    Returns:
        Exploration.

    Raises:
        FileNotFoundError, OSError, ValueError: a folder that is not the competition;
            names the file.
    """
    started = time.perf_counter()
    folder = find_data(data)
    table, sample = load_labels(folder), load_sample(folder)
    slides = load_slides(slide_map, table["id"]) if slide_map else None
    output = open_output(output)
    images = load_cached(table, name="train")
    explored = explore(images, table["id"], table["label"], slides)
    test = measure_patches(load_cached(sample, name="test"))
    test.insert(0, "id", sample["id"])
    explored.summary["test"] = describe_test(test)
    names = write_exploration(explored, images, output)
    patches = explored.patches.assign(
        hash=[f"{value:016x}" for value in explored.patches["hash"]]
    )
    with write_beside(output / "patches.csv") as partial:
        patches.to_csv(partial, index=False, float_format="%.5g", lineterminator="\n")
    for line in describe(explored.summary):
        say(line)
    seconds, peak = time.perf_counter() - started, measure_peak()
    memory = f", {peak:.2f} GiB of memory at most" if peak else ""
    say(f"wrote    {', '.join(['patches.csv', *names])}")
    say(f"results  {output}: {seconds:.1f} s{memory}")
    return explored


def describe_test(test):
    """The test patches in numbers, as exploration.json has them."""
    return {
        "patches": len(test),
        "brightness": float(test["brightness"].mean()),
        "tissue": float(test["tissue"].mean()),
        "blank": describe_blanks(test),
        "density": test[["red", "green", "blue"]].mean().round(4).tolist(),
    }


def describe(summary):
    """An exploration as lines of text."""
    counts = list(summary["labels"].values())
    shape = "x".join(map(str, summary["shape"]))
    yield f"train      {summary['patches']:,} patches of {shape} {summary['dtype']}"
    rows = {
        name: {
            "patches": f"{count:,}",
            "share": f"{count / summary['patches']:.2%}",
            "brightness": f"{summary['brightness'].get(name, float('nan')):.1f}",
            "tissue": f"{summary['tissue'].get(name, float('nan')):.1%}",
        }
        for name, count in zip(CLASSES, counts)
    }
    yield from pd.DataFrame(rows).T.to_string().splitlines()
    for kind, found in summary["blank"].items():
        yield f"{kind:<10} {found['patches']:,}, of which {found['positive']:,} tumour"
    copies = summary["duplicates"]
    yield (
        f"copies     {copies['exact_pairs']:,} exact pairs, {copies['near_pairs']:,} "
        f"near ones, {copies['label_conflicts']:,} with both labels"
    )
    for number, stain in enumerate(summary["stains"], 1):
        yield (
            f"stain {number}    {stain['patches']:,} patches, "
            f"{stain['positive_share']:.1%} of tumour"
        )
    if "slides" in summary:
        slides = summary["slides"]
        yield (
            f"slides     {slides['slides']:,}, {slides['slides_without_tumour']:,} "
            f"without tumour, {slides['slides_of_tumour_alone']:,} of tumour alone"
        )
    test = summary["test"]
    yield (
        f"test       {test['patches']:,} patches, brightness {test['brightness']:.1f}, "
        f"tissue {test['tissue']:.1%}"
    )
