"""What the folder of a run records: push.json, status.json, submit.json, run.json.

Unknown keys are ignored and missing ones have the defaults given here, so that files of
older and newer versions stay readable.
"""

import dataclasses
import datetime
import sys
import typing
from pathlib import Path

from pcam_kaggle.system.files import read_json, write_json

from .locks import writing

Record = typing.TypeVar("Record")
ALIVE = ("QUEUED", "RUNNING", "CANCEL_REQUESTED")  # states of a run that has not ended


@dataclasses.dataclass(frozen=True)
class PushRecord:
    """push.json: what was pushed, written once Kaggle has a version of it.

    Attributes:
        service: str, "Kaggle" or "sandbox".
        recipe: str, the recipe's name; of a blend "blend 2x mean".
        build_id: str, ten hex digits.
        pushed: str, the time (UTC, ISO 8601).
        requested: str, when `push` found it again, or "".
        settings: dict of the user's overrides, or None for a blend.
        kernel: str, "owner/slug", or None for a blend, which has no kernel.
        version: int, the kernel's version, or None for a blend.
        url: str, the kernel's page.
        timeout_hours: float, when Kaggle stops the kernel.
        max_hours: float, the setting of that name that `push` chose half an hour below, or
            None: it is the user's own, among the settings, or the recipe has none.
        expected_hours: float, hours of GPU that the run is estimated to take, or None.
        dataset_sources: tuple of "owner/slug", the attached datasets.
        kernel_sources: tuple of "owner/slug", the attached outputs of kernels.
        commit: str, the repository's commit, or None without git.
        dirty: bool, whether files differed from the commit, or None without git.
    """

    service: str
    recipe: str
    build_id: str
    pushed: str = ""
    requested: str = ""
    settings: dict | None = None
    kernel: str | None = None
    version: int | None = None
    url: str = ""
    timeout_hours: float = 12
    max_hours: float | None = None
    expected_hours: float | None = None
    dataset_sources: tuple = ()
    kernel_sources: tuple = ()
    commit: str | None = None
    dirty: bool | None = None


@dataclasses.dataclass(frozen=True)
class StatusRecord:
    """status.json: a run's last known state.

    Attributes:
        state: str, QUEUED, RUNNING, COMPLETE, ERROR, CANCEL_REQUESTED,
            CANCEL_ACKNOWLEDGED or NEW_SCRIPT.
        seen: str, when it was asked for (UTC, ISO 8601).
        failure: str, the kernel's last traceback; "" unless it failed.
    """

    state: str = "QUEUED"
    seen: str = ""
    failure: str = ""


@dataclasses.dataclass(frozen=True)
class SubmissionRecord:
    """submit.json: a run's submission, and its scores once they are known.

    Attributes:
        submission: int, its number on the service.
        account: str, whose credentials submitted it; "" in older records.
        message: str, its description, with the build id.
        submitted: str, the time (UTC, ISO 8601).
        public_score, private_score: str as the service writes them; "" where it has
            not scored yet or keeps the score hidden.
        team: str, the team's name; "" before the score.
    """

    submission: int
    account: str = ""
    message: str = ""
    submitted: str = ""
    public_score: str = ""
    private_score: str = ""
    team: str = ""


@dataclasses.dataclass(frozen=True)
class ResultRecord:
    """What the commands read of run.json, which the kernel or `blend` has written.

    Attributes:
        build_id: str, ten hex digits; "" where none is given.
        recipe: str, the recipe's name; "" for a blend.
        schema: int, 1 for runs of versions that kept the recipe among the settings.
        edited: bool, whether the page was edited after it was built.
        settings: dict of all settings, or None for a blend.
        oof_auc: float, AUC out of fold, or None where nothing was predicted.
        files: tuple of the names of the files that the run wrote, run.json apart.
        manifest: dict of these names to size (bytes) and sha256, or None before schema 3.
        complete: bool, False while networks are missing or the run has not ended.
        not_trained: tuple of the names of the networks that are missing.
        grouping: str, what the folds do not share, or None in older records.
        estimate: str, why scores on other slides may be lower, or None in older records.
        calibration: dict of the maps of the networks' predictions and what they change, or None.
    """

    build_id: str = ""
    recipe: str = ""
    schema: int = 1
    edited: bool = False
    settings: dict | None = None
    oof_auc: float | None = None
    files: tuple = ()
    manifest: dict | None = None
    complete: bool = True
    not_trained: tuple = ()
    grouping: str | None = None
    estimate: str | None = None
    calibration: dict | None = None


FILES = {
    PushRecord: "push.json",
    StatusRecord: "status.json",
    SubmissionRecord: "submit.json",
    ResultRecord: "run.json",
}


