"""The log of a kernel: in pieces, as lines with their times, its last traceback."""

import json
from collections.abc import Iterable
from typing import NamedTuple

LAST_LINES = 20  # of a log, which are shown
MAX_SECONDS = 360_000  # what a log says beyond 100 hours is no time
TRACEBACK = "Traceback (most recent call last)"


class LogEntry(NamedTuple):
    """A piece of a kernel's log: its stream, its text, and the seconds since the kernel began."""

    stream: str
    text: str
    seconds: float | None = None


def parse_log(log: str | None) -> list[LogEntry]:
    """A log in pieces; what is not as expected is kept as text."""
    try:
        entries = json.loads(log or "[]")
    except (ValueError, TypeError, RecursionError):
        entries = log
    if not isinstance(entries, list):
        entries = [str(log)]
    return [read_entry(entry) for entry in entries]


def read_entry(entry: object) -> LogEntry:
    """A piece of a log as the service writes it."""
    fields = entry if isinstance(entry, dict) else {"data": entry}
    text, seconds = fields.get("data"), fields.get("time")
    text = "" if text is None else str(text)
    text = text.encode("utf-8", "replace").decode("utf-8")  # surrogates
    is_time = isinstance(seconds, int | float) and 0 <= seconds < MAX_SECONDS
    return LogEntry(str(fields.get("stream_name", "stdout")), text, seconds if is_time else None)


def split_lines(
    entries: Iterable[LogEntry], is_whole: bool = True
) -> list[tuple[str, float | None]]:
    """The lines of a log, each with the time at which it began.

    Args:
        entries: list of LogEntry.
        is_whole: bool, False while the log grows: a last line that may grow is left out.
    """
    lines, is_open = [], False
    for entry in entries:
        for piece in entry.text.splitlines(keepends=True):
            if is_open:
                lines[-1] = (lines[-1][0] + piece, lines[-1][1])
            else:
                lines.append((piece, entry.seconds))
            is_open = not piece.endswith("\n")
    if is_open and not is_whole:
        lines.pop()
    return [(line.rstrip("\r\n"), seconds) for line, seconds in lines]


def find_traceback(entries: list[LogEntry]) -> str:
    """The last traceback in a log, else its last lines."""
    errors = "".join(entry.text for entry in entries if entry.stream == "stderr")
    everything = "".join(entry.text for entry in entries)
    for text in (errors, everything):
        if TRACEBACK in text:
            return text[text.rindex(TRACEBACK) :].rstrip()
    return "\n".join(everything.rstrip().splitlines()[-LAST_LINES:])
