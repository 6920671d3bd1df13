"""Programs that a command starts and, on Ctrl-C, ends."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def shielded(command: list[str], **options) -> Iterator[subprocess.Popen]:
    """Run a program that Ctrl-C does not reach; it is killed if the block raises.

    A terminal sends Ctrl-C to all programs in it. This one ignores it, as do those that it
    starts, so that the command alone says what became of the work.

    Args:
        command: the program and its arguments.
        options: as for `subprocess.Popen`.
    """
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the program inherits
    try:
        process = subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    except BaseException:
        process.kill()
        process.wait()
        raise
