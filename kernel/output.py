"""A finished run's output: whole or not at all, and from the code that was pushed."""

import json
import os
import pathlib
import shutil

from .client import KaggleError
from .push import name_fields
from .runs import RUNS, check_kernel, locked
from .watch import read_log

NEEDED = ("run.json", "submission.csv")
NEEDED_OF_STUDY = ("run.json", "study.csv")


def download_output(client, run, runs=RUNS, say=print):
    """Download the output of the very version that was pushed into its run's folder.

    All files come into a folder beside, are checked, and only then take their places,
    run.json last. An output that is there already is left as it is.

    Args:
        client: Client.
        run: Path of the run.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        Number of files that came; 0 where they were there.

    Raises:
        KaggleError: the session has not completed; a file that is missing, cut short
            or named outside the folder; an output of another build.
    """
    record = check_kernel(run, client)
    with locked(runs, run.name, say):
        if (run / "run.json").exists():
            check_build(run / "run.json", record)
            return 0
        partial = run / "partial-output"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            num_files = fetch_files(client, record, partial)
            is_study = (partial / "study.csv").is_file()
            needed = NEEDED_OF_STUDY if is_study else NEEDED
            missing = [name for name in needed if not (partial / name).is_file()]
            if missing:
                raise KaggleError(
                    f"the output of {record['kernel']} v{record['version']} lacks "
                    f"{', '.join(missing)}. Expected: those of a finished run. See "
                    f"{record['url']}"
                )
            check_build(partial / "run.json", record)
            move_files(partial, run)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return num_files


def fetch_files(client, record, folder):
    """Download every listed file and the log; the number of files."""
    version = name_fields(record["kernel"], record["version"])
    files = list(
        client.call_pages("kernels", "list_kernel_session_output", "files", **version)
    )
    places = [place_file(folder, file.file_name) for file in files]
    for file, place in zip(files, places):
        client.download(file.url, place)
    text = "".join(text for _, text in read_log(client, record))
    (folder / "kernel.log").write_text(text, "utf-8", newline="\n")
    return len(files) + 1


def place_file(folder, name):
    """Where a listed file goes.

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


def check_build(path, record):
    """Refuse a run.json that another code wrote.

    Raises:
        KaggleError: another build id, a text that was edited, or no run.json at all.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        build_id, edited = found["build_id"], found.get("edited", False)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KaggleError(
            f"{path.name}: expected the run.json of a kernel. Received something else."
        ) from None
    if build_id != record["build_id"] or edited:
        state = f"{build_id}{', edited since' if edited else ''}"
        raise KaggleError(
            f"this output is from another run. Expected: build {record['build_id']}, "
            f"as pushed. Received: build {state}. Nothing was kept of it."
        )


def move_files(partial, run):
    """Put the checked files in their places, run.json last."""
    files = [path for path in partial.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path == partial / "run.json"):
        target = run / path.relative_to(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
