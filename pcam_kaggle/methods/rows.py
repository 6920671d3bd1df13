"""Rows of a CSV that are written as they are finished, and continued by a later call."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..system.files import write_beside
from ..system.results import writing_results

ROWS_VERSION = 3  # raise it with any change of what is predicted, such as the rule for glass


def resume_rows(part: Path, state: dict, columns: list, total: int) -> tuple:
    """Open the rows of an earlier call, without one that was cut off, or start new ones.

    Args:
        part: the file, which starts with a line of what its rows are of and one of the columns.
        state: what they are of, as JSON takes it.
        columns: names of the columns; the last two are empty where nothing was predicted.
        total: number of rows when all are finished.

    Returns:
        The number of finished rows, and of those without a probability.

    Raises:
        ValueError: the rows are of another run, version or views, or of files that were changed;
            or there are too many.
    """
    lines = [json.dumps({"version": ROWS_VERSION, **state}), ",".join(columns), ""]
    head = "\n".join(lines).encode("ascii")
    if not part.exists():
        part.parent.mkdir(parents=True, exist_ok=True)
        with write_beside(part) as partial:
            partial.write_bytes(head)
        return 0, 0
    with open(part, "rb+") as file:
        if file.read(len(head)) != head:
            raise ValueError(
                f"{part} has rows of another run, of other views, of other or changed files, or of "
                "another version. Expected: those of an earlier call of this command. Try: --out "
                "FILE, or delete it"
            )
        num_rows, num_failed, end = 0, 0, len(head)
        for line in file:
            if line.endswith(b"\n"):
                num_rows, num_failed = num_rows + 1, num_failed + line.endswith(b",,\n")
                end += len(line)
        file.truncate(end)
    if num_rows > total:
        raise ValueError(
            f"{part} has {num_rows:,} rows, as two commands at once leave them. Expected: at most "
            f"{total:,}. Try: delete it"
        )
    return num_rows, num_failed


@contextlib.contextmanager
def append_rows(part: Path) -> Iterator[TextIO]:
    """Open a file to which rows are added.

    Raises:
        OSError: the disk is full. The rows so far are kept.
    """
    with (
        writing_results(part, "finished rows are kept"),
        open(part, "a", newline="", encoding="utf-8") as file,
    ):
        yield file


def finish_rows(part: Path, out: Path) -> None:
    """Write the CSV, without the first line of the part, and remove the part."""
    with write_beside(out) as partial, open(part, "rb") as rows, open(partial, "wb") as target:
        rows.readline()
        shutil.copyfileobj(rows, target)
    part.unlink()
