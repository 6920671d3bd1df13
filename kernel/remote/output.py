"""A finished run's output: all files or none, from the code that was pushed."""

import os
import pathlib
import shutil
from collections.abc import Callable
from pathlib import Path

from ..folders import RUNS
from ..locks import locked
from ..records import PushRecord, ResultRecord, read_record
from ..runs import check_kernel
from .client import Client
from .errors import KaggleError
from .versions import identify_version
from .watch import name_version, read_log


def download_output(
    client: Client, run: Path, runs: Path = RUNS, say: Callable[[str], None] = print
) -> int:
    """Download the output of the version that was pushed into its run's folder.

    All files are downloaded into a folder beside, are checked, and only then moved to
    their places, run.json last. An output that is there already is left as it is.

    Args:
        client: Client.
        run: Path of the run.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        Number of files that were downloaded; 0 where the output was there already.

    Raises:
        KaggleError: the kernel has not completed; a file that is missing, truncated or
            named outside the folder; an output of another build.
    """
    record = check_kernel(run, client.service)
    with locked(runs, run.name, say):
        if (run / "run.json").exists():
            check_build(run, record)
            return 0
        partial = run / "partial-output"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            num_files = fetch_files(client, record, partial)
            check_files(partial, record)
            move_files(partial, run)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return num_files


def fetch_files(client: Client, record: PushRecord, folder: Path) -> int:
    """Download every listed file and the log; the number of files."""
    version = identify_version(record.kernel, record.version)
    files = list(client.call_pages("kernels", "list_kernel_session_output", "files", **version))
    places = [place_file(folder, file.file_name) for file in files]
    for file, place in zip(files, places):
        client.download(file.url, place)
    text = "".join(text for _, text in read_log(client, record))
    (folder / "kernel.log").write_text(text, "utf-8", newline="\n")
    return len(files) + 1


def place_file(folder: Path, name: str) -> Path:
    """Where a listed file is saved.

    Raises:
        KaggleError: a name that leads out of the folder, on any system.
    """
    parts = pathlib.PureWindowsPath(name).parts  # splits at / and \\ alike
    windows, posix = pathlib.PureWindowsPath(name), pathlib.PurePosixPath(name)
    if not parts or ".." in parts or windows.anchor or posix.anchor:
        raise KaggleError(
            f"the output names a file outside its folder: {name!r}. Nothing was saved."
        )
    return folder.joinpath(*parts)


def check_files(folder: Path, record: PushRecord) -> None:
    """Refuse an output that is not of a finished run of the pushed build.

    Raises:
        KaggleError: names the files that are missing, or the other build.
    """
    missing = [] if (folder / "run.json").is_file() else ["run.json"]
    if not missing:
        files = check_build(folder, record).files
        missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise KaggleError(
            f"the output of {name_version(record)} lacks {', '.join(missing)}. "
            f"Expected: the files of a finished run. See {record.url}"
        )


def check_build(run: Path, record: PushRecord) -> ResultRecord:
    """The run.json of a folder, if the pushed code has written it.

    Raises:
        KaggleError: another build id, a text that was edited, or no run.json at all.
    """
    try:
        found = read_record(run, ResultRecord)
    except ValueError:
        found = None
    if found is None or not found.build_id:
        raise KaggleError(
            "run.json: expected the run.json of a kernel. Received: something else. Try: "
            f"delete {run / 'run.json'}, if it is there, and repeat python build.py output"
        )
    if found.build_id != record.build_id or found.edited:
        state = f"{found.build_id}{', edited since' if found.edited else ''}"
        raise KaggleError(
            f"this output is from another run. Expected: build {record.build_id}, as "
            f"pushed. Received: build {state}. Nothing of it was kept."
        )
    return found


def move_files(partial: Path, run: Path) -> None:
    """Move the checked files to their places, run.json last."""
    files = [path for path in partial.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path == partial / "run.json"):
        target = run / path.relative_to(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
