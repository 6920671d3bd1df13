"""One command at a time: locks that end with their holder, and files under them."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from pcam_kaggle.system.files import short_hash

LOCK_SECONDS = 3_600  # how long a second command waits for the first


@contextlib.contextmanager
def locked(
    runs: Path, name: str, say: Callable[[str], None] = print, label: str = ""
) -> Iterator[None]:
    """Hold the lock of a name: two commands never do the same step at once.

    The operating system releases it when its holder ends, however it ends.

    Args:
        runs: Path of the folder of runs.
        name: str, what is locked.
        say: function that prints a line.
        label: str, what messages call it; the name by default.

    Raises:
        ValueError: another command held it for an hour.
    """
    folder = runs / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"another command is working on {label or name}; waiting for it")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout:
            raise ValueError(
                f"another command has worked on {label or name} for {LOCK_SECONDS // 60} "
                "minutes. Expected: one command at a time. Try: stop the "
                "other one"
            ) from None
    try:
        yield
    finally:
        lock.release()


def locked_output(runs: Path, out: Path) -> contextlib.AbstractContextManager:
    """Hold the lock of a file or folder that is to be written, by whichever path it is named."""
    name = f"out-{short_hash(os.fsencode(os.path.realpath(out)))}"
    return locked(runs, name, label=str(out))


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of that file."""
    if not path.is_file():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:  # a folder that cannot be written
        return False
    lock.release()
    return False


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write a file of a run by one command at a time; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent.parent, "files"):
        yield
