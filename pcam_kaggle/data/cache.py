"""Disk cache of decoded images, checked against files."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ..system.files import short_hash
from .decode import IMAGE_SHAPE, PROCESSES_FROM, decode_tiff, load_images

NUM_PROBES = 32  # files decoded again to check a cache: 10 ms


def load_cached(
    table: pd.DataFrame,
    verify_ids: bool = False,
    name: str = "images",
    folder: Path | str | None = None,
) -> np.ndarray:
    """Like `load_images`, with a disk cache from 20,000 files on.

    The cache is the folder pcam-kaggle in the system's temporary folder, or PCAM_CACHE; the
    file is named after the ids and the images' folder and takes 27,648 bytes per image. It may
    be deleted at any time. A damaged cache is replaced.

    Args:
        table: columns path and id, n rows.
        verify_ids: decode every file again and check that every id is the sha1 of its pixels.
        name: "train" or "test", which starts the file's name.
        folder: the folder of the cache, or None.

    Returns:
        uint8 array (n, 96, 96, 3).

    Raises:
        ValueError: as `load_images`.
    """
    if len(table) < PROCESSES_FROM:
        return load_images(table, None, verify_ids, name)
    temporary = Path(tempfile.gettempdir(), "pcam-kaggle")
    folder = Path(folder or os.environ.get("PCAM_CACHE") or temporary)
    images = Path(table["path"].iloc[0]).absolute().parent
    path = folder / f"{name}-{short_hash(chr(10).join([str(images), *table['id']]))}.npy"
    if path.exists() and not verify_ids:
        problem = find_problem(path, table)
        if not problem:
            print(f"cache    {path}", flush=True)
            return np.load(path, mmap_mode="r")
        print(f"cache    {path} is replaced: {problem}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=folder) as scratch:
        load_images(table, scratch, verify_ids, name)
        os.replace(Path(scratch) / f"{name}.npy", path)  # atomic
    return np.load(path, mmap_mode="r")


def find_problem(path: Path, table: pd.DataFrame) -> str:
    """Describe what is wrong with a cache (its shape or some of its images), or return ""."""
    try:
        images = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        return f"it is damaged ({error})"
    expected = (len(table), *IMAGE_SHAPE)
    if images.shape != expected or images.dtype != np.uint8:
        return f"expected uint8 {expected}, received {images.dtype} {images.shape}"
    for place in np.linspace(0, len(table) - 1, NUM_PROBES, dtype=int):
        if not np.array_equal(images[place], decode_tiff(table["path"].iloc[place])):
            return f"image {place} is not that of {table['path'].iloc[place]}"
    return ""
