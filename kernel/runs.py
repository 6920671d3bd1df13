"""The folders of runs/: found by name, checked against the service, with the commit."""

import contextlib
import difflib
import os
import pathlib
import re
import stat
import subprocess
import sys
from pathlib import Path

from .folders import ROOT, RUNS
from .records import PushRecord, read_record

MODELS = "models"  # the folder of what `card` lays out: copies of runs


def list_records(runs: Path = RUNS) -> list[tuple[Path, PushRecord]]:
    """Folders of all pushed runs with their records, the latest push last.

    One that was requested again counts from then on. A record that cannot be read is left out,
    which is said on standard error.
    """
    pairs = []
    for path in runs.glob("*/push.json"):
        try:
            record = read_record(path.parent, PushRecord)
            if record.kernel and not (record.version and "/" in record.kernel):
                raise ValueError(f"{path}: expected a kernel owner/slug and its version")
            pairs.append((path.parent, record))
        except ValueError as error:
            print(f"left out: {error}. Try: delete it, then push again", file=sys.stderr)
    return sorted(pairs, key=lambda pair: (pair[1].requested or pair[1].pushed, pair[0].name))


def list_runs(runs: Path = RUNS) -> list[Path]:
    """Folders of all pushed runs, the latest push last."""
    return [run for run, _ in list_records(runs)]


def find_run(name: str | None = None, runs: Path = RUNS, client: object = None) -> Path:
    """The folder of a pushed run.

    Args:
        name: str, the folder's name or path, the build id, or the kernel's slug (its
            latest run); None for the latest of all.
        runs: Path of the folder of runs.
        client: Client, or what has its `service` and `username`, whose runs are preferred;
            or None.

    Raises:
        ValueError: nothing was pushed, or not that; names what was.
    """
    return choose_run(name, list_records(runs), runs, client)


def choose_run(
    name: str | None, found: list[tuple[Path, PushRecord]], runs: Path, client: object = None
) -> Path:
    """The same among runs that `list_records` has found."""
    ended = "a demo's server runs only during the demo. Try: python build.py runs, which lists its "
    ended += "runs; python build.py demo, which resumes or repeats it"
    if not found:
        if list_runs(runs / "demo"):
            raise ValueError(ended)
        raise ValueError(
            f"nothing was pushed yet: no {runs}/*/push.json. Try: python build.py push RECIPE"
        )
    if client:
        found = sorted(found, key=lambda pair: is_own(pair[1], client))
    if name is None:
        return found[-1][0]
    places = {pathlib.Path(name).resolve(), (runs.parent / name).resolve()}
    for run, record in reversed(found):
        slug = record.kernel.split("/")[1] if record.kernel else None
        if name in (run.name, record.build_id, slug) or run.resolve() in places:
            return run
    demos = list_runs(runs / "demo")
    if any(name in {*list_names(r), f"demo/{r.name}"} or r.resolve() in places for r in demos):
        raise ValueError(ended)
    if (runs / name / "run.json").is_file():
        raise ValueError(
            f"{name} was made at home. Expected: a pushed run. Try: python build.py push RECIPE"
        )
    raise ValueError(unknown_run(name, [run for run, _ in found], runs))


def is_own(record: PushRecord, client: object) -> bool:
    """Whether a push belongs to a service and an account; a blend has no account."""
    owner = record.kernel.split("/")[0] if record.kernel else client.username
    return (record.service, owner) == (client.service, client.username)


def find_folder(name: str | None, runs: Path = RUNS) -> Path:
    """The folder of a run, pushed or made at home: its path or name, a build id or a slug.

    A path of a folder without run.json is returned too: whoever reads it says what is missing.

    Args:
        name: the name; None for the run that was finished last, explorations apart.
        runs: Path of the folder of runs.

    Raises:
        ValueError: no such run; names those that there are.
    """
    found = list_folders(runs)
    if name is None:
        finished = [run for run in found if (run / "run.json").is_file()]
        finished = [run for run in finished if not (run / "exploration.json").exists()]
        if not finished:
            raise ValueError(
                f"no run is finished in {runs}. Expected: run.json in a folder of it. Try: python "
                "build.py demo, or train RECIPE, or output of a pushed run"
            )
        return max(finished, key=find_time)
    if not name:  # as in weights=, which is not the current folder
        raise ValueError(unknown_run(name, found, runs))
    for folder in (runs / name, pathlib.Path(name)):
        if (folder / "run.json").is_file():
            return folder
    if runs / name in found:
        return runs / name
    if pathlib.Path(name).is_dir():
        return pathlib.Path(name)
    name = name.removeprefix("demo/")  # which may have been set aside
    with contextlib.suppress(ValueError):
        return find_run(name, runs)
    if same := [run for run in found if name in list_names(run)]:
        return max(same, key=lambda run: ((run / "run.json").is_file(), find_time(run)))
    raise ValueError(unknown_run(name, found, runs))


