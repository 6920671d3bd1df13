"""Results that are written as a whole, with a message for a full disk."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from .files import DISK_FULL, PARTIAL


@contextlib.contextmanager
def writing_results(path: Path, kept: str) -> Iterator[None]:
    """Name what could not be written in a block, and what is kept.

    Raises:
        OSError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        text = (
            f"cannot write {path}; {kept}. Received: {error.strerror}. "
            "Try: free up disk space and repeat the command"
        )
        raise OSError(error.errno, text) from error


@contextlib.contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, which becomes it on success; the caller holds a lock.

    Args:
        folder: Path; it is not there, or empty.

    Raises:
        OSError: the disk is full.
    """
    draft = folder.with_name(f".{PARTIAL}{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)  # of a command that was killed
    try:
        with writing_results(folder, "nothing of it is left"):
            draft.mkdir(parents=True)
            yield draft
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
