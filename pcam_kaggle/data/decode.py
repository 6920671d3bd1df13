"""TIFF images decoded in parallel into one array."""

import concurrent.futures
import errno
import hashlib
import io
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock
import joblib
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from PIL import Image, UnidentifiedImageError

from ..system.locks import end_with_holder
from ..system.progress import beat
from .competition import summarize_items

IMAGE_SHAPE = (96, 96, 3)
IMAGE_BYTES = 27_648
BITS_PER_SAMPLE = 258  # a TIFF tag; Pillow would silently cut 16 bits to 8
LARGEST_FILE = 2**20  # bytes; that of a patch has 28 kB
FILES_PER_TASK = 512
READERS = 32  # threads per process that read ahead: an open can take 5 ms on Kaggle's mount
PROCESSES_FROM = 20_000  # files; fewer use one process, since others take 2 s to start


def load_images(
    table: pd.DataFrame,
    scratch: Path | str | None,
    verify_ids: bool = False,
    progress: str = "images",
    facts: np.ndarray | None = None,
) -> np.ndarray:
    """Decode every image of a table once, in parallel.

    Args:
        table: columns path and id, n rows.
        scratch: a folder for the file behind a shared array, <progress>.bin, which must outlive
            the array. None decodes in this process, into memory.
        verify_ids: also check that every id is the sha1 of the pixels.
        progress: what the lines and the file are called.
        facts: int64 array (n, 3) to fill, or None: of each file its size, its modification time
            in ns and the checksum of its image.

    Returns:
        uint8 array (n, 96, 96, 3), RGB, in the table's order. From 20,000 files (553 MB) on
        several processes fill it, and it is memory-mapped.

    Raises:
        OSError: there is no space for the file in `scratch`.
        ValueError: some files are not 96x96 8-bit RGB TIFFs, or their pixels do not match their
            ids; counts them all and names the first ten. None is skipped.
    """
    paths, ids = table["path"].tolist(), table["id"].tolist()
    tasks = [slice(i, i + FILES_PER_TASK) for i in range(0, len(paths), FILES_PER_TASK)]
    if scratch is None or len(paths) < PROCESSES_FROM:
        images = target = np.empty((len(paths), *IMAGE_SHAPE), np.uint8)
        results = (decode_files(target, i.start, paths[i], ids[i], verify_ids) for i in tasks)
    else:
        target = Path(scratch) / f"{progress}.bin"
        images = make_file(target, len(paths))
        work = joblib.delayed(decode_files)
        calls = (work(target, i.start, paths[i], ids[i], verify_ids) for i in tasks)
        results = call_in_processes(calls, Path(scratch) / f"{progress}.lock")
    wrong, num_files = [], 0
    for first, part, problems in results:
        wrong += problems
        num_files += len(part)
        beat(f"{progress:8} decoded", num_files, len(paths))
        if facts is not None:
            facts[first : first + len(part)] = part
    if wrong:
        raise ValueError(
            "expected 96x96 RGB TIFF images of 8 bits per channel. Received: "
            + summarize_items(sorted(wrong), "other file")
        )
    return images


def call_in_processes(calls: Iterable, path: Path) -> Iterator:
    """Yield the results of delayed calls, as they end, from a process per core.

    The processes end with the last call or, when the lock at `path` is free, with this process.
    """
    tie = {"initializer": end_with_holder, "initargs": (path,)}
    pool = joblib.Parallel(os.cpu_count(), "loky", "generator_unordered", **tie)
    with filelock.FileLock(path, thread_local=False):
        try:
            yield from pool(calls)
        finally:
            get_reusable_executor(reuse=True).shutdown()


def make_file(path: Path, num_images: int) -> np.ndarray:
    """Map a new file for uint8 images (n, 96, 96, 3) and reserve its space.

    A write to a mapped file on a full disk would kill the process.

    Raises:
        OSError: the disk is full.
    """
    images = np.memmap(path, np.uint8, "w+", shape=(num_images, *IMAGE_SHAPE))
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, images.nbytes)
    elif shutil.disk_usage(path.parent).free < images.nbytes:
        raise OSError(errno.ENOSPC, "no space left", str(path.parent))
    return images


def decode_files(
    target: np.ndarray | Path, start: int, paths: list, ids: list, verify_ids: bool
) -> tuple:
    """Decode some files into an array or the file behind it, while threads read ahead.

    Returns:
        `start`, the files' facts as in `load_images` and a list of problems.
    """
    if isinstance(target, Path):
        target = np.memmap(target, np.uint8, "r+").reshape(-1, *IMAGE_SHAPE)
    facts, problems = np.zeros((len(paths), 3), np.int64), []
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        reads = [pool.submit(read_file, path) for path in paths]
        for place, (path, patch_id, read) in enumerate(zip(paths, ids, reads)):
            try:
                content, *facts[place, :2] = read.result()
                target[start + place] = decode_tiff(content, patch_id if verify_ids else None)
            except UnidentifiedImageError:
                problems.append(f"{path}: not a TIFF")
            except Exception as error:  # Pillow raises errors of any kind for damaged files
                problems.append(f"{path}: {error or type(error).__name__}")
    facts[:, 2] = sum_images(target[start : start + len(paths)])
    return start, facts, problems


def read_file(path: Path | str) -> tuple:
    """Read a file at once: its bytes, size and time in ns. Pillow in pieces takes 1.8x as long.

    Raises:
        ValueError: it is a pipe, a device or larger than 1 MiB.
        OSError: it cannot be read.
    """
    with open(path, "rb", buffering=0, opener=open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > LARGEST_FILE:
            raise ValueError(f"{status.st_size:,} bytes")
        return file.read(), status.st_size, status.st_mtime_ns


def open_at_once(path: str, flags: int) -> int:
    """Open without waiting for another process to write to a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def decode_tiff(content: bytes, verify_id: str | None = None) -> np.ndarray:
    """The pixels of one file: uint8 (96, 96, 3)."""
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        size = f"{image.width}x{image.height}"
        bits = tuple(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))
        if (size, image.mode, bits) != ("96x96", "RGB", (8, 8, 8)):
            raise ValueError(f"{size} {image.mode}, bits per channel {bits}")
        pixels = np.asarray(image)
    if verify_id is not None:
        digest = hashlib.sha1(pixels.tobytes()).hexdigest()
        if digest != verify_id:
            raise ValueError(f"sha1 of the pixels is {digest}, not the id")
    return pixels


def sum_images(images: np.ndarray) -> np.ndarray:
    """Checksums of uint8 images (n, 96, 96, 3): int64 array (n,), sums of their 8-byte words."""
    return images.reshape(len(images), IMAGE_BYTES).view(np.int64).sum(axis=1)
