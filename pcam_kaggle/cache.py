"""Many decoded images kept for the next run, and proved to be those of the files."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from .data import IMAGE_SHAPE, PROCESSES_FROM, decode_tiff, load_images

NUM_PROBES = 32  # files that are decoded again to prove a cache: 10 ms


def load_cached(table, verify_ids=False, name="images", folder=None):
    """As `load_images`; from 20,000 files on, the array of an earlier run is taken.

    It lies in the folder pcam-kaggle of the system's temporary folder, or in
    PCAM_CACHE, under a name made of the ids and the images' folder, 27,648 bytes for
    each image; it may be deleted at any time. One that is damaged or of other images
    is made anew. `verify_ids` decodes every file anew.

    Args:
        table: DataFrame with columns path and id, n rows.
        verify_ids: bool, also check that every id is the sha1 of the pixels.
        name: str, of the set of images.
        folder: Path of the cache, or None.

    Returns:
        uint8 array (n, 96, 96, 3).

    Raises:
        ValueError: as `load_images`.
    """
    if len(table) < PROCESSES_FROM:
        return load_images(table, None, verify_ids, name)
    folder = Path(folder or find_cache_folder())
    path = folder / f"{name}-{name_content(table)}.npy"
    if path.exists() and not verify_ids:
        problem = find_problem(path, table)
        if not problem:
            print(f"cache    {path}", flush=True)
            return np.load(path, mmap_mode="r")
        print(f"cache    {path} is made anew: {problem}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=folder) as scratch:
        load_images(table, scratch, verify_ids, name)
        os.replace(Path(scratch) / f"{name}.npy", path)  # whole, or not there at all
    return np.load(path, mmap_mode="r")


def find_cache_folder():
    """PCAM_CACHE, else a folder of the system's temporary one."""
    temporary = Path(tempfile.gettempdir()) / "pcam-kaggle"
    return Path(os.environ.get("PCAM_CACHE") or temporary)


def name_content(table):
    """Ten hex digits over the ids, their order, and the folder of the images."""
    folder = str(Path(table["path"].iloc[0]).absolute().parent)
    content = "\n".join([folder, *table["id"]])
    return hashlib.sha256(content.encode()).hexdigest()[:10]


def find_problem(path, table):
    """What is wrong with a cache, or "": its size, its shape, some of its images."""
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
