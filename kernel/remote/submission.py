"""A run's submission.csv: checked before it is sent, and described."""

import contextlib
import math
from pathlib import Path

import pandas as pd

from pcam_kaggle.inference.submission import check_submission
from pcam_kaggle.system.files import short_hash, write_beside
from pcam_kaggle.system.paths import COMPETITION

from ..records import PushRecord, ResultRecord
from .client import Client
from .errors import KaggleError
from .manifest import check_build, find_wrong

MAX_MESSAGE = 500  # characters


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


def check_against_sample(client: Client, run: Path) -> None:
    """Compare a run's submission with the competition's own sample, downloaded once a run.

    A kept sample that does not match is downloaded again, once: it may be damaged.

    Raises:
        ValueError: a table that is damaged, or does not match the sample.
    """
    path, sample = run / "submission.csv", run / "sample_submission.csv"
    submission = read_table(path)
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