def list_folders(runs: Path = RUNS) -> list[Path]:
    """Folders of all runs, pushed or made at home, finished or not; those of the demo last.

    A run in a subfolder is listed once something is in its place: run.json or push.json.
    """
    marks = ("push.json", "run.json", "study.log", "folds", "pcam-*.py")
    found = {path.parent: None for mark in marks for path in sorted(runs.glob(f"*/{mark}"))}
    deeper = {path.parent: None for mark in marks[:2] for path in sorted(runs.glob(f"*/*/{mark}"))}
    listed = {**found, **deeper}
    return [run for run in listed if run.parent.name != MODELS and not run.name.startswith(".")]


def list_names(run: Path) -> set[str]:
    """What a run may be called: the name of its folder, its build id, its slug."""
    slug, _, build_id = run.name.removesuffix("-home").rpartition("-")
    if re.fullmatch("[0-9a-f]{10}", build_id):
        return {run.name, slug, build_id}
    return {run.name, run.name.removesuffix("-home")}


def unknown_run(name: str, found: list[Path], runs: Path) -> str:
    """The message for a name that no run has, with the run that has the closest one."""
    places = {run: run.relative_to(runs).as_posix() for run in found}
    names = {other: place for run, place in places.items() for other in (*list_names(run), place)}
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {names[nearest[0]]!r}?" if nearest else ""
    known = ", ".join(places.values()) or f"none; {runs} has no run"
    return f"unknown run {name!r}.{hint} Known: {known}."


def find_time(run: Path) -> float:
    """When a run was finished, in seconds since 1970; of an unfinished one its last change."""
    with contextlib.suppress(OSError):
        return (run / "run.json").stat().st_mtime
    return max((each.st_mtime for each in list_stats(run)), default=0)


def list_stats(run: Path) -> list[os.stat_result]:
    """The sizes and times of all files of a run, which may be training."""
    found = []
    for path in run.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a temporary file was renamed
            found.append(path.stat())
    return [each for each in found if stat.S_ISREG(each.st_mode)]


def count_networks(run: Path) -> int:
    """How many networks of a run are finished and here."""
    paths = (run / "folds").glob("*fold*_seed*.npz")
    return sum(not path.name.startswith("checkpoint_") for path in paths)


def check_kernel(run: Path, client: object) -> PushRecord:
    """The push record of a run that has a kernel on this service, of this account.

    Args:
        run: Path of the run.
        client: Client, or what has its `service` and `username`.

    Raises:
        ValueError: it was pushed elsewhere or by another account, or is a blend, made at home.
    """
    record = check_service(run, client.service)
    if record.kernel is None:
        raise ValueError(
            f"{run.name}: expected a run with a kernel. Received: a blend, made at home. "
            f"Try: python build.py submit {run.name}"
        )
    check_account(run, record.kernel.split("/")[0], client.username)
    return record


def check_account(run: Path, owner: str, username: str) -> None:
    """Refuse a run of another account.

    Raises:
        ValueError: names both.
    """
    if owner != username:
        raise ValueError(
            f"{run.name} belongs to the account {owner}. Expected: the credentials of {owner}. "
            f"Received: those of {username}. Try: python build.py runs, which names each account"
        )


def check_service(run: Path, service: str) -> PushRecord:
    """The push record of a run, if it belongs to this service.

    Args:
        run: Path of the run.
        service: str, "Kaggle" or "sandbox", as `Client.service`.

    Raises:
        ValueError: nothing was pushed, or it belongs to the other service.
    """
    record = read_record(run, PushRecord)
    if record is None:
        raise ValueError(f"{run / 'push.json'} is not there. Expected: a pushed run")
    if record.service != service:
        raise ValueError(
            f"{run.name} was pushed to {record.service}. Expected: that service. "
            f"Received: {service}, which KAGGLE_API_ENVIRONMENT names"
        )
    return record


def find_commit() -> tuple[str | None, bool | None]:
    """The repository's commit, and whether files differ from it; else None, None."""
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=True)
            .stdout.decode("utf-8", "replace")
            .strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(status)
