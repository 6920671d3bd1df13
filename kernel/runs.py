"""runs/<slug>-<build id>/: what was pushed, its states and scores, a folder a run."""

import contextlib
import csv
import datetime
import json
import pathlib
import subprocess

import filelock

from pcam_kaggle.config import unknown
from pcam_kaggle.paths import write_beside

from .bundle import ROOT

RUNS = ROOT / "runs"
LOCK_SECONDS = 3_600  # how long a second command waits for the first
BOARD_COLUMNS = (
    "date",
    "service",
    "recipe",
    "build_id",
    "version",
    "submission",
    "cv_auc",
    "public_score",
    "private_score",
    "public_rank",
    "private_rank",
    "num_teams",
    "placed",
)


def read_record(run, name):
    """A record of a run, such as push.json, as a dict; {} where there is none.

    Raises:
        ValueError: a file that is no JSON object; names it.
    """
    path = run / name
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text("utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ValueError(f"{path}: expected a JSON object. Received something else.")
    return record


def write_record(run, name, record):
    """Write a record, whole or not at all."""
    with write_alone(run / name) as partial:
        text = json.dumps(record, indent=2) + "\n"
        partial.write_text(text, "utf-8", newline="\n")


@contextlib.contextmanager
def write_alone(path):
    """`write_beside` for a file of a run, by one command at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent.parent, "files"), write_beside(path) as partial:
        yield partial


def list_runs(runs=RUNS):
    """Folders of all pushed runs, the latest push last."""
    found = [path.parent for path in runs.glob("*/push.json")]
    return sorted(found, key=lambda run: read_record(run, "push.json")["pushed"])


def find_run(name=None, runs=RUNS):
    """The folder of a pushed run.

    Args:
        name: str, the folder's name or path, the build id, or the kernel's slug (its
            latest run); None for the latest of all.
        runs: Path of the folder of runs.

    Raises:
        ValueError: nothing was pushed, or not that; names what was.
    """
    found = list_runs(runs)
    if not found:
        raise ValueError(
            f"nothing was pushed yet: no {runs}/*/push.json. Expected: a run made by "
            "python build.py push RECIPE"
        )
    if name is None:
        return found[-1]
    for run in reversed(found):
        slug, _, build_id = run.name.rpartition("-")
        if name in (run.name, build_id, slug, str(run), str(run.absolute())):
            return run
        if name.rstrip("/\\").endswith(run.name):
            return run
    raise ValueError(unknown("run", name, [run.name for run in found]))


def find_folder(name, runs=RUNS):
    """The folder of a run, pushed or made at home: its path or name, or a build id."""
    for folder in (runs / name, pathlib.Path(name)):
        if (folder / "run.json").is_file():
            return folder
    return find_run(name, runs)


def check_kernel(run, client):
    """The push record of a run that has a kernel there.

    Raises:
        ValueError: it was pushed elsewhere, or is a blend, made at home.
    """
    record = check_service(run, client)
    if record["kernel"] is None:
        raise ValueError(f"{run.name} is a blend. Expected: a run with a kernel")
    return record


def check_service(run, client):
    """The push record of a run, if it belongs to the service of this client.

    Raises:
        ValueError: it belongs to the other one.
    """
    record = read_record(run, "push.json")
    if record["service"] != client.service:
        raise ValueError(
            f"{run.name} was pushed to {record['service']}. Expected: that service. "
            f"Received: {client.service}, which KAGGLE_API_ENVIRONMENT names"
        )
    return record


@contextlib.contextmanager
def locked(runs, name, say=print):
    """Hold the lock of a name: two commands never do the same step at once.

    The operating system frees it when its holder ends, however it ends.

    Raises:
        ValueError: another command held it for an hour.
    """
    folder = runs / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"another command is at work on {name}; waiting for it")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout:
            raise ValueError(
                f"another command has worked on {name} for {LOCK_SECONDS // 60} "
                "minutes. Expected: one command at a time on a run. Stop the other."
            ) from None
    try:
        yield
    finally:
        lock.release()


def find_commit():
    """The repository's commit, and whether files differ from it; else None, None."""
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(ROOT), *words],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(status)


def now():
    """The time, UTC, as text that sorts."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def read_board(runs=RUNS):
    """The rows of runs/leaderboard.csv as dicts."""
    path = runs / "leaderboard.csv"
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def add_to_board(row, runs=RUNS):
    """Write a run's row to runs/leaderboard.csv, in the place of its earlier one."""
    key = ("service", "build_id", "submission")
    row = {name: str(row[name]) for name in BOARD_COLUMNS}
    with locked(runs, "leaderboard"):
        others = [
            other
            for other in read_board(runs)
            if any(other.get(name) != row[name] for name in key)
        ]
        with (
            write_beside(runs / "leaderboard.csv") as partial,
            open(partial, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, BOARD_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*others, row])
