"""A run's predictions to the competition: checked first, submitted once."""

import contextlib
import datetime
import functools
import math
import types
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pcam_kaggle.inference.submission import check_submission
from pcam_kaggle.system.files import short_hash, write_beside
from pcam_kaggle.system.paths import COMPETITION

from ..folders import RUNS
from ..locks import locked
from ..records import PushRecord, ResultRecord, SubmissionRecord, now, read_submission, write_record
from ..runs import check_account, check_kernel, check_service, list_records
from .client import Client
from .competition import PAGE, check_joined
from .errors import KaggleError, LostAnswer
from .manifest import check_build, find_wrong
from .once import Note, locate_note, recover, send_once

MAX_MESSAGE = 500  # characters


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
        check_against_sample(client, path, run)
        name = f"submit-{client.service}-{client.username}-{build.partition('=')[2]}"
        with locked(runs, name, say):  # another run may be of the same build
            note_path = locate_note(runs, name)
            found = settle_submission(client, build, note_path, runs, say, send_anyway)
            if found:
                say(f"this build was already submitted (submission {found.ref})")
            else:
                check_allowed(client)
                found = send_submission(client, path, message, build, note_path, runs, say)
            return finish_submission(client, run, note_path, found)


def settle_submission(
    client: Client,
    build: str,
    note_path: Path,
    runs: Path,
    say: Callable[[str], None],
    send_anyway: bool,
):
    """The submission of a build that was recorded, interrupted or made elsewhere, or None."""
    found = find_recorded(client, build, runs)
    if found is None:
        recovered = recover(
            client, note_path, functools.partial(find_sent, client), say, send_anyway
        )
        found = recovered[1] if recovered else find_submission(client, build)
    return found


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


def check_output(run: Path, record: PushRecord) -> ResultRecord:
    """A run's run.json, if its output is there and is a submission.

    Raises:
        KaggleError: no output, one of another build, or one that predicts nothing.
    """
    remedy = f"Try: python build.py output {run.name}"
    if not (run / "run.json").is_file():
        raise KaggleError(f"{run / 'run.json'} is not there. {remedy}")
    result = check_build(run, record)
    if "submission.csv" not in result.files:
        raise KaggleError(
            f"{run.name} has no submission.csv among its files: a study, an "
            "exploration or smoke submits nothing. Expected: a run of a recipe that predicts; "
            "the run.json of a study names the settings of its highest trial"
        )
    if not (run / "submission.csv").is_file():
        raise KaggleError(f"{run / 'submission.csv'} is not there. {remedy}")
    _, damaged, _ = find_wrong(run, result, ["submission.csv"])
    if damaged:
        raise KaggleError(
            f"{run / 'submission.csv'} was changed. Expected: the size and sha256 in run.json. "
            f"Received: others. {remedy}, which downloads it again"
        )
    return result


def name_build(run: Path, result: ResultRecord) -> str:
    """What a submission's description carries and is found by: build=<id>.

    Of an unfinished run build=<id>-<hash>, so that the whole run can be submitted, too.
    """
    build = f"build={result.build_id}"
    if result.manifest is None or (result.complete and not result.not_trained):
        return build
    return f"{build}-{short_hash((run / 'submission.csv').read_bytes())}"


def make_message(record: PushRecord, result: ResultRecord, build: str, message: str | None) -> str:
    """The submission's description; always with the build id, by which it is found.

    Raises:
        ValueError: a message that is too long.
    """
    if message is None:
        settings = result.settings or {}  # a blend has none
        words = [record.recipe]
        if settings.get("num_folds"):
            folds = settings.get("folds")
            num_folds = len(folds) if isinstance(folds, list) and folds else settings["num_folds"]
            words.append(f"{num_folds}x")
        if settings.get("tta"):
            words.append(settings["tta"])
        if build != f"build={record.build_id}":
            words.append("unfinished")
        auc = result.oof_auc
        known = auc is not None and math.isfinite(auc)
        words.append(f"cv={auc:.4f}" if known else "cv=unknown")
        message = " ".join(words)
    if not has_build(message, build):
        message = f"{message} {build}".strip()
    if len(message) > MAX_MESSAGE:
        raise ValueError(
            f"--message: expected at most {MAX_MESSAGE} characters with the build id. "
            f"Received: {len(message)}"
        )
    return message


def check_against_sample(client: Client, path: Path, run: Path) -> None:
    """Compare a submission with the competition's own sample, downloaded once a run.

    A kept sample that does not match is downloaded again, once: it may be damaged.

    Raises:
        ValueError: a table that is damaged, or does not match the sample.
    """
    submission = read_table(path)
    sample = run / "sample_submission.csv"
    if sample.is_file():
        with contextlib.suppress(ValueError):
            check_submission(submission, read_table(sample)["id"])
            return
    with write_beside(sample) as partial:
        client.download_data_file(COMPETITION, sample.name, partial)
        ids = read_table(partial)["id"]
    try:
        check_submission(submission, ids)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_table(path: Path) -> pd.DataFrame:
    """A CSV with a column id, as text.

    Raises:
        ValueError: it is not such a table; names the file.
    """
    try:
        table = pd.read_csv(path, dtype={"id": str})
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a CSV id,label. Received: {error}") from None
    if list(table.columns) != ["id", "label"] or table.empty:
        columns = ",".join(map(str, table.columns))
        raise ValueError(
            f"{path}: expected a CSV id,label. Received: {len(table)} rows of {columns[:80]}"
        )
    return table


def has_build(description: str, build: str) -> bool:
    """Whether a description ends with a build, as `name_build` returns it."""
    return description.split()[-1:] == [build]


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
        midnight = datetime.datetime.now(datetime.UTC).replace(
            hour=0, minute=0, second=0
        ) + datetime.timedelta(days=1)
        wait = midnight - datetime.datetime.now(datetime.UTC)
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