def read_record(run: Path, kind: type[Record]) -> Record | None:
    """A record of a run, or None where it has none.

    Args:
        run: Path of the run.
        kind: a class of FILES.

    Raises:
        ValueError: a file that is not a JSON object or lacks what has no default; names
            the file.
    """
    path = run / FILES[kind]
    if not path.exists():
        return None
    content = read_result(run) if kind is ResultRecord else read_content(run, path.name)
    return make_record(kind, content, path)


def make_record(kind: type[Record], content: dict, path: Path) -> Record:
    """A record of what a JSON file holds.

    Raises:
        ValueError: it lacks what has no default, or has a value of another type; names the
            file.
    """
    fields = dataclasses.fields(kind)
    required = [f.name for f in fields if f.default is dataclasses.MISSING]
    missing = [name for name in required if name not in content]
    if missing:
        raise ValueError(
            f"{path}: expected the keys {', '.join(required)}. Received: a file without "
            f"{', '.join(missing)}"
        )
    values = {}
    for field in fields:
        if field.name not in content:
            continue
        value = content[field.name]
        if field.type is tuple and (value is None or isinstance(value, list)):
            value = tuple(value or ())
        if not has_type(value, field.type):
            expected = getattr(field.type, "__name__", field.type)
            expected = "list of texts" if field.type is tuple else expected
            raise ValueError(
                f"{path}: expected {field.name} of type {expected}. Received: "
                f"{content[field.name]!r}"
            )
        values[field.name] = value
    return kind(**values)


def has_type(value: object, kind: type) -> bool:
    """Whether a JSON value is of a field's type; a whole number may stand for a float."""
    kinds = typing.get_args(kind) or (kind,)
    if isinstance(value, tuple):
        return tuple in kinds and all(isinstance(item, str) for item in value)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (isinstance(value, int) and float in kinds)


def read_status(run: Path) -> StatusRecord:
    """A run's last known state; QUEUED where there is none, or its record was damaged."""
    try:
        return read_record(run, StatusRecord) or StatusRecord()
    except ValueError:  # the service is asked again
        return StatusRecord()


def read_result_record(run: Path) -> ResultRecord | None:
    """What a run.json says, or None; one that was damaged can be downloaded again."""
    try:
        return read_record(run, ResultRecord)
    except ValueError:
        return None


def read_submission(run: Path) -> SubmissionRecord | None:
    """A run's submission, or None; a damaged record is named on standard error and left out."""
    try:
        return read_record(run, SubmissionRecord)
    except ValueError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None


def read_content(run: Path, name: str) -> dict:
    """A JSON file of a run with all its keys, or {} where there is none.

    Raises:
        ValueError: a file that is not a JSON object; names it.
    """
    path = run / name
    return read_json(path) if path.exists() else {}


def read_result(run: Path) -> dict:
    """run.json with all its keys, those of older versions in their present places.

    Schema 1 kept the recipe among the settings and listed no files, schema 2 their names
    only.

    Raises:
        ValueError: a file that is not a JSON object, or has a value of another type than
            `ResultRecord`; names it.
    """
    content = read_content(run, "run.json")
    settings = content.get("settings")
    recipe, path = "", run / "run.json"
    if isinstance(settings, dict):
        recipe = settings.get("recipe", "")
        settings = {name: settings[name] for name in settings if name != "recipe"}
    files = ["study.csv"] if "study" in content else ["submission.csv"]
    result = {"recipe": recipe, "files": files, **content, "settings": settings}
    if isinstance(result["files"], dict):
        known = {name: entry for name, entry in result["files"].items() if entry is not None}
        result |= {"manifest": known, "files": list(result["files"])}
    record = make_record(ResultRecord, result, path)
    for name, entry in (record.manifest or {}).items():
        if not (isinstance(entry, dict) and isinstance(entry.get("size"), int)):
            raise ValueError(f"{path}: expected the size and sha256 of {name}. Received: {entry!r}")
    return {**result, "files": list(record.files)}


def write_record(run: Path, record: object) -> None:
    """Write a record into the folder of a run, atomically."""
    path = run / FILES[type(record)]
    with writing(path):
        write_json(path, record)


def now() -> str:
    """The time, UTC, as text that sorts."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def measure_age(time: str) -> float:
    """Seconds since a time of `now`; 0 where the clock was set back or the text is not a time."""
    try:
        then = datetime.datetime.fromisoformat(time)
        return max(0, (datetime.datetime.now(datetime.UTC) - then).total_seconds())
    except (ValueError, TypeError):  # TypeError: a time without its zone
        return 0
