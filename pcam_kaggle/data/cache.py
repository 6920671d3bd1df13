"""Disk cache of decoded images, checked against files."""

import concurrent.futures
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import pandas as pd

from ..system.files import PARTIAL, short_hash
from ..system.progress import beat
from .decode import IMAGE_BYTES, IMAGE_SHAPE, PROCESSES_FROM, load_images, sum_images

FACT_BYTES = 24  # per image: the file's size and time, and a checksum, int64
STAT_THREADS = 128  # a mount can take 5 ms per file: 11 s for all files of the competition
FILES_PER_PART = 500


def load_cached(
    table: pd.DataFrame,
    verify_ids: bool = False,
    name: str = "images",
    folder: Path | str | None = None,
) -> np.ndarray:
    """Like `load_images`, with a disk cache from 20,000 files on.

    The cache is a folder of this user in the system's temporary folder, or PCAM_CACHE. The file
    is named after the ids and the images' folder; it holds the images (27,648 bytes each), then
    their facts (`load_images`). It may be deleted while no run uses it. It is replaced if it is
    damaged or a file has another size or time. If it cannot be written, the images stay in memory,
    since other folders are most likely as full or as closed.

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
    images = Path(table["path"].iloc[0]).absolute().parent
    key = short_hash(chr(10).join([str(images), *table["id"]]))
    try:
        path = Path(
            folder or os.environ.get("PCAM_CACHE") or make_own_folder(), f"{name}-{key}.bin"
        )
        if path.exists() and not verify_ids:
            problem = find_problem(path, table)
            if not problem:
                print(f"cache    {path}", flush=True)
                return map_images(path, len(table))
            print(f"cache    {path} is replaced: {problem}", flush=True)
        write_cache(path, table, verify_ids, name)
        return map_images(path, len(table))
    except OSError as error:
        size = len(table) * IMAGE_BYTES / 1e9
        kept = f"{size:.1f} GB of images stay in memory. Try: another folder in PCAM_CACHE"
        print(f"cache    not used: {error}. {kept}", flush=True)
        return load_images(table, None, verify_ids, name)


def make_own_folder() -> Path:
    """Make this user's folder in the system's temporary folder, closed to others.

    Raises:
        PermissionError: it is not this user's.
    """
    user = getattr(os, "getuid", int)()  # 0 on Windows, where each user has a temporary folder
    folder = Path(tempfile.gettempdir(), f"pcam-kaggle-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != user:
        raise PermissionError(f"{folder} belongs to someone else")
    folder.chmod(0o700)
    return folder


def write_cache(path: Path, table: pd.DataFrame, verify_ids: bool, name: str) -> None:
    """Decode the images into a file, append their facts and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = np.zeros((len(table), 3), np.int64)
    prefix = f"{PARTIAL}{path.stem}-"
    with filelock.FileLock(path.with_suffix(".lock")):
        for left in path.parent.glob(f"{prefix}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as scratch:
            load_images(table, scratch, verify_ids, name, facts)
            with open(Path(scratch) / f"{name}.bin", "ab") as file:
                file.write(facts.tobytes())
            os.replace(file.name, path)  # atomic


def map_images(path: Path, num_images: int) -> np.ndarray:
    """The images of a cache: uint8 (n, 96, 96, 3)."""
    return np.memmap(path, np.uint8, "r", shape=(num_images, *IMAGE_SHAPE))


def find_problem(path: Path, table: pd.DataFrame) -> str:
    """Describe what is wrong with a cache, or return "": its size, its files or its images."""
    size, expected = path.stat().st_size, len(table) * (IMAGE_BYTES + FACT_BYTES)
    if size != expected:
        return f"it is damaged (expected {expected:,} bytes, received {size:,})"
    facts = np.fromfile(path, np.int64, offset=len(table) * IMAGE_BYTES).reshape(-1, 3)
    changed = (facts[:, :2] != stat_files(table["path"].tolist())).any(axis=1)
    if changed.any():
        return f"changed files: {changed.sum():,}, such as {table['path'][changed].iloc[0]}"
    images, starts = map_images(path, len(table)), range(0, len(table), FILES_PER_PART)
    parts = map_parts(lambda i: sum_images(images[i : i + FILES_PER_PART]), starts, os.cpu_count())
    damaged = np.concatenate(parts) != facts[:, 2]
    return f"damaged images: {damaged.sum():,}" if damaged.any() else ""


def stat_files(paths: list) -> np.ndarray:
    """The sizes and modification times (ns) of files: int64 array (n, 2)."""

    def look(start: int) -> list:
        found = [os.stat(path) for path in paths[start : start + FILES_PER_PART]]
        return [(status.st_size, status.st_mtime_ns) for status in found]

    return np.concatenate(map_parts(look, range(0, len(paths), FILES_PER_PART), STAT_THREADS))


def map_parts(work: Callable, starts: range, num_threads: int, what: str = "checked part") -> list:
    """Do the work from every start, in threads; the results in order."""
    results = []
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        for result in pool.map(work, starts):
            results.append(result)
            beat(what, len(results), len(starts))
    return results
