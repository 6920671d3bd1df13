"""Makes PCAM_INPUT read-only for a kernel in the sandbox, as Kaggle's input is.

Python imports this file at start if its folder is on PYTHONPATH. File permissions would
not suffice: root ignores them. Other programs, and libraries that open files in C, are not
held up: the input is a copy, or hard links, so that what they remove is not lost.
"""

import errno
import os
import sys

ROOT = os.path.normcase(os.path.join(os.path.realpath(os.environ["PCAM_INPUT"]), ""))
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Where an event's arguments have a path and the descriptor of the folder that it starts from;
# in CONTENTS the path comes first, and None stands for no descriptor.
CONTENTS = {"os.chmod": 2, "os.chown": 3, "os.utime": 3}
CONTENTS |= dict.fromkeys(("os.truncate", "os.setxattr", "os.removexattr"))
ENTRIES = {"os.mkdir": ((0, 2),), "os.remove": ((0, 1),), "os.rmdir": ((0, 1),)}
ENTRIES |= {"os.symlink": ((1, 2),), "shutil.rmtree": ((0, 1),)}
ENTRIES |= dict.fromkeys(("os.rename", "os.link"), ((0, 2), (1, 3)))


def resolve(path: object, folder: object) -> str:
    """A path, or the descriptor of an open file, without links and relative parts."""
    if isinstance(path, int):
        return os.path.realpath(f"/proc/self/fd/{path}")
    if isinstance(folder, int) and folder >= 0:
        return os.path.realpath(os.path.join(f"/proc/self/fd/{folder}", os.fsdecode(path)))
    return os.path.realpath(os.fsdecode(path))


def refuse(name: str) -> None:
    """Raise what a read-only file system raises, if a path is in the input."""
    if os.path.normcase(os.path.join(name, "")).startswith(ROOT):
        raise OSError(errno.EROFS, "Read-only file system", name)


def refuse_writes(event: str, arguments: tuple) -> None:
    """Refuse what would change a file's content or a folder's entries."""
    if event == "open":
        if (arguments[2] or 0) & WRITES and not isinstance(arguments[0], int):
            refuse(resolve(arguments[0], None))
    elif event in CONTENTS:
        folder = CONTENTS[event]
        refuse(resolve(arguments[0], None if folder is None else arguments[folder]))
    elif event in ENTRIES:
        for path, folder in ENTRIES[event]:
            head, tail = os.path.split(os.fsdecode(arguments[path]).rstrip(os.sep))
            refuse(os.path.normpath(os.path.join(resolve(head or ".", arguments[folder]), tail)))


def open_checked(path, flags, mode=0o777, *, dir_fd=None):
    """os.open, whose event does not name the folder that a path starts from."""
    if dir_fd is not None and flags & WRITES:
        refuse(resolve(path, dir_fd))
    return open_file(path, flags, mode, dir_fd=dir_fd)


sys.addaudithook(refuse_writes)
open_file, os.open = os.open, open_checked
if open_file in os.supports_dir_fd:
    os.supports_dir_fd.add(open_checked)
