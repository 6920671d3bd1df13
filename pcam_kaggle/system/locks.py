"""Locks that the operating system frees when the process that holds them ends."""

import os
import threading
from pathlib import Path

import filelock

PARENT = "PCAM_PARENT"  # names the lock that this process's parent holds
HELD = set()  # paths of the locks of `hold_lock`


def hold_lock(path: Path) -> None:
    """Hold a lock until this process ends; do nothing if it holds it already.

    Raises:
        ValueError: another process holds it.
    """
    name = str(path.resolve())
    if name not in HELD and not take_lock(path):
        raise ValueError(
            f"{path.parent} is in use. Expected: one run at a time in a folder. Received: another "
            f"process holds {path.name}. Try: wait for that run or stop it, or name another folder"
        )
    HELD.add(name)


def take_lock(path: Path) -> bool:
    """Take a lock until this process ends; return False if it is taken."""
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    # Without a reference Python would free the lock; in a thread it has one until the process ends.
    threading.Thread(target=keep, args=(lock,), daemon=True).start()
    return True


def keep(lock: filelock.BaseFileLock) -> None:
    """Keep a reference until the process ends."""
    threading.Event().wait()


def end_with_holder(path: Path | str | None) -> None:
    """End this process, exit code 1, within a second after the one that holds a lock.

    Args:
        path: the lock's; None does nothing.
    """
    if path:
        threading.Thread(target=wait_for_end, args=(path,), daemon=True).start()


def wait_for_end(path: Path | str) -> None:
    """Wait until nobody holds a lock, then end this process."""
    filelock.FileLock(path).acquire(poll_interval=1)
    os._exit(1)
