"""The folders of runs/: found by name, checked against the service, with the commit."""

import contextlib
import pathlib
import subprocess
import sys
from pathlib import Path

from pcam_kaggle.system.settings import unknown

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
    found = list_records(runs)
    if not found:
        raise ValueError(
            f"nothing was pushed yet: no {runs}/*/push.json. Try: python build.py push RECIPE"
        )
    if client:
        found.sort(key=lambda pair: is_own(pair[1], client))
    if name is None:
        return found[-1][0]
    places = {pathlib.Path(name).resolve(), (runs.parent / name).resolve()}
    for run, record in reversed(found):
        slug = record.kernel.split("/")[1] if record.kernel else None
        if name in (run.name, record.build_id, slug) or run.resolve() in places:
            return run
    if (runs / name / "run.json").is_file():
        raise ValueError(
            f"{name} was made at home. Expected: a pushed run. Try: python build.py push RECIPE"
        )
    raise ValueError(unknown("run", name, [run.name for run, _ in found]))


def is_own(record: PushRecord, client: object) -> bool:
    """Whether a push belongs to a service and an account; a blend has no account."""
    owner = record.kernel.split("/")[0] if record.kernel else client.username
    return (record.service, owner) == (client.service, client.username)


def find_folder(name: str, runs: Path = RUNS) -> Path:
    """The folder of a run, pushed or made at home: its path or name, a build id or a slug.

    A path of a folder without run.json is returned too: whoever reads it says what is missing.

    Raises:
        ValueError: no such run; names those that there are.
    """
    home = list_home(runs)
    own = [run for run in home if name in (run.name, run.name.removesuffix("-home").split("-")[-1])]
    for folder in (runs / name, pathlib.Path(name), *own):
        if (folder / "run.json").is_file():
            return folder
    if pathlib.Path(name).is_dir():
        return pathlib.Path(name)
    try:
        return find_run(name, runs)
    except ValueError:
        if not home:
            raise
    with contextlib.suppress(ValueError):  # the slug of the demo's kernel
        return find_run(name, runs / "demo")
    known = [run.relative_to(runs).as_posix() for run in (*list_runs(runs), *home)]
    raise ValueError(unknown("run", name, known))


def list_home(runs: Path = RUNS) -> list[Path]:
    """Folders of the runs that were made at home, then those of the demo and other subfolders.

    Blends are among what `list_runs` returns; what `card` laid out is left out.
    """
    made = sorted(path.parent for path in runs.glob("*/run.json"))
    own = [run for run in made if not (run / "push.json").exists()]
    deeper = sorted(path.parent for path in runs.glob("*/*/run.json"))
    return own + [run for run in deeper if run.parent.name != MODELS]


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
