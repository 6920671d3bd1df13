"""A run's output: checked, from the code that was pushed, whole or what is left of it."""

import fnmatch
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import tenacity

from pcam_kaggle.system.files import PARTIAL

from ..folders import RUNS
from ..locks import locked
from ..records import ALIVE, FILES, PushRecord, ResultRecord, read_record
from ..runs import check_kernel
from .client import Client
from .errors import KaggleError
from .manifest import Incomplete, check_build, find_wrong, holds
from .versions import identify_version
from .watch import describe_end, name_version, read_log, update_status

LOG = "kernel.log"  # written by a download of all files, after them
ATTEMPTS = 3  # with a new listing: a URL expires, a listing may lack files for a while
PAUSE_SECONDS = 10
# What this program writes into a run's folder; a kernel's files of these names get a prefix.
OWN = {*FILES.values(), LOG, "sample_submission.csv", "leaderboard.png", "model_card.md"}
OWN -= {"run.json"}
PREFIX = "kernel-"
MAX_NAME = 200  # bytes of a part of a name, with room for those of temporary files
# What Windows takes for a device, a stream or another name.
RESERVED = re.compile(
    r'(con|prn|aux|nul|com[1-9]|lpt[1-9]) *(\..*)?|.*[<>:"|?*].*|.*[. ]', re.IGNORECASE
)


def download_output(
    client: Client,
    run: Path,
    runs: Path = RUNS,
    only: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> int:
    """Download the output of the version that was pushed into its run's folder.

    Also what a failed, cancelled or timed-out version has left, if a network was
    finished; what is missing is said. The files are downloaded into a folder beside,
    are checked against the manifest in run.json, and only then moved to their places,
    run.json last. Files that are there and undamaged are not downloaded again. After a
    failure the folder beside is kept for the next attempt.

    Args:
        client: Client.
        run: Path of the run.
        runs: Path of the folder of runs.
        only: patterns such as "*.csv"; only files that match one are downloaded, and
            run.json. Without any, all files and the log are.
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
            shutil.rmtree(run / "partial-output", ignore_errors=True)  # of a kill at the end
            choose_names([*read_record(run, ResultRecord).files, LOG], only)
            return 0
        state = update_status(client, record, run)
        if state in ALIVE:
            raise KaggleError(
                f"{name_version(record)} is {state}. Expected: a version that has ended. Try: "
                f"python build.py status {run.name} --wait"
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
            text = "".join(entry.text for entry in log)
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
    chosen = choose_names([*urls, *result.files], only)
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
            '"*.csv"'
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
    urls = {place_file(folder, file.file_name): file.url for file in files}
    urls = {path.relative_to(folder).as_posix(): url for path, url in urls.items()}
    found = {}
    for name, url in urls.items():
        first, *rest = name.split("/")
        if first.lower() in OWN or (rest and first.startswith((PARTIAL, "run.json"))):
            own = name
            while (name := f"{PREFIX}{name}") in urls:
                pass
            say(f"{own} of the kernel is saved as {name}: this program uses that name")
        if not name.split("/")[-1].startswith((PARTIAL, ".")):  # "." starts the name of the lock
            found[name] = url
    folders = {str(parent) for name in found for parent in pathlib.PurePosixPath(name).parents}
    for name in [name for name in found if name in folders or not can_save(name)]:
        say(f"left out, since it cannot be saved: {name[:100]!a}")
        del found[name]
    return found


def can_save(name: str, on_windows: bool = os.name == "nt") -> bool:
    """Whether a file can have this name."""
    parts = name.encode("utf-8", "surrogatepass").split(b"/")
    is_text = not any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in name)
    is_reserved = on_windows and any(map(RESERVED.fullmatch, name.split("/")))
    return is_text and not is_reserved and all(len(part) <= MAX_NAME for part in parts)


def fetch_result(
    client: Client, record: PushRecord, state: str, urls: dict[str, str], folder: Path
) -> ResultRecord:
    """Download run.json; it is there as soon as a network is finished.

    Raises:
        Incomplete: it is not listed although the version is complete, or is damaged.
        KaggleError: there is none, or one of another build, or that lists files outside the
            folder.
    """
    path, run = folder / "run.json", folder.parent
    path.unlink(missing_ok=True)
    if "run.json" not in urls and state == "COMPLETE":
        raise Incomplete(
            f"the list of files of {name_version(record)} lacks run.json. See {record.url}. Try: "
            "the same command again"
        )
    if "run.json" not in urls:
        raise KaggleError(
            f"{describe_end(client, record, state)}. Its output lacks run.json: no network was "
            "finished. Expected: the run.json of a kernel, written after the first network. "
            f"See {record.url}. Try: python build.py status {run.name} shows its log; push "
            "--resume continues with the network in training, if one was saved"
        )
    download_file(client, urls["run.json"], path)
    result = check_build(folder, record)
    for name in result.files:
        place_file(folder, name)
    return result


def choose_names(names: Iterable[str], only: Sequence[str]) -> list[str]:
    """The names that match a pattern, all without patterns; run.json apart.

    Raises:
        KaggleError: patterns that match nothing.
    """
    names = sorted({*names} - {"run.json"})
    if not only:
        return names
    chosen = [name for name in names if any(fnmatch.fnmatchcase(name, glob) for glob in only)]
    if not chosen and not any(fnmatch.fnmatchcase("run.json", glob) for glob in only):
        raise KaggleError(
            f'--only: expected a pattern that matches a file, such as "*.csv". Received: '
            f"{' '.join(only)}. The output has: {shorten(names)}"
        )
    return chosen


def place_file(folder: Path, name: str) -> Path:
    """Where a listed file is saved.

    Raises:
        KaggleError: a name that leads out of the folder, on any system.
    """
    parts = pathlib.PureWindowsPath(name).parts  # splits at / and \\ alike
    if not parts or ".." in parts or pathlib.PureWindowsPath(name).anchor:
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
            f"lists. The run's folder is unchanged. See {record.url}. Try: the same command again"
        )
    if newer:
        say(f"newer than run.json, because the run ended between the two: {', '.join(newer)}")


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


def move_files(partial: Path, run: Path, names: list[str]) -> int:
    """Move the checked files to their places, in this order; their number."""
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / name, run / name)
    return len(names)
