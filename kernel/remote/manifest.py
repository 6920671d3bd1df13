"""The manifest in run.json: which files a run wrote, their sizes and hashes."""

from pathlib import Path

from pcam_kaggle.system.files import hash_file

from ..records import ResultRecord

# Written again after every network, before run.json: a run that is killed in between
# leaves them newer than their entries.
REWRITTEN = ("submission.csv", "oof.csv", "history.csv")


def matches(path: Path, entry: object) -> bool:
    """Whether a file is the one that an entry of the manifest describes.

    Args:
        path: Path of the file, which may be missing.
        entry: dict with size in bytes and sha256 in hex digits; None where runs of
            earlier versions kept the name only.
    """
    if entry is None or not path.is_file():
        return entry is None and path.is_file()
    same_size = isinstance(entry, dict) and entry.get("size") == path.stat().st_size
    return same_size and entry.get("sha256") == hash_file(path)


def holds(run: Path, name: str, result: ResultRecord) -> bool:
    """Whether a folder holds a file that the manifest lists with size and hash."""
    entry = (result.manifest or {}).get(name)
    return entry is not None and matches(run / name, entry)


def find_wrong(folder: Path, result: ResultRecord, names: list[str]) -> tuple[list, list, list]:
    """Compare files with a run's manifest.

    Args:
        folder: Path of the folder that holds them.
        result: ResultRecord of the run.
        names: those of `result.files` to compare.

    Returns:
        Three lists of names: missing, damaged, and newer than run.json, as a run that
        was ended may leave its tables.
    """
    manifest = result.manifest or {}
    missing = [name for name in names if not (folder / name).is_file()]
    differ = [n for n in names if n not in missing and not matches(folder / n, manifest.get(n))]
    newer = [n for n in differ if not result.complete and n in REWRITTEN and is_whole(folder / n)]
    return missing, [name for name in differ if name not in newer], newer


def is_whole(path: Path) -> bool:
    """Whether a table can be read; of a submission, whether its labels are probabilities."""
    import pandas as pd  # half a second, only where a run was ended

    from pcam_kaggle.inference.submission import check_submission

    try:
        table = pd.read_csv(path)
        if path.name == "submission.csv":
            check_submission(table, table.get("id", []))
    except (ValueError, UnicodeDecodeError):
        return False
    return True
