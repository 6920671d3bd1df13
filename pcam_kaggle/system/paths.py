"""Folders of the data, attached inputs and output."""

import fnmatch
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

COMPETITION = "histopathologic-cancer-detection"
MAX_DEPTH = 7  # a model mount is models/<owner>/<model>/<framework>/<variation>/<n>
MAX_FOLDERS = 2_000
# Folders that are not searched: images, and the answers of MLE-bench beside public/.
UNSEARCHED = ("train", "test", "private")


def find_data(folder: Path | str | None = None) -> Path:
    """Find the competition folder: train/, test/, train_labels.csv, sample_submission.csv.

    Looks in `folder`, else in PCAM_INPUT, else in Kaggle's /kaggle/input, else in data/ and the
    current folder. Kaggle mounts a competition at competitions/<slug> or at <slug>;
    failing both, a search of limited depth looks for train_labels.csv, as in public/ of MLE-bench.

    Raises:
        FileNotFoundError: there is no such folder, or it lacks a part; lists the places.
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
        f"competition data not found. Expected: a folder {COMPETITION} with train_labels.csv, "
        f"train/, test/ and sample_submission.csv. Received: {', '.join(map(list_root, roots))}. "
        "Try: on Kaggle, add the competition as input; at home, download and unzip it (kaggle "
        f"competitions download {COMPETITION}) and name the folder with --data or PCAM_INPUT"
    )


def find_attached(pattern: str, folder: Path | str | None = None) -> list:
    """The paths among the kernel's inputs that match a name or a pattern such as fold*.npz.

    Searches `folder`, PCAM_INPUT or /kaggle/input, never UNSEARCHED.
    """
    root = Path(folder or os.environ.get("PCAM_INPUT") or "/kaggle/input")
    return [p / n for p, files in walk_mounts(root) for n in sorted(fnmatch.filter(files, pattern))]


def open_output(folder: Path | str | None = None) -> Path:
    """The output folder, created if needed and checked to be writable.

    `folder`, else PCAM_WORKING, else /kaggle/working, else working/ in this folder.

    Raises:
        OSError: it cannot be created or written to; names the folder.
    """
    kaggle = Path("/kaggle/working")
    default = kaggle if kaggle.is_dir() else Path("working")
    output = Path(folder or os.environ.get("PCAM_WORKING") or default)
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise OSError(
            f"cannot write to the output folder {output}. Expected: a writable folder. "
            f"Received: {error}. Try: name another one with --out or PCAM_WORKING"
        ) from error
    return output


def check_parts(folder: Path) -> Path:
    """Return the folder if all parts of the competition are there."""
    parts = ("train", "test", "sample_submission.csv")
    missing = [part for part in parts if not (folder / part).exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not the complete competition: it lacks {', '.join(missing)}. "
            f"Expected: {', '.join(parts)} beside train_labels.csv."
        )
    return folder


def walk_mounts(root: Path) -> Iterator:
    """Yield each folder and its file names, in a fixed order, except those not to search."""
    level = [root] if root.is_dir() else []
    num_folders = 0
    for _ in range(MAX_DEPTH + 1):
        deeper = []
        for folder in level[: MAX_FOLDERS - num_folders]:
            num_folders += 1
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)  # without stats
            yield folder, {entry.name for entry in entries if entry.is_file()}
            names = [entry.name for entry in entries if entry.is_dir()]
            deeper += [folder / name for name in names if name not in UNSEARCHED]
        level = deeper


def list_root(root: Path) -> str:
    """Describe a folder and its contents for an error message."""
    if not root.is_dir():
        return f"{root.absolute()} (no such folder)"
    names = sorted(entry.name for entry in root.iterdir())
    listing = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{root.absolute()} ({listing or 'empty'})"
