"""One version on Kaggle: its state, its log as it grows, its end."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from ..records import ALIVE, PushRecord, StatusRecord, measure_age, now, read_status, write_record
from ..runs import check_kernel
from .client import Client
from .errors import KaggleError
from .versions import ask_state, fetch_state, identify_version

QUEUE_SECONDS = 3_600  # how long a version may be queued
GRACE_SECONDS = 1_800  # over the version's own time-out before we stop waiting
POLL_SECONDS = 20
SILENT_SECONDS = 300  # after which the state is printed again
SHOWN_LINES = 20  # of the log, at a time
SHOWN_CHARACTERS = 500  # of a line
TRACEBACK = "Traceback (most recent call last)"


class RunFailed(KaggleError):
    """The kernel ended without finishing its work."""


def wait_for_kernel(
    client: Client,
    run: Path,
    wait: bool = True,
    queue_seconds: float = QUEUE_SECONDS,
    say: Callable[[str], None] = print,
) -> str:
    """Wait for the end of the version that was pushed, and say its states.

    Writes status.json beside push.json.

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
    while True:
        before, state = state, update_status(client, record, run)
        now_seconds = time.monotonic()
        if state != before:
            since = now_seconds
        if state != before or now_seconds - said > SILENT_SECONDS * client.pace:
            said = now_seconds
            say(f"{format_time(measure_age(record.pushed))} {name_version(record)} {state}")
        if state == "RUNNING":
            lines = client.read_live_log(record.kernel, record.version)
            num_shown = say_new_lines(lines, num_shown, say)
        if state not in ALIVE or not wait:
            break
        check_patience(state, now_seconds - since, record, queue_seconds)
        time.sleep(POLL_SECONDS * client.pace)
    if state not in (*ALIVE, "COMPLETE"):
        raise RunFailed(explain_failure(client, record, run, state, say))
    if state == "COMPLETE" and wait:
        text = "".join(text for _, text in read_log(client, record, say))
        say_new_lines(text.splitlines(), num_shown, say)
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


def say_new_lines(lines: list[str], num_shown: int, say: Callable[[str], None]) -> int:
    """Print the lines that are new in a log; the number of lines shown so far."""
    new = lines[num_shown:]
    if len(new) > SHOWN_LINES:
        say(f"         ... {len(new) - SHOWN_LINES} lines")
    for line in new[-SHOWN_LINES:]:
        say(f"         {line[:SHOWN_CHARACTERS]}")
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


def read_log(
    client: Client, record: PushRecord, say: Callable[[str], None]
) -> list[tuple[str, str]]:
    """A finished version's log as pairs (stream name, text); [], said, where it cannot be had."""
    version = identify_version(record.kernel, record.version)
    try:
        return parse_log(client.call("kernels", "list_kernel_session_output", **version).log)
    except KaggleError as error:
        say(f"the log of {name_version(record)} is not shown: {error}")
        return []


def parse_log(log: str | None) -> list[tuple[str, str]]:
    """A log as pairs (stream name, text); what is not as expected is kept as text."""
    try:
        entries = json.loads(log or "[]")
    except (ValueError, TypeError, RecursionError):
        entries = log
    if not isinstance(entries, list):
        entries = [str(log)]
    pairs = []
    for entry in entries:
        fields = entry if isinstance(entry, dict) else {"data": entry}
        text = fields.get("data")
        text = "" if text is None else str(text)
        text = text.encode("utf-8", "replace").decode("utf-8")  # surrogates
        pairs.append((str(fields.get("stream_name", "stdout")), text))
    return pairs


def find_traceback(entries: list[tuple[str, str]]) -> str:
    """The last traceback in a log, else its last lines."""
    errors = "".join(text for name, text in entries if name == "stderr")
    everything = "".join(text for _, text in entries)
    for text in (errors, everything):
        if TRACEBACK in text:
            return text[text.rindex(TRACEBACK) :].rstrip()
    return "\n".join(everything.rstrip().splitlines()[-SHOWN_LINES:])


def name_version(record: PushRecord) -> str:
    """A run's version in words."""
    return f"{record.kernel} v{record.version}"


def format_time(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
