"""A run's predictions to the competition: checked first, submitted once."""

import datetime
import functools
import types
from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.system.paths import COMPETITION

from ..folders import RUNS
from ..locks import locked
from ..records import SubmissionRecord, now, read_submission, write_record
from ..runs import check_account, check_kernel, check_service, list_records
from .client import Client
from .competition import PAGE, check_joined
from .errors import KaggleError, LostAnswer
from .once import Note, locate_note, recover, send_once
from .submission import check_against_sample, check_output, has_build, make_message, name_build


def submit_predictions(
    client: Client,
    run: Path,
    message: str | None = None,
    runs: Path = RUNS,
    say: Callable[[str], None] = print,
    send_anyway: bool = False,
) -> int:
    """Submit a run's submission.csv, unless its build was submitted before.

    Writes submit.json beside push.json. What is recorded there counts, whether or not the
    service lists it.

    Args:
        client: Client.
        run: Path of the run, its output downloaded.
        message: str, the submission's description; None for
            "<recipe> <folds>x <tta> cv=<auc> build=<id>". The build is always in it, of
            an unfinished run with a hash of its predictions: the whole run is another
            submission.
        runs: Path of the folder of runs.
        say: function that prints a line.
        send_anyway: bool, submit although the outcome of an earlier attempt does not show.

    Returns:
        int, the submission's number.

    Raises:
        ValueError: a submission.csv that does not match the competition's sample; a run of
            another account.
        Undecided: an attempt was interrupted or its answer lost, and no submission shows.
        KaggleError: a run that predicts nothing, an output of another build, no
            submissions left today, a competition not joined or closed.
    """
    with locked(runs, run.name, say):
        record = check_service(run, client.service)
        if record.kernel:
            check_kernel(run, client)
        earlier = read_submission(run)
        if earlier and earlier.account:
            check_account(run, earlier.account, client.username)
        path = run / "submission.csv"
        result = check_output(run, record)
        build = name_build(run, result)
        message = make_message(record, result, build, message)
        check_against_sample(client, run)
        name = f"submit-{client.service}-{client.username}-{build.partition('=')[2]}"
        with locked(runs, name, say):  # another run may be of the same build
            note_path = locate_note(runs, name)
            found = find_recorded(client, build, runs)
            if found is None:
                find = functools.partial(find_sent, client)
                recovered = recover(client, note_path, find, say, send_anyway)
                found = recovered[1] if recovered else find_submission(client, build)
            if found:
                say(f"this build was already submitted (submission {found.ref})")
            else:
                check_allowed(client)
                found = send_submission(client, path, message, build, note_path, runs, say)
            return finish_submission(client, run, note_path, found)


def finish_submission(client: Client, run: Path, note_path: Path, found: object) -> int:
    """Record a submission, unless it is, and remove the note of its sending; its number.

    Args:
        client: Client.
        run: Path of the run.
        note_path: Path of the note.
        found: the submission, with its number `ref` and its `description`.
    """
    earlier = read_submission(run)
    if earlier is None or earlier.submission != found.ref:
        record = SubmissionRecord(found.ref, client.username, found.description, now())
        write_record(run, record)
    note_path.unlink(missing_ok=True)
    return found.ref


def list_same(client: Client, build: str) -> list:
    """The account's submissions of a build, the latest first."""
    submissions = client.call_pages(
        "competitions", "list_submissions", "submissions", competition_name=COMPETITION
    )
    return [found for found in submissions if has_build(found.description or "", build)]


def find_submission(client: Client, build: str):
    """The account's latest submission of a build that did not fail, or None."""
    return next((found for found in list_same(client, build) if not has_failed(found)), None)


def has_failed(found: object) -> bool:
    """Whether a submission ended in an error."""
    return found.status is not None and found.status.name == "ERROR"


def find_sent(client: Client, note: Note):
    """The submission that an attempt has made, or None while it does not show."""
    return next((f for f in list_same(client, note.mark) if f.ref not in note.known), None)


def find_recorded(client: Client, build: str, runs: Path):
    """The account's submission of a build in the submit.json of any run, or None.

    One that failed is not returned.
    """
    for record in list_recorded(client, build, runs):
        try:
            found = client.call("competitions", "get_submission", ref=record.submission)
        except KaggleError as error:
            if error.status not in (403, 404):
                raise
            found = None  # it does not show yet
        if found is None or not has_failed(found):
            return types.SimpleNamespace(ref=record.submission, description=record.message)
    return None


def list_recorded(client: Client, build: str, runs: Path) -> list[SubmissionRecord]:
    """The account's submissions of a build in the submit.json of all runs."""
    pairs = [(push, read_submission(run)) for run, push in reversed(list_records(runs))]
    return [
        record
        for push, record in pairs
        if record is not None
        and push.service == client.service
        and record.account in ("", client.username)
        and has_build(record.message, build)
    ]


def check_allowed(client: Client) -> None:
    """Refuse to submit where Kaggle would.

    Raises:
        KaggleError: not joined, closed, or no submission left today.
    """
    if check_joined(client).submissions_disabled:
        raise KaggleError(f"{COMPETITION} no longer accepts submissions. See {PAGE}")
    limits = client.call("competitions", "get_submission_limits", competition_name=COMPETITION)
    if limits.num_allowed_now < 1:
        time = datetime.datetime.now(datetime.UTC)
        wait = time.replace(hour=0, minute=0, second=0) + datetime.timedelta(days=1) - time
        raise KaggleError(
            f"no submission is left today: {limits.num_today} were made. Kaggle resets "
            f"the count at midnight UTC, in {wait.total_seconds() / 3600:.1f} h. "
            "Nothing was submitted; the same command resumes from here."
        )


def send_submission(
    client: Client,
    path: Path,
    message: str,
    build: str,
    note_path: Path,
    runs: Path,
    say: Callable[[str], None],
):
    """Upload and submit once; the submission, with its number `ref`.

    Raises:
        Undecided: the answer was lost and no submission shows.
        KaggleError: what Kaggle refused.
    """
    known = [found.ref for found in list_same(client, build)]
    known += [record.submission for record in list_recorded(client, build, runs)]
    token = client.upload(
        path,
        "competitions",
        "start_submission_upload",
        competition_name=COMPETITION,
        file_name=path.name,
    )

    def send():
        answer = client.call(
            "competitions",
            "create_submission",
            competition_name=COMPETITION,
            blob_file_tokens=token,
            submission_description=message,
        )
        if type(answer.ref) is not int or answer.ref < 1:
            raise LostAnswer(f"the answer to the submission has no number: {answer.message}.")
        return types.SimpleNamespace(ref=answer.ref, description=message)

    note = Note(
        what="submission",
        expected=f"a submission whose description has {build}",
        page=f"{PAGE}/submissions",
        known=known,
        mark=build,
        content={},
    )
    return send_once(client, note_path, note, send, functools.partial(find_sent, client), say)
