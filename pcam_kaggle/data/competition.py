"""The competition's tables, checked against its files."""

import csv
import fnmatch
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ..system.paths import find_attached
from .settings import SLIDE_MAPS

PACKED_MAPS = ("patch_id_wsi*.zip", "patch_id_wsi*.gz", "slides.*.gz", "slides.zip")


def load_labels(folder: Path) -> pd.DataFrame:
    """Load the training images and their labels, joined on the id.

    Args:
        folder: Path, the competition folder.

    Returns:
        DataFrame with columns path (str), id (str), label (int), ordered by id.

    Raises:
        ValueError: there are duplicate ids, labels other than 0 and 1, images without a label
            or labels without an image; counts them all and names the first ten.
    """
    source = Path(folder) / "train_labels.csv"
    labels = read_ids(source)
    wrong = labels.loc[~labels["label"].isin(["0", "1"])]
    if len(wrong):
        shown = [f"{row.label!r} for {row.id}" for row in wrong.itertuples()]
        raise ValueError(
            f"{source}: expected labels 0 and 1. Received: "
            + summarize_items(shown, "invalid label")
        )
    images = list_images(Path(folder) / "train")
    check_same_ids(source, labels["id"], images["id"])
    table = images.merge(labels, on="id", how="left")
    return table.astype({"label": int})


def load_sample(folder: Path) -> pd.DataFrame:
    """Load the ids of sample_submission.csv and the test images in its order.

    Returns:
        DataFrame with columns path (str), id (str), in the order of the sample.

    Raises:
        ValueError: the test folder is empty, or its images have other ids.
    """
    source = Path(folder) / "sample_submission.csv"
    sample = read_ids(source)
    images = list_images(Path(folder) / "test")
    check_same_ids(source, sample["id"], images["id"])
    return sample[["id"]].merge(images, on="id", how="left")[["path", "id"]]


def draw_images(num_available: int, num_images: int, seed: int) -> np.ndarray:
    """Draw `num_images` random images: their sorted positions; 0 takes all.

    Raises:
        ValueError: there are fewer images.
    """
    if num_images > num_available:
        raise ValueError(
            f"num_images: there are only {num_available} training images. "
            f"Received: num_images={num_images}"
        )
    shuffled = np.random.default_rng(seed).permutation(num_available)
    return np.sort(shuffled[: num_images or None])


def find_slide_map(slide_map: str, folder: Path, inputs: Path | str | None) -> Path | None:
    """Find the CSV that names the slide of each patch.

    Args:
        slide_map: a path or the name of an attached file; "auto" looks for patch_id_wsi*.csv or
            slides.csv among the inputs, in the competition folder and beside it; "none".
        folder: the competition folder.
        inputs: as for `find_attached`.

    Returns:
        Path, or None for "none" and where "auto" finds nothing.

    Raises:
        ValueError: several files fit, none has that name, or only a compressed one is there.
    """
    if slide_map == "none":
        return None
    found, names = [Path(slide_map)], (slide_map,)
    if not found[0].is_file():
        names = SLIDE_MAPS if slide_map == "auto" else names
        found = list_maps(names, folder, inputs)
    if not found and slide_map == "auto":
        found = list_maps(PACKED_MAPS, folder, inputs)
    packed = [path for path in found if path.suffix in (".zip", ".gz")]
    if len(found) == 1 and not packed:
        return found[0]
    if not found and slide_map == "auto":
        return None
    received = ", ".join(map(str, found)) or f"{slide_map!r}, which is not there"
    raise ValueError(
        f"slide_map: expected one CSV id,slide. Received: {received}. Try: "
        f"{'unpack it' if packed else 'slide_map=FILE'}, or slide_map=none for folds by patch"
    )


def list_maps(names: tuple, folder: Path, inputs: Path | str | None) -> list:
    """The paths of files of these names among the inputs, in the competition folder or beside it.

    Args:
        names: names or patterns of file names.
        folder, inputs: as for `find_slide_map`.
    """
    found = [path for name in names for path in find_attached(name, inputs)]
    for place in (folder, folder.parent):
        found += [place / n for name in names for n in fnmatch.filter(os.listdir(place), name)]
    return sorted({path.resolve() for path in found})


