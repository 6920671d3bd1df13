"""Where the competition data, attached weights and the output folder are."""

import contextlib
import errno
import fnmatch
import os
from pathlib import Path

COMPETITION = "histopathologic-cancer-detection"
MAX_DEPTH = 7  # a model mount is models/<owner>/<model>/<framework>/<variation>/<n>
MAX_FOLDERS = 2_000
# No room, a file over the limit, a user's share used up (no such error on Windows).
DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def find_data(folder=None):
    """The competition folder: train/, test/, train_labels.csv, sample_submission.csv.

    Looks into `folder`, else into PCAM_INPUT, else into Kaggle's /kaggle/input, else
    into data/ and the current folder. Kaggle mounts a competition at
    competitions/<slug> or at <slug>; failing both, a search of bounded depth looks
    for train_labels.csv.

    Raises:
        FileNotFoundError: no such folder, or one that lacks a part; names the places.
    """
    given = folder or os.environ.get("PCAM_INPUT")
    roots = [Path(given)] if given else [Path("/kaggle/input"), Path("data"), Path()]
    for root in roots:
        for place in (root / "competitions" / COMPETITION, root / COMPETITION, root):
            if (place / "train_labels.csv").is_file():
                return check_parts(place)
    searched = roots if given else roots[:1]
    for root in searched:
        for place, files in walk_mounts(root):
            if "train_labels.csv" in files:
                return check_parts(place)
    raise FileNotFoundError(
        f"competition data not found. Expected: a folder {COMPETITION} with "
        "train_labels.csv, train/, test/ and sample_submission.csv. On Kaggle, add "
        "the competition as input; at home, download and unzip it "
        f"(kaggle competitions download {COMPETITION}) and name the folder with "
        f"--data or PCAM_INPUT. Received: {', '.join(describe(root) for root in roots)}"
    )


def find_attached(pattern, folder=None):
    """The paths of a name, or a pattern such as fold*.npz, among the kernel's inputs.

    Searches PCAM_INPUT or /kaggle/input, never the competition's image folders.
    """
    root = Path(folder or os.environ.get("PCAM_INPUT") or "/kaggle/input")
    return [
        place / name
        for place, files in walk_mounts(root)
        for name in sorted(fnmatch.filter(files, pattern))
    ]


def find_folder(name):
    """A folder given as a path, or by the name of one among the kernel's inputs.

    Raises:
        FileNotFoundError: neither; says where it looked.
    """
    root = Path(os.environ.get("PCAM_INPUT") or "/kaggle/input")
    attached = [place for place, _ in walk_mounts(root) if place.name == name]
    found = [Path(name)] * Path(name).is_dir() + attached
    if not found:
        raise FileNotFoundError(
            "expected a folder that exists here, or one of that name in a dataset or "
            f"model attached to the kernel under {root}. Received: {name!r}"
        )
    return found[0]


def open_output(folder=None):
    """The output folder, made if need be and proved writable.

    `folder`, else PCAM_WORKING, else /kaggle/working, else working/ here.

    Raises:
        OSError: it cannot be made or written to; names the folder.
    """
    kaggle = Path("/kaggle/working")
    default = kaggle if kaggle.is_dir() else Path("working")
    output = Path(folder or os.environ.get("PCAM_WORKING") or default)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with write_beside(output / "probe") as partial:
            partial.write_bytes(b"probe")
        (output / "probe").unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to the output folder {output}: {error}. Expected: a folder "
            "that can be written, named with --out or PCAM_WORKING."
        ) from error
    return output


@contextlib.contextmanager
def write_beside(path):
    """Give a path beside `path` to write to, renamed to it only if all went well.

    Raises:
        OSError: the disk is full; names the file. The one that was there stays.
    """
    partial = path.with_name(f"partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        text = (
            f"cannot write {path}: {error.strerror}. What is finished stays: make room "
            "and give the same command again"
        )
        raise OSError(error.errno, text) from error
    finally:
        partial.unlink(missing_ok=True)


def check_parts(folder):
    """The folder, if the parts of the competition are all there."""
    parts = ("train", "test", "sample_submission.csv")
    missing = [part for part in parts if not (folder / part).exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not the whole competition: it lacks {', '.join(missing)}. "
            f"Expected: {', '.join(parts)} beside train_labels.csv."
        )
    return folder


def walk_mounts(root):
    """Pairs of folder and its file names, in a fixed order, image folders left out."""
    level = [root] if root.is_dir() else []
    num_folders = 0
    for _ in range(MAX_DEPTH + 1):
        deeper = []
        for folder in level[: MAX_FOLDERS - num_folders]:
            num_folders += 1
            entries = sorted(folder.iterdir())
            yield folder, {entry.name for entry in entries if entry.is_file()}
            deeper += [
                entry
                for entry in entries
                if entry.is_dir() and entry.name not in ("train", "test")
            ]
        level = deeper


def describe(root):
    """A folder and what lies in it, for an error message."""
    if not root.is_dir():
        return f"{root.absolute()} (no such folder)"
    names = sorted(entry.name for entry in root.iterdir())
    listing = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{root.absolute()} ({listing or 'empty'})"
