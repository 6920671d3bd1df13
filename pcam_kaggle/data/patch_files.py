"""Patches in files, listed and decoded one chunk at a time."""

import collections
import concurrent.futures
import csv
import dataclasses
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .decode import BITS_PER_SAMPLE, IMAGE_SHAPE, read_file

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
FORMATS = ("TIFF", "PNG", "JPEG")
PNG_BITS = 24  # the place of the bits per channel; Pillow would silently cut 16 bits to 8
FILES_PER_CHUNK = 512  # 14 MB of pixels


@dataclasses.dataclass(frozen=True)
class PatchFiles:
    """Patches to predict: `names` are paths in `folder`, and `ids` None for their stems."""

    folder: Path
    names: list
    ids: list | None = None

    def get_id(self, index: int) -> str:
        """The id of a patch."""
        return self.ids[index] if self.ids else Path(self.names[index]).stem

    def hash(self) -> str:
        """Return the sha256 of the folder, the names, the ids, and each file's size and time."""
        digest = hashlib.sha256(os.fsencode(self.folder.absolute()))
        for index, name in enumerate(self.names):
            state = describe_state(self.folder / name)
            digest.update(os.fsencode(f"\n{name}\t{self.get_id(index)}\t{state}"))
        return digest.hexdigest()


def describe_state(path: Path) -> str:
    """The size of a file and when it was changed; "" if it cannot be seen."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a name that no file can have
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def printable(text: object) -> str:
    """A name or a message on one line, with escapes for what a terminal would not print."""
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in str(text))


def list_patches(source: Path, say: Callable = print) -> PatchFiles:
    """List the patches of a folder, in the order of their names, of one file, or of a CSV.

    Args:
        source: a folder, whose files with other suffixes than SUFFIXES are ignored with a line; an
            image; or a CSV with the columns path (relative to the CSV) and, optionally, id.
        say: function that prints a line.

    Raises:
        ValueError: there are none, two have one id, or the CSV is not such a table.
    """
    if source.is_dir():
        files = list_folder(source, say)
    elif source.suffix.lower() == ".csv" and source.is_file():
        files = read_list(source)
    elif source.is_file():
        files = PatchFiles(source.parent, [source.name])
    else:
        raise ValueError(
            f"{source} is not there, or no regular file. Expected: a folder of patches, a patch, "
            "or a CSV with the column path"
        )
    if not files.names:
        raise ValueError(
            f"{source} has no patches. Expected: files that end in {', '.join(SUFFIXES)}, or a "
            "CSV with a row for each"
        )
    check_ids(files)
    return files


def list_folder(folder: Path, say: Callable) -> PatchFiles:
    """List the images of a folder, without its subfolders."""
    names, num_other = [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                names.append(entry.name)
            else:
                num_other += 1
    if names and num_other:
        say(f"{folder}: ignored, since their names are not those of images: {num_other:,}")
    return PatchFiles(folder, sorted(names))


def read_list(path: Path) -> PatchFiles:
    """Read a CSV with the columns path and, optionally, id.

    Raises:
        ValueError: it is not such a table; names the line.
    """
    names, ids = [], []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            columns = next(rows, [])
            if "path" not in columns or len(set(columns)) < len(columns):
                raise ValueError(f"the columns {','.join(columns) or 'of an empty file'}")
            for row in rows:
                values = dict(zip(columns, row))
                if len(row) != len(columns) or not all(values.get(n, "-") for n in ("path", "id")):
                    raise ValueError(f"line {rows.line_num}: {','.join(row) or 'empty'}")
                names.append(values["path"])
                ids.append(values.get("id"))
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: expected a CSV in UTF-8 with the columns path and, optionally, id. "
            f"Received: {error}"
        ) from error
    return PatchFiles(path.parent, names, ids if "id" in columns else None)


def check_ids(files: PatchFiles) -> None:
    """Refuse an id that two patches have, or that would not fit on one line.

    Raises:
        ValueError: names the id and the second file.
    """
    seen = set()
    for index, name in enumerate(files.names):
        patch_id = files.get_id(index)
        if patch_id in seen or not patch_id.isprintable():
            problem = "twice" if patch_id in seen else "with characters that cannot be printed"
            raise ValueError(
                f"{files.folder / name}: expected every id once, on one line (a file's id is its "
                f"name without the ending). Received: {patch_id!r} {problem}. Try: a CSV with the "
                "columns path and id"
            )
        seen.add(patch_id)


def decode_ahead(files: PatchFiles, start: int = 0) -> Iterator:
    """Decode the patches from `start` on, a few chunks ahead of the caller.

    Yields:
        The index of the first patch, uint8 pixels (n, 96, 96, 3), and a dict of the problems of
        those that cannot be decoded, by their place in the chunk; their pixels are 0.
    """
    num_workers = min(os.cpu_count() or 1, 8)
    chunks = iter(range(start, len(files.names), FILES_PER_CHUNK))
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(num_workers) as pool:
        while True:
            for first in chunks:
                waiting.append((first, pool.submit(decode_chunk, files, first)))
                if len(waiting) > num_workers:
                    break
            if not waiting:
                return
            first, work = waiting.popleft()
            yield first, *work.result()


def decode_chunk(files: PatchFiles, start: int) -> tuple:
    """Decode one chunk: its pixels and its problems, as `decode_ahead` yields them."""
    names = files.names[start : start + FILES_PER_CHUNK]
    pixels, problems = np.zeros((len(names), *IMAGE_SHAPE), np.uint8), {}
    for place, name in enumerate(names):
        try:
            pixels[place] = decode_patch(files.folder / name)
        except UnidentifiedImageError:
            problems[place] = "not a TIFF, PNG or JPEG"
        except Exception as error:  # Pillow raises errors of any kind for damaged files
            problems[place] = str(error) or type(error).__name__
    return pixels, problems


def decode_patch(path: Path) -> np.ndarray:
    """Decode a TIFF, PNG or JPEG: uint8 (96, 96, 3), RGB.

    Raises:
        Exception: it is not such an image of 96x96 pixels, 8 bits per channel.
    """
    content, *_ = read_file(path)
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        found = describe_image(image, content)
        if found != "96x96 RGB, bits per channel 8":
            raise ValueError(found)
        return np.asarray(image)


def describe_image(image: Image.Image, content: bytes) -> str:
    """The size, the mode and the bits per channel of an image that is open.

    Args:
        image: PIL.Image.Image, a TIFF, PNG or JPEG.
        content: the first bytes of its file.
    """
    bits = (8,)
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (1,))
    elif image.format == "PNG":
        bits = (content[PNG_BITS],)
    return f"{image.width}x{image.height} {image.mode}, bits per channel {max(bits)}"
