"""Locks that the operating system frees when the process that holds them ends."""

import atexit
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
    atexit.register(lock.release)  # also a reference, without which Python would free the lock
    return True


def end_with_holder(path: Path | str | None) -> None:
    """End this process, exit code 1, within a second after the one that holds a lock.

    Args:
        path: the lock's; None does nothing.
    """

    def wait_for_end() -> None:
        filelock.FileLock(path).acquire(poll_interval=1)
        os._exit(1)

    if path:
        threading.Thread(target=wait_for_end, daemon=True).start()
