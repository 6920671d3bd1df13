"""The manifest in run.json: which files a run wrote, their sizes and hashes."""

from pathlib import Path

from pcam_kaggle.system.files import hash_file

from ..records import PushRecord, ResultRecord, read_result_record
from .errors import KaggleError

# Written again after every network, before run.json: a run that is killed in between
# leaves them newer than their entries.
REWRITTEN = ("submission.csv", "oof.csv", "history.csv")


class Incomplete(KaggleError):
    """Files are missing or damaged, or their URLs no longer valid."""


def check_build(run: Path, record: PushRecord) -> ResultRecord:
    """The run.json of a folder, if the pushed code has written it.

    Raises:
        Incomplete: no run.json at all.
        KaggleError: another build id, or a text that was edited.
    """
    found = read_result_record(run)
    if found is None or not found.build_id:
        raise Incomplete(
            f"{run / 'run.json'}: expected the run.json of a kernel. Received: something else. "
            "Try: python build.py output downloads it again"
        )
    if found.build_id != record.build_id or found.edited:
        edited = ", edited since (an added cell of a notebook counts)" * found.edited
        raise KaggleError(
            f"this output is of another build. Expected: build {record.build_id}, as pushed. "
            f"Received: build {found.build_id}{edited}"
        )
    return found


def matches(path: Path, entry: object) -> bool:
    """Whether a file is the one that an entry of the manifest describes.

    Args:
        path: Path of the file, which may be missing.
        entry: dict with size in bytes and sha256 in hex digits; None where runs of
            earlier versions kept the name only.
    """
    if not path.is_file():
        return False
    if entry is None:
        return True
    return entry.get("size") == path.stat().st_size and entry.get("sha256") == hash_file(path)


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
