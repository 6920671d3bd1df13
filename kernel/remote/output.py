"""A run's output: checked, from the code that was pushed, whole or what is left of it."""

import fnmatch
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pcam_kaggle.system.files import PARTIAL

from ..folders import RUNS
from ..locks import locked
from ..records import PushRecord, ResultRecord, read_record
from ..runs import check_kernel
from .client import Client
from .errors import KaggleError
from .manifest import find_wrong, holds
from .versions import ALIVE, identify_version
from .watch import describe_end, name_version, read_log, update_status

LOG = "kernel.log"  # written by a download of all files, after them


def download_output(
    client: Client,
    run: Path,
    runs: Path = RUNS,
    only: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> int:
    """Download the output of the version that was pushed into its run's folder.

    Also what a failed, cancelled or timed-out version has left, if a network was
    finished; it is said what is missing. The files are downloaded into a folder beside,
    are checked against the manifest in run.json, and only then moved to their places,
    run.json last. Files that are there already are not downloaded again.

    Args:
        client: Client.
        run: Path of the run.
        runs: Path of the folder of runs.
        only: patterns such as "*.csv"; only files that match one are downloaded, and
            run.json. None: all files and the log.
        say: function that prints a line.

    Returns:
        Number of files that were downloaded; 0 where the whole output of a finished run
        was there already.

    Raises:
        KaggleError: the kernel has not ended, or left no network; a file that is
            missing, damaged or named outside the folder; an output of another build;
            patterns that match no file.
    """
    record = check_kernel(run, client.service)
    with locked(runs, run.name, say):
        if is_fetched(run, record):
            return 0
        state = update_status(client, record, run)
        if state in ALIVE:
            raise KaggleError(
                f"{name_version(record)} is {state}. Expected: a version that has ended, whose "
                "output shows. Try: python build.py status --wait"
            )
        partial = run / "partial-output"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            urls = list_urls(client, record, partial)
            result = fetch_result(client, record, state, urls, partial)
            chosen = choose_names(urls, only, result)
            wanted = [name for name in chosen if not holds(run, name, result)]
            for name in wanted:
                if name in urls:
                    client.download(urls[name], place_file(partial, name))
            check_files(partial, wanted, record, result, say)
            if not only:
                text = "".join(text for _, text in read_log(client, record))
                (partial / LOG).write_text(text, "utf-8", newline="\n")
            num_files = move_files(partial, run)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        say_end(client, record, state, result, say)
        say_left_out(sorted(set(urls) - {*chosen, "run.json"}), result, say)
    return num_files


def is_fetched(run: Path, record: PushRecord) -> bool:
    """Whether a run's folder holds the whole output of a finished run.

    Raises:
        KaggleError: a run.json of another build.
    """
    if not (run / "run.json").exists():
        return False
    result = check_build(run, record)
    whole = result.complete and (run / LOG).is_file()
    return whole and not any(find_wrong(run, result, result.files))


def list_urls(client: Client, record: PushRecord, folder: Path) -> dict[str, str]:
    """The names and URLs of a version's files, without those it was still writing.

    Raises:
        KaggleError: a name that leads out of the folder.
    """
    version = identify_version(record.kernel, record.version)
    files = client.call_pages("kernels", "list_kernel_session_output", "files", **version)
    urls = {place_file(folder, file.file_name): file.url for file in files}
    names = {place.relative_to(folder).as_posix(): url for place, url in urls.items()}
    # "." starts the name of the lock.
    return {n: u for n, u in names.items() if not n.split("/")[-1].startswith((PARTIAL, "."))}


def fetch_result(
    client: Client, record: PushRecord, state: str, urls: dict[str, str], folder: Path
) -> ResultRecord:
    """Download run.json; it is there as soon as a network is finished.

    Raises:
        KaggleError: there is none, or one of another build.
    """
    if "run.json" not in urls:
        raise KaggleError(
            f"{describe_end(client, record, state)}. Its output lacks run.json: no network was "
            "finished. Expected: the run.json of a kernel, written after the first network. "
            f"See {record.url}. Try: python build.py status shows its log; push --resume continues "
            "with the network in training, if one was saved"
        )
    client.download(urls["run.json"], folder / "run.json")
    return check_build(folder, record)


def choose_names(urls: dict[str, str], only: Sequence[str], result: ResultRecord) -> list[str]:
    """The names that match a pattern, all without patterns; run.json apart.

    Raises:
        KaggleError: patterns that match nothing.
    """
    names = sorted({*urls, *result.files} - {"run.json"})
    if not only:
        return names
    chosen = [name for name in names if any(fnmatch.fnmatchcase(name, glob) for glob in only)]
    if not chosen and not any(fnmatch.fnmatchcase("run.json", glob) for glob in only):
        raise KaggleError(
            f"--only: expected a pattern that matches a file, such as '*.csv'. Received: "
            f"{' '.join(only)}. The output has: {shorten(names)}"
        )
    return chosen


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


def check_files(
    folder: Path,
    names: list[str],
    record: PushRecord,
    result: ResultRecord,
    say: Callable[[str], None],
) -> None:
    """Refuse files that are not those of run.json's manifest.

    Raises:
        KaggleError: names the files that are missing or damaged.
    """
    listed = [name for name in names if name in result.files]
    missing, damaged, newer = find_wrong(folder, result, listed)
    if missing or damaged:
        wrong = {"lacks": missing, "differs from run.json in": damaged}
        what = " and ".join(f"{verb} {', '.join(names)}" for verb, names in wrong.items() if names)
        raise KaggleError(
            f"the output of {name_version(record)} {what}. Expected: the files that run.json "
            f"lists. Nothing was saved. See {record.url}"
        )
    if newer:
        say(f"newer than run.json, since the run was ended in between: {', '.join(newer)}")


def say_end(
    client: Client, record: PushRecord, state: str, result: ResultRecord, say: Callable[[str], None]
) -> None:
    """Say how a version ended that is not whole, and which networks are missing."""
    if state != "COMPLETE":
        whole = "; its results are whole" if result.complete else ""
        say(f"{describe_end(client, record, state)}{whole}")
    if result.not_trained:
        say(f"not trained  {', '.join(result.not_trained)}; push --resume trains the rest")
    if not result.complete and "submission.csv" in result.files:
        say("unfinished   submission.csv is of the networks that were trained")


def say_left_out(names: list[str], result: ResultRecord, say: Callable[[str], None]) -> None:
    """Say which files no pattern matches, with their size as far as it is known."""
    if not names:
        return
    entries = [(result.manifest or {}).get(name) or {} for name in names]
    size = sum(entry.get("size", 0) for entry in entries) / 1e6
    about = f", {size:.0f} MB" if size >= 1 else ""
    say(f"left out     {len(names)} files{about}: {shorten(names)}")
    say("             python build.py output without --only downloads them")


def shorten(names: list[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")


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


def move_files(partial: Path, run: Path) -> int:
    """Move the checked files to their places, run.json last; their number."""
    files = [path for path in partial.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path == partial / "run.json"):
        target = run / path.relative_to(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    return len(files)
