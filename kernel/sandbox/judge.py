"""The sandbox's competition: what a submission scores, and both leaderboards."""

import csv
import dataclasses
import datetime
import io
import zlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

FINAL_DATE = "2019-03-30T23:59:00.000Z"  # of the teams that are there from the start


@dataclasses.dataclass(eq=False)
class Judge:
    """Scores submissions by ROC AUC on the two parts of a solution.

    Args:
        solution: DataFrame of id, label and Usage (Public, Private), or the path of such a CSV.
        teams: list of (name, public score, private score) that are on the boards from the start.
        deadline: datetime (UTC, naive) after which submissions are late: scored on both parts,
            not placed. None: the competition stays open and its private part hidden.

    Raises:
        ValueError: a solution without these columns or without both labels in a part.
    """

    solution: Path | pd.DataFrame
    teams: Iterable[tuple] = ()
    deadline: datetime.datetime | None = None

    def __post_init__(self):
        self.solution, self.teams = read_solution(self.solution), list(self.teams)
        self.parts = sorted(set(self.solution["Usage"]), reverse=True)  # Public first

    @property
    def closed(self) -> bool:
        """Whether the deadline has passed."""
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        return self.deadline is not None and now > self.deadline

    def score(self, content: bytes) -> dict[str, float]:
        """ROC AUC of a submission's bytes on each part.

        Raises:
            ValueError: what Kaggle would write as the submission's error.
        """
        try:
            submission = pd.read_csv(io.BytesIO(content), encoding="utf-8-sig", dtype={"id": str})
        except ValueError as error:
            raise ValueError(f"Submission is not a CSV: {error}") from None
        if list(submission.columns) != ["id", "label"]:
            raise ValueError("Submission must have the columns id,label")
        lengths = len(self.solution), len(submission)
        if len(set(lengths)) > 1:
            raise ValueError("Submission must have {:,} rows. This one has {:,}".format(*lengths))
        unknown = set(submission["id"]) - set(self.solution["id"])
        if unknown or submission["id"].duplicated().any():
            raise ValueError("Submission has ids that are not in the solution, or twice")
        numbers = pd.to_numeric(submission["label"], errors="coerce")
        if numbers.isna().any() or not numbers.abs().lt(float("inf")).all():
            raise ValueError("Submission contains labels that are not numbers")
        both = self.solution.merge(submission.assign(prediction=numbers), on="id")
        return {
            part: float(roc_auc_score(rows["label_x"], rows["prediction"]))
            for part, rows in both.groupby("Usage")
        }

    def rank_teams(self, submissions: Iterable[dict], part: str) -> list[tuple]:
        """A board: (team's number, name, score as text, date), best first.

        A team that submitted in time stands by its best submission on the public part.

        Args:
            submissions: all submissions, as the service keeps them.
            part: str, "Public" or "Private".
        """
        rows = [
            (1_000_000 + i, name, scores[part == "Private"], FINAL_DATE)
            for i, (name, *scores) in enumerate(self.teams)
        ]
        placed = [kept for kept in submissions if kept["scores"] and not kept["late"]]
        placed.sort(key=lambda kept: -kept["scores"]["Public"])
        best = {kept["teamName"]: kept for kept in reversed(placed)}
        rows += [
            (make_number(team), team, kept["scores"][part], kept["date"])
            for team, kept in best.items()
        ]
        rows.sort(key=lambda row: (-row[2], row[3]))
        return [(number, name, f"{score:.4f}", date) for number, name, score, date in rows]


def make_number(name: str) -> int:
    """A number of seven digits: the same for the same name."""
    return 2_000_000 + zlib.crc32(name.encode()) % 1_000_000


def read_solution(path: Path | pd.DataFrame) -> pd.DataFrame:
    """A solution, checked, as a DataFrame with columns id (str), label (int), Usage (str).

    Raises:
        ValueError: names the file and what it lacks.
    """
    is_table = isinstance(path, pd.DataFrame)
    table = path if is_table else pd.read_csv(path, dtype={"id": str})

    def expect(is_met: bool, expected: str, received: object) -> None:
        if not is_met:
            name = "the solution" if is_table else path
            raise ValueError(f"{name}: expected {expected}. Received: {received}")

    names = ",".join(map(str, table.columns))
    expect(names == "id,label,Usage", "the columns id,label,Usage", names)
    expect(table["id"].is_unique, "every id once", f"{table['id'].duplicated().sum()} twice")
    usages = sorted(set(table["Usage"].map(str)))
    expect({*usages} <= {"Public", "Private"}, "Usage Public or Private", ", ".join(usages))
    expect("Public" in usages, "rows of Usage Public", "none")
    for part, rows in table.groupby("Usage"):
        labels = sorted(set(rows["label"]))
        expect(labels == [0, 1], f"labels 0 and 1, both in the {part} part", labels)
    return table


def read_teams(path: Path) -> list[tuple[str, float, float]]:
    """Teams of earlier boards from a CSV team,public,private.

    Raises:
        ValueError: other columns, or a score that is not a number; names the file.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [(r["team"], float(r["public"]), float(r["private"])) for r in rows]
    except (KeyError, TypeError, ValueError) as error:
        expected = "expected the columns team,public,private"
        raise ValueError(f"{path}: {expected}. Received: {error}") from None
