"""One version on Kaggle: its state, its log as it grows, its end."""

import time
from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.system.clock import say_time

from ..live import LiveLine
from ..records import ALIVE, PushRecord, StatusRecord, measure_age, now, read_status, write_record
from ..runs import check_kernel
from .client import Client
from .errors import KaggleError
from .log import LAST_LINES, LogEntry, find_traceback, parse_log, split_lines
from .versions import ask_state, fetch_state, identify_version

QUEUE_SECONDS = 3_600  # how long a version may be queued
GRACE_SECONDS = 1_800  # over the version's own time-out before we stop waiting
POLL_SECONDS = 20
SILENT_SECONDS = 300  # after which the state is printed again
SHOWN_CHARACTERS = 500  # of a line


class RunFailed(KaggleError):
    """The kernel ended without finishing its work."""


def wait_for_kernel(
    client: Client,
    run: Path,
    wait: bool = True,
    queue_seconds: float = QUEUE_SECONDS,
    say: Callable[[str], None] = print,
) -> str:
    """Wait for the end of the version that was pushed; say its states and its log.

    Writes status.json beside push.json. The lines of the log have the time since the kernel began.

    Args:
        client: Client.
        run: Path of the run.
        wait: bool, False to ask once for its state.
        queue_seconds: how long it may stay queued while we wait.
        say: function that prints a line.

    Returns:
        str, the name of the state: QUEUED, RUNNING or COMPLETE.

    Raises:
        RunFailed: an error, a cancellation; carries the kernel's own traceback.
        KaggleError: queued for too long, or running beyond its time-out: the kernel
            continues, and the same command resumes waiting.
    """
    record = check_kernel(run, client)
    state, num_shown, since, said = None, 0, 0, 0
    with LiveLine(say, wait) as live:
        while True:
            before, state = state, update_status(client, record, run)
            now_seconds = time.monotonic()
            if state != before:
                since = said = now_seconds
                age = measure_age(record.pushed)
                pushed = f", pushed {say_time(age)} ago" if before is None and age > 60 else ""
                live.progress.text = state.lower()
                live.say(f"{name_version(record)} {state}{pushed}")
            elif not live.terminal and now_seconds - said > SILENT_SECONDS * client.pace:
                said = now_seconds
                live.say(f"{name_version(record)} {state} for {say_time(said - since)}")
            if state == "RUNNING":
                log = client.read_live_log(record.kernel, record.version)
                lines = split_lines(log, is_whole=False)
                if lines[num_shown:]:
                    said = now_seconds
                num_shown = say_new_lines(lines, num_shown, live)
            if state not in ALIVE or not wait:
                break
            check_patience(state, now_seconds - since, record, queue_seconds)
            live.pause(POLL_SECONDS * client.pace)
        if state not in (*ALIVE, "COMPLETE"):
            raise RunFailed(explain_failure(client, record, run, state, live.say))
        if state == "COMPLETE" and wait:
            say_new_lines(split_lines(read_log(client, record, live.say)), num_shown, live)
    return state


def update_status(client: Client, record: PushRecord, run: Path) -> str:
    """The state's name now, also written to status.json."""
    state = ask_state(client, record.kernel, record.version, record.pushed)
    earlier = read_status(run)
    failure = earlier.failure if earlier.state == state else ""
    write_record(run, StatusRecord(state, now(), failure))
    return state


def check_patience(state: str, seconds: float, record: PushRecord, queue_seconds: float) -> None:
    """Stop waiting for a version that makes no progress.

    Args:
        state: str, QUEUED or RUNNING.
        seconds: float, how long it has been in this state while we waited.
        record: PushRecord.
        queue_seconds: float, how long it may be queued.

    Raises:
        KaggleError: queued or running for too long.
    """
    advice = "It was not cancelled; python build.py status --wait resumes waiting."
    if state == "QUEUED" and seconds > queue_seconds:
        raise KaggleError(
            f"{name_version(record)} is still queued after {format_time(seconds)}. {advice}"
        )
    if state == "RUNNING" and seconds > record.timeout_hours * 3600 + GRACE_SECONDS:
        raise KaggleError(
            f"{name_version(record)} has run for longer than its time-out of "
            f"{record.timeout_hours:g} h. {advice}"
        )


def say_new_lines(lines: list[tuple], num_shown: int, live: LiveLine) -> int:
    """Read the lines that are new in a log and print the last ones; the number read so far."""
    new = lines[num_shown:]
    if len(new) > LAST_LINES:
        live.say(f"         ... {len(new) - LAST_LINES} lines")
    for line, seconds in new[:-LAST_LINES]:
        live.progress.read(line, seconds)
    for line, seconds in new[-LAST_LINES:]:
        clock = "" if seconds is None else format_time(seconds)
        live.take(line, f"{clock:>7}  {line[:SHOWN_CHARACTERS]}", seconds=seconds)
    return max(num_shown, len(lines))


def explain_failure(
    client: Client, record: PushRecord, run: Path, state: str, say: Callable[[str], None]
) -> str:
    """Why a version ended: the service's message and the kernel's last traceback."""
    message = describe_end(client, record, state)
    text = find_traceback(read_log(client, record, say))
    write_record(run, StatusRecord(state, now(), text))
    return f"{message}\n{text}" if text else message


def describe_end(client: Client, record: PushRecord, state: str) -> str:
    """How a version ended, with the service's message."""
    what = {
        "COMPLETE": "is complete",
        "ERROR": "failed",
        "CANCEL_REQUESTED": "is being cancelled",
        "CANCEL_ACKNOWLEDGED": "was cancelled",
        "NEW_SCRIPT": "was saved but never run",
    }.get(state, f"ended as {state}")
    answer = fetch_state(client, record.kernel, record.version)
    why = f": {answer.failure_message}" if answer.failure_message else ""
    return f"{name_version(record)} {what}{why}"


def read_log(client: Client, record: PushRecord, say: Callable[[str], None]) -> list[LogEntry]:
    """A finished version's log; [], said, where it cannot be had."""
    version = identify_version(record.kernel, record.version)
    try:
        return parse_log(client.call("kernels", "list_kernel_session_output", **version).log)
    except KaggleError as error:
        say(f"the log of {name_version(record)} is not shown: {error}")
        return []


def name_version(record: PushRecord) -> str:
    """A run's version in words."""
    return f"{record.kernel} v{record.version}"


def format_time(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
