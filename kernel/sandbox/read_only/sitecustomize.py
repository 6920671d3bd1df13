"""Makes PCAM_INPUT read-only for a kernel in the sandbox, as Kaggle's input is.

Python imports this file at start if its folder is on PYTHONPATH. File permissions would
not suffice: root ignores them, and the input is a link to the caller's own data.
"""

import errno
import os
import sys

ROOT = os.path.join(os.path.abspath(os.environ["PCAM_INPUT"]), "")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.utime"}
TWO_PATHS = {"os.rename", "os.link", "os.symlink"}


def refuse_writes(event: str, arguments: tuple) -> None:
    """Raise what a read-only file system raises."""
    if event == "open":
        paths = arguments[:1] if (arguments[2] or 0) & WRITES else ()
    elif event in CHANGES:
        paths = arguments[:1]
    elif event in TWO_PATHS:
        paths = arguments[:2]
    else:
        return
    for path in paths:
        if isinstance(path, int):  # the descriptor of an open file
            continue
        name = os.fsdecode(path)
        if os.path.abspath(name).startswith(ROOT):
            raise OSError(errno.EROFS, "Read-only file system", name)


sys.addaudithook(refuse_writes)
