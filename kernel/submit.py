"""A run's predictions to the competition, once, and their scores back."""

import datetime
import time

import pandas as pd

from pcam_kaggle.paths import COMPETITION
from pcam_kaggle.recipes import get_config
from pcam_kaggle.submission import check_submission

from .client import KaggleError, LostAnswer
from .output import check_build
from .runs import RUNS, check_service, locked, now, read_record, write_record

SCORE_SECONDS = 1_800  # how long Kaggle may take to score
POLL_SECONDS = 5
MAX_MESSAGE = 500  # characters


def submit_predictions(client, run, message=None, runs=RUNS, say=print):
    """Submit a run's submission.csv, unless its build was submitted before.

    Writes submit.json beside push.json.

    Args:
        client: Client.
        run: Path of the run, its output downloaded.
        message: str, the submission's description; None for
            "<recipe> <folds>x <tta> cv=<auc> build=<id>". The build is always in it.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        int, the submission's number.

    Raises:
        ValueError: a submission.csv that does not match the competition's sample.
        KaggleError: an output of another build, no submissions left today, a
            competition not joined or closed, an answer that was lost and a submission
            that does not show.
    """
    record = check_service(run, client)
    path = run / "submission.csv"
    if "study" in read_record(run, "run.json"):
        raise KaggleError(
            f"{run.name} is a study and predicts nothing. Expected: a run of its "
            "winner's settings, which run.json names"
        )
    for needed in (path, run / "run.json"):
        if not needed.is_file():
            raise KaggleError(
                f"{needed} is not there. Expected: python build.py output first"
            )
    check_build(run / "run.json", record)
    message = make_message(run, record, message)
    with locked(runs, run.name, say):
        check_with_sample(client, path, run)
        found = find_submission(client, record["build_id"])
        if found:
            ref, message = found.ref, found.description
            say(f"submission {ref} is of this build: not sent again")
        else:
            check_allowed(client, say)
            ref = send(client, path, message, record["build_id"], say)
        if read_record(run, "submit.json").get("submission") != ref:
            submission = {"submission": ref, "message": message, "submitted": now()}
            write_record(run, "submit.json", submission)
    return ref


def fetch_scores(client, run, say=print):
    """Wait for the scores of a run's submission; note them down in submit.json.

    Returns:
        dict: submission, message, submitted, public_score and private_score (str, ""
        where Kaggle keeps it hidden), team.

    Raises:
        KaggleError: nothing was submitted, the submission ended in an error, or no
            score within half an hour.
    """
    check_service(run, client)
    record = read_record(run, "submit.json")
    if not record:
        raise KaggleError(f"{run.name} was not submitted. Expected: build.py submit")
    until = time.monotonic() + SCORE_SECONDS
    said = False
    while (found := look_up(client, record["submission"])) is None:
        if time.monotonic() > until:
            raise KaggleError(
                f"submission {record['submission']} has no score after "
                f"{SCORE_SECONDS // 60} minutes. It was not lost: the same command "
                "goes on waiting."
            )
        if not said:
            say(f"submission {record['submission']} waits for its score")
        said = True
        time.sleep(POLL_SECONDS * client.pace)
    scores = {
        "public_score": found.public_score or "",
        "private_score": found.private_score or "",
        "team": found.team_name or client.username,
    }
    write_record(run, "submit.json", {**record, **scores})
    return {**record, **scores}


def make_message(run, record, message):
    """The submission's description; always with the build id, by which it is found."""
    build = f"build={record['build_id']}"
    if message is None and record["settings"] is None:  # a blend
        auc = read_record(run, "run.json")["oof_auc"]
        message = f"{record['recipe']} cv={auc:.4f}"
    if message is None:
        config = get_config(record["recipe"], record["settings"])
        auc = read_record(run, "run.json").get("oof_auc")
        cv = f"{auc:.4f}" if auc is not None else "unknown"
        num_folds = len(config.folds) or config.num_folds
        message = f"{record['recipe']} {num_folds}x {config.tta} cv={cv}"
    if build not in message:
        message = f"{message} {build}"
    if len(message) > MAX_MESSAGE:
        raise ValueError(
            f"--message: expected at most {MAX_MESSAGE} characters with the build id. "
            f"Received: {len(message)}"
        )
    return message


