"""Files written atomically, identical on every system."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# Disk full, file too large, quota exceeded (an error that Windows does not have).
DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}

PARTIAL = "partial-"  # how the names of temporary files start


@contextlib.contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which no other process uses; rename it to `path` on success.

    Raises:
        OSError: the disk is full. An earlier file stays unchanged.
    """
    partial = path.with_name(f"{PARTIAL}{os.urandom(4).hex()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        text = (
            f"cannot write {path}; finished work is kept. Received: {error.strerror}. "
            "Try: free up disk space and repeat the command"
        )
        raise OSError(error.errno, text) from error
    finally:
        partial.unlink(missing_ok=True)


def remove_partial(output: Path) -> None:
    """Remove the temporary files of a killed run; the caller has locked its folder."""
    for folder in (output, output / "folds", output / "features"):
        for path in filter(Path.is_file, sorted(folder.glob(f"{PARTIAL}{'[0-9a-f]' * 8}-*"))):
            path.unlink()


def describe_files(folder: Path, names: Iterable) -> dict:
    """Return, for every name of a file in a folder, a dict of its size in bytes and its sha256."""
    sizes = {name: (folder / name).stat().st_size for name in names}
    return {n: {"size": size, "sha256": hash_file(folder / n)} for n, size in sizes.items()}


def hash_file(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, record: object) -> None:
    """Write a dict or a dataclass as JSON.

    Raises:
        OSError: as `write_beside`.
    """
    text = json.dumps(record, indent=2, default=dataclasses.asdict) + "\n"
    with write_beside(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):  # no JSON, or nested too deeply
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object. Received: something else")
    return content


def write_table(path: Path, table: object) -> None:
    """Write a pandas DataFrame as CSV, without its index.

    Raises:
        OSError: as `write_beside`.
    """
    with write_beside(path) as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")


def short_hash(content: str | bytes) -> str:
    """Return the first ten hex digits of the sha256 of a text or of bytes."""
    content = content.encode("utf-8") if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:10]
