"""Files written whole or not at all, the same bytes on every system."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

# No room, a file over the limit, a user's quota (Windows has no such error).
DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextlib.contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it is renamed only if all went well.

    Raises:
        OSError: the disk is full; names the file. An earlier file stays as it is.
    """
    partial = path.with_name(f"partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        text = (
            f"cannot write {path}: {error.strerror}. What is finished is kept. Try: "
            "make room and repeat the command"
        )
        raise OSError(error.errno, text) from error
    finally:
        partial.unlink(missing_ok=True)


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
        ValueError: a file that holds something else; names it.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object. Received something else.")
    return content


def write_table(path: Path, table: object) -> None:
    """Write a pandas DataFrame as CSV, without its index.

    Raises:
        OSError: as `write_beside`.
    """
    with write_beside(path) as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")


def short_hash(content: str | bytes) -> str:
    """First ten hex digits of the sha256 of a text or of bytes."""
    content = content.encode("utf-8") if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:10]
