"""A run's output: checked, from the code that was pushed, whole or what is left of it."""

import fnmatch
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import tenacity

from pcam_kaggle.system.files import PARTIAL

from ..folders import RUNS
from ..locks import locked
from ..records import FILES, PushRecord, ResultRecord, read_record
from ..runs import check_kernel
from .client import Client
from .errors import KaggleError
from .manifest import find_wrong, holds
from .versions import ALIVE, identify_version
from .watch import describe_end, name_version, read_log, update_status

LOG = "kernel.log"  # written by a download of all files, after them
ATTEMPTS = 3  # with a new listing: a URL expires, a listing may lack files for a while
PAUSE_SECONDS = 10
# What this program writes into a run's folder; a kernel's files of these names get a prefix.
OWN = {*FILES.values(), LOG, "sample_submission.csv", "leaderboard.png"} - {"run.json"}
PREFIX = "kernel-"


class Incomplete(KaggleError):
    """Files are missing or damaged, or their URLs no longer valid."""


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
    run.json last. What is there already and right is not downloaded again, what is damaged
    is. After a failure the folder beside is kept for the next attempt.

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
            patterns that match no file; too little space.
    """
    record = check_kernel(run, client)
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
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Incomplete),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_fixed(PAUSE_SECONDS * client.pace),
            before_sleep=lambda state: say(f"{state.outcome.exception()} Trying again."),
            reraise=True,
        )
        result, names, left_out = patiently(download_files, client, record, state, run, only, say)
        if not only and (log := read_log(client, record, say)):
            text = "".join(text for _, text in log)
            (partial / LOG).write_text(text, "utf-8", newline="\n")
            names.append(LOG)
        num_files = move_files(partial, run, [*names, "run.json"])
        shutil.rmtree(partial)
        say_end(client, record, state, result, say)
        say_left_out(left_out, result, say)
    return num_files


def is_fetched(run: Path, record: PushRecord) -> bool:
    """Whether a run's folder holds the whole output of a finished run, undamaged."""
    try:
        result = check_build(run, record)
    except KaggleError:  # downloaded again
        return False
    whole = result.complete and (run / LOG).is_file()
    return whole and not any(find_wrong(run, result, result.files))


def download_files(
    client: Client,
    record: PushRecord,
    state: str,
    run: Path,
    only: Sequence[str],
    say: Callable[[str], None],
) -> tuple[ResultRecord, list[str], list[str]]:
    """Download what a run's folder lacks into partial-output/ and check it.

    Args:
        client, run, only, say: as `download_output` takes them.
        record: PushRecord of the run.
        state: str, how the version ended.

    Returns:
        The run.json, the names of the files that came, and those that no pattern matches.

    Raises:
        Incomplete: a new listing may help.
        KaggleError: as `download_output`.
    """
    partial = run / "partial-output"
    partial.mkdir(exist_ok=True)
    urls = list_urls(client, record, partial, say)
    result = fetch_result(client, record, state, urls, partial)
    chosen = choose_names(urls, only, result)
    wanted = [name for name in chosen if not holds(run, name, result)]
    needed = [name for name in wanted if name in urls and not holds(partial, name, result)]
    check_space(run, needed, result)
    for name in needed:
        download_file(client, urls[name], place_file(partial, name))
    check_files(partial, wanted, record, result, say)
    names = [name for name in wanted if (partial / name).is_file()]
    return result, names, sorted(set(urls) - {*chosen, "run.json"})


def download_file(client: Client, url: str, path: Path) -> None:
    """Download one file.

    Raises:
        Incomplete: its URL is refused; they expire.
    """
    try:
        client.download(url, path)
    except KaggleError as error:
        if error.status in (400, 401, 403, 404, 410):
            raise Incomplete(str(error), error.status) from None
        raise


def check_space(run: Path, names: list[str], result: ResultRecord) -> None:
    """Refuse a download for which the disk has no space.

    Raises:
        KaggleError: names both sizes.
    """
    entries = [(result.manifest or {}).get(name) or {} for name in names]
    size = sum(entry.get("size", 0) for entry in entries)
    free = shutil.disk_usage(run).free
    if size > free:
        raise KaggleError(
            f"{run}: expected {size / 1e9:.1f} GB of free disk space for {len(names)} files. "
            f"Received: {free / 1e9:.1f} GB. Try: free up space, or python build.py output --only "
            "'*.csv'"
        )


def list_urls(
    client: Client, record: PushRecord, folder: Path, say: Callable[[str], None]
) -> dict[str, str]:
    """The names and URLs of a version's files, without those it was still writing.

    Raises:
        KaggleError: a name that leads out of the folder.
    """
    version = identify_version(record.kernel, record.version)
    files = client.call_pages("kernels", "list_kernel_session_output", "files", **version)
    urls = {}
    for file in files:
        name = place_file(folder, file.file_name).relative_to(folder).as_posix()
        if name.lower() in OWN:
            say(f"{name} of the kernel is saved as {PREFIX}{name}: this program writes one, too")
            name = f"{PREFIX}{name}"
        if not name.split("/")[-1].startswith((PARTIAL, ".")):  # "." starts the lock's name
            urls[name] = file.url
    return urls


def fetch_result(
    client: Client, record: PushRecord, state: str, urls: dict[str, str], folder: Path
) -> ResultRecord:
    """Download run.json; it is there as soon as a network is finished.

    Raises:
        Incomplete: it is not listed although the version is complete, or is damaged.
        KaggleError: there is none, or one of another build.
    """
    path = folder / "run.json"
    path.unlink(missing_ok=True)
    if "run.json" not in urls:
        raise (Incomplete if state == "COMPLETE" else KaggleError)(
            f"{describe_end(client, record, state)}. Its output lacks run.json: no network was "
            "finished. Expected: the run.json of a kernel, written after the first network. "
            f"See {record.url}. Try: python build.py status shows its log; push --resume continues "
            "with the network in training, if one was saved"
        )
    download_file(client, urls["run.json"], path)
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
        raise Incomplete(
            f"the output of {name_version(record)} {what}. Expected: the files that run.json "
            f"lists. The run's folder is unchanged. See {record.url}. Try: repeat python build.py "
            "output"
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
        Incomplete: no run.json at all.
        KaggleError: another build id, or a text that was edited.
    """
    try:
        found = read_record(run, ResultRecord)
    except ValueError:
        found = None
    if found is None or not found.build_id:
        raise Incomplete(
            f"{run / 'run.json'}: expected the run.json of a kernel. Received: something else. "
            "Try: repeat python build.py output"
        )
    if found.build_id != record.build_id or found.edited:
        state = f"{found.build_id}{', edited since' if found.edited else ''}"
        raise KaggleError(
            f"this output is from another run. Expected: build {record.build_id}, as "
            f"pushed. Received: build {state}. Nothing of it was kept."
        )
    return found


def move_files(partial: Path, run: Path, names: list[str]) -> int:
    """Move the checked files to their places, in this order; their number."""
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / name, run / name)
    return len(names)
