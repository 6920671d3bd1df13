"""The scores of a submission, waited for and recorded."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from ..live import LiveLine
from ..records import SubmissionRecord, read_record, write_record
from ..runs import check_account, check_service
from ..terminal import clean_line
from .client import Client
from .errors import KaggleError

SCORE_SECONDS = 1_800  # how long Kaggle may take to score
POLL_SECONDS = 5
WAITING = "waiting for its score"


def fetch_scores(client: Client, run: Path, say: Callable[[str], None] = print) -> SubmissionRecord:
    """Wait for the scores of a run's submission and record them in submit.json.

    Args:
        client: Client.
        run: Path of the run.
        say: function that prints a line.

    Raises:
        ValueError: another account submitted it.
        KaggleError: nothing was submitted, the submission ended in an error, or no
            score within half an hour.
    """
    check_service(run, client.service)
    record = read_record(run, SubmissionRecord)
    if record is None:
        raise KaggleError(f"{run.name} was not submitted. Try: python build.py submit {run.name}")
    check_account(run, record.account or client.username, client.username)
    until = time.monotonic() + SCORE_SECONDS
    with LiveLine(say) as live:
        while (found := find_scored(client, record.submission)) is None:
            if time.monotonic() > until:
                raise KaggleError(
                    f"submission {record.submission} has no score after "
                    f"{SCORE_SECONDS // 60} minutes. It was not lost: the same command "
                    "resumes waiting."
                )
            if live.progress.text != WAITING:
                live.progress.text = WAITING
                live.say(f"submission {record.submission} is {WAITING}")
            live.pause(POLL_SECONDS * client.pace)
    record = dataclasses.replace(
        record,
        public_score=found.public_score or "",
        private_score=found.private_score or "",
        team=clean_line(found.team_name) or client.username,
    )
    write_record(run, record)
    return record


def find_scored(client: Client, ref: int):
    """A submission with its scores, or None while it is waiting for them.

    Raises:
        KaggleError: it ended in an error; carries Kaggle's reason.
    """
    try:
        found = client.call("competitions", "get_submission", ref=ref)
    except KaggleError as error:
        if error.status == 404:  # a new one may not show yet
            return None
        raise
    if found.status.name == "ERROR":
        reason = (found.error_description or "").strip() or "no reason given"
        raise KaggleError(f"submission {ref} ended in an error: {reason}")
    scored = found.public_score or found.private_score
    return found if found.status.name == "COMPLETE" and scored else None