def load_slides(slide_map: Path | str, ids: pd.Series) -> np.ndarray:
    """Load the slide of every id from a CSV with columns id and slide (or wsi).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such CSV, ids are missing or duplicate, or there is only one slide.
    """
    table = read_table(slide_map, ["id", "slide"], ["id", "wsi"])
    table.columns = ["id", "slide"]
    table = table.apply(lambda column: column.str.strip())
    slides = table.loc[table["slide"] != ""].set_index("id")["slide"]
    problems = {
        ("id is missing", "ids are missing"): sorted(set(ids) - set(slides.index)),
        ("duplicate id",): sorted(set(slides.index[slides.index.duplicated()])),
        ("slide alone",): sorted(set(slides)) if slides.nunique() == 1 else [],
    }
    texts = [summarize_items(items, *words) for words, items in problems.items() if items]
    if texts:
        raise ValueError(
            f"slide_map {slide_map}: expected each training patch once, and several slides. "
            "Received: " + "\nand ".join(texts) + "\nTry: slide_map=none for folds by patch"
        )
    return slides.loc[list(ids)].to_numpy()


def list_images(folder: Path) -> pd.DataFrame:
    """List the .tif files of a folder: DataFrame with columns path and id, ordered by id."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".tif"))
    if not names:
        raise ValueError(f"{folder}: expected .tif images. Received: none")
    paths = [os.path.join(folder, name) for name in names]
    return pd.DataFrame({"path": paths, "id": [name[:-4] for name in names]})


def read_table(source: Path | str, *headers: list) -> pd.DataFrame:
    """Read a CSV with one of the given headers as text.

    Raises:
        ValueError: it has another header, is not UTF-8, or a line has too few or many fields.
    """
    problem = ""
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            rows = [(lines.line_num, row) for row in lines if row]
    except (UnicodeDecodeError, csv.Error) as error:
        header, rows, problem = [], [], f"{error}"
    if not problem and header not in headers:
        problem = repr(",".join(header)[:80]) if header else "an empty first line"
    ragged = [number for number, row in rows if len(row) != len(header)]
    if not problem and ragged:
        problem = f"line {ragged[0]} has another number of fields ({len(ragged):,} such lines)"
    if problem:
        columns = " or ".join(",".join(header) for header in headers)
        raise ValueError(
            f"{source}: expected a CSV in UTF-8 with the columns {columns}, as written here. "
            f"Received: {problem}. Try: download or save the file again"
        )
    return pd.DataFrame([row for _, row in rows], columns=header, dtype=object)


def read_ids(source: Path) -> pd.DataFrame:
    """Read a CSV with columns id and label as text; each id must be unique."""
    table = read_table(source, ["id", "label"])
    twice = table.loc[table["id"].duplicated(), "id"]
    if len(twice):
        raise ValueError(
            f"{source}: expected each id once. Received: " + summarize_items(twice, "duplicate")
        )
    return table


def check_same_ids(source: Path, listed: pd.Series, on_disk: pd.Series) -> None:
    """Refuse ids without an image and images without an id."""
    listed, on_disk = set(listed), set(on_disk)
    problems = {
        ("id without an image", "ids without an image"): sorted(listed - on_disk),
        ("image without an id", "images without an id"): sorted(on_disk - listed),
    }
    texts = [summarize_items(ids, *words) for words, ids in problems.items() if ids]
    if texts:
        raise ValueError(
            f"{source}: expected the ids of the images beside it. Received: " + "\nand ".join(texts)
        )


def summarize_items(items: Iterable, one: str, many: str = "") -> str:
    """The number of items and the first ten, one per line.

    Args:
        items: texts.
        one, many: what they are, in the singular and the plural; "" for the singular with an s.
    """
    items = list(items)
    shown = items[:10] + ["..."] * (len(items) > 10)
    what = one if len(items) == 1 else many or f"{one}s"
    return "\n  ".join([f"{len(items)} {what}", *shown])
