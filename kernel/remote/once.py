"""Writes that are carried out once: noted before they are sent, settled afterwards.

A write that was interrupted, or whose answer was lost, may have been carried out. Its note
stays until the service shows the outcome, and nothing else is sent before that. (Method:
AWS Builders' Library, "Making retries safe with idempotent APIs"; Kaggle takes no request
token, so the outcome is recognized by its content.)
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pcam_kaggle.system.files import read_json, write_json

from ..records import make_record, measure_age, now
from . import versions
from .client import Client
from .errors import KaggleError, LostAnswer

LOOK_SECONDS = 5  # between two looks
MIN_LOOKS = 3  # for a write that was sent longer ago than that
TEMPORARY_FAILURE = 75  # exit code, EX_TEMPFAIL of sysexits.h

Outcome = TypeVar("Outcome")


@dataclasses.dataclass(frozen=True)
class Note:
    """A write that was sent, or is about to be, and whose outcome is not recorded yet.

    Attributes:
        what: str, the write in words.
        expected: str, the outcome in words.
        page: str, the URL where the user can look for it.
        known: list of int, the numbers that were there before.
        mark: str, what the outcome is recognized by.
        content: dict, what is to be recorded with the outcome.
        started: str, when it was sent (UTC, ISO 8601).
    """

    what: str
    expected: str
    page: str
    known: list
    mark: str
    content: dict
    started: str = ""


class Undecided(KaggleError):
    """A write may have been carried out or not; the user decides."""

    exit_code = TEMPORARY_FAILURE


def locate_note(runs: Path, name: str) -> Path:
    """Where the note of a write is kept, of a name such as "push-Kaggle-owner-slug"."""
    return runs / ".sending" / f"{name}.json"


def send_once(
    client: Client,
    path: Path,
    note: Note,
    send: Callable[[], Outcome],
    find: Callable[[Note], Outcome | None],
    say: Callable[[str], None],
) -> Outcome:
    """Send a write under a note, which the caller removes once it has recorded the outcome.

    The note is written right before the request is sent, so that a command that ends earlier
    leaves none.

    Args:
        client: Client.
        path: Path of the note, as `locate_note` returns it.
        note: Note, without the time.
        send: function that sends the write and returns its outcome.
        find: function of a note that returns the outcome, or None while it does not show.
        say: function that prints a line.

    Raises:
        Undecided: the answer was lost and no outcome shows; the note stays.
        KaggleError: the write was refused; the note is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def mark(is_sent):
        nonlocal note
        if is_sent:
            note = dataclasses.replace(note, started=now())
            write_json(path, note)
        else:
            path.unlink(missing_ok=True)

    client.transport.on_write = mark
    try:
        return send()
    except LostAnswer as error:
        say(f"{error} Searching for it.")
        outcome = wait_for_outcome(client, note, find)
        if outcome is None:
            raise make_undecided(client, note) from None
        return outcome
    except KaggleError:
        path.unlink(missing_ok=True)
        raise
    finally:
        client.transport.on_write = None


def recover(
    client: Client,
    path: Path,
    find: Callable[[Note], Outcome | None],
    say: Callable[[str], None],
    send_anyway: bool = False,
) -> tuple[Note, Outcome] | None:
    """Find what became of an earlier write that was never settled.

    Args:
        client, path, find, say: as `send_once` takes them.
        send_anyway: bool, drop a note whose outcome does not show.

    Returns:
        The note and the outcome; None where there is no note (any more).

    Raises:
        ValueError: a note that was damaged; names it.
        Undecided: no outcome shows.
    """
    if not path.exists():
        return None
    try:
        note = make_record(Note, read_json(path), path)
    except ValueError as error:
        raise ValueError(
            f"{error}. Something may have been sent and not recorded. Try: look at Kaggle's page, "
            "then delete this file"
        ) from None
    seconds = max(0, versions.SHOW_SECONDS * client.pace - measure_age(note.started))
    say(
        f"the {note.what}, {note.started[:16].replace('T', ' ')} UTC, was interrupted; searching "
        f"for it for up to {f'{seconds / 60:.0f} min' if seconds > 90 else f'{seconds:.0f} s'}"
    )
    outcome = wait_for_outcome(client, note, find)
    if outcome is not None:
        return note, outcome
    if not send_anyway:
        raise make_undecided(client, note)
    say("it does not show; sending again, as asked")
    path.unlink(missing_ok=True)
    return None


def make_undecided(client: Client, note: Note) -> Undecided:
    """The error for a write whose outcome does not show."""
    return Undecided(
        f"the {note.what} may have been sent, and {client.service} does not show it. Expected: "
        f"{note.expected}. Try: look at {note.page}. If it is there, repeat the command; if it is "
        "not, repeat it with --send-anyway"
    )


def wait_for_outcome(
    client: Client, note: Note, find: Callable[[Note], Outcome | None]
) -> Outcome | None:
    """The outcome of a noted write, or None where it does not show.

    Raises:
        Undecided: the service could not be asked.
    """
    try:
        return wait_until_shown(client, lambda: find(note), note.started)
    except KaggleError as error:
        raise Undecided(f"the {note.what} may have been sent. {error}") from None


def wait_until_shown(
    client: Client, find: Callable[[], Outcome | None], sent: str
) -> Outcome | None:
    """What the service shows of a write, waited for up to SHOW_SECONDS after it was sent.

    Args:
        client: Client.
        find: function that returns it, or None while it does not show.
        sent: str, when it was sent (UTC, ISO 8601).

    Raises:
        KaggleError: the service could not be asked, to the end.
    """
    patience = versions.SHOW_SECONDS * client.pace
    until = time.monotonic() + max(0, patience - measure_age(sent))
    num_looks = 0
    while True:
        failure = None
        try:
            found = find()
        except KaggleError as error:
            if error.status and error.status < 500:
                raise
            found, failure = None, error  # such as a network that is down for a while
        num_looks += 1
        is_over = num_looks >= MIN_LOOKS and time.monotonic() > until
        if failure and is_over:
            raise failure
        if found is not None or is_over:
            return found
        time.sleep(LOOK_SECONDS * client.pace)