def check_with_sample(client, path, run):
    """Compare a submission with the competition's own sample, fetched once a run."""
    sample = run / "sample_submission.csv"
    if not sample.exists():
        partial = run / "partial-sample_submission.csv"
        try:
            client.download_data_file(COMPETITION, sample.name, partial)
            partial.replace(sample)
        finally:
            partial.unlink(missing_ok=True)
    tables = []
    for table in (path, sample):
        try:
            tables.append(pd.read_csv(table, dtype={"id": str}))
        except (ValueError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{table}: expected a CSV id,label. Received: {error}"
            ) from None
    submission, sample_table = tables
    try:
        check_submission(submission, sample_table["id"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def find_submission(client, build_id):
    """The account's latest submission of a build that did not fail, or None."""
    for submission in client.call_pages(
        "competitions",
        "list_submissions",
        "submissions",
        competition_name=COMPETITION,
    ):
        same = f"build={build_id}" in (submission.description or "")
        if same and submission.status.name != "ERROR":
            return submission
    return None


def check_allowed(client, say):
    """Refuse to submit where Kaggle would; say it where it may.

    Raises:
        KaggleError: closed, or no submission left today.
    """
    competition = client.call(
        "competitions", "get_competition", competition_name=COMPETITION
    )
    page = f"https://www.kaggle.com/c/{COMPETITION}"
    if competition.submissions_disabled:
        raise KaggleError(f"{COMPETITION} takes no submissions any more. See {page}")
    if not competition.user_has_entered:
        say(
            f"{client.username} seems not to have joined {COMPETITION}. Accept the "
            f"rules, once, at {page}/rules"
        )
    limits = client.call(
        "competitions", "get_submission_limits", competition_name=COMPETITION
    )
    if limits.num_allowed_now < 1:
        midnight = datetime.datetime.now(datetime.UTC).replace(
            hour=0, minute=0, second=0
        ) + datetime.timedelta(days=1)
        wait = midnight - datetime.datetime.now(datetime.UTC)
        raise KaggleError(
            f"no submission is left today: {limits.num_today} were sent. Kaggle counts "
            f"anew at midnight UTC, in {wait.total_seconds() / 3600:.1f} h. Nothing "
            "was sent; the same command goes on from here."
        )


def send(client, path, message, build_id, say):
    """Upload and submit once; the submission's number."""
    token = client.upload(
        path,
        "competitions",
        "start_submission_upload",
        competition_name=COMPETITION,
        file_name=path.name,
    )
    try:
        answer = client.call(
            "competitions",
            "create_submission",
            competition_name=COMPETITION,
            blob_file_tokens=token,
            submission_description=message,
        )
    except LostAnswer as error:
        say(f"{error} Looking whether it arrived.")
        return find_lost_submission(client, build_id)
    if not answer.ref:
        raise KaggleError(f"Kaggle refused the submission: {answer.message}")
    return answer.ref


def find_lost_submission(client, build_id):
    """The number of the submission whose answer was lost.

    Raises:
        KaggleError: none shows; the same command may be given again.
    """
    for _ in range(5):
        found = find_submission(client, build_id)
        if found:
            return found.ref
        time.sleep(3 * client.pace)
    raise KaggleError(
        "the answer to the submission was lost and none of this build shows on Kaggle. "
        "Give the same command again: it looks before it sends."
    )


def look_up(client, ref):
    """A submission with its scores, or None while it waits for them.

    Raises:
        KaggleError: it ended in an error; carries Kaggle's reason.
    """
    try:
        found = client.call("competitions", "get_submission", ref=ref)
    except KaggleError as error:
        if error.status == 404:  # one just sent may not show yet
            return None
        raise
    if found.status.name == "ERROR":
        reason = (found.error_description or "").strip() or "no reason given"
        raise KaggleError(f"submission {ref} ended in an error: {reason}")
    scored = found.public_score or found.private_score
    return found if found.status.name == "COMPLETE" and scored else None
