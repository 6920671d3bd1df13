"""runs/leaderboard.csv: a row for every submission whose place was looked up."""

import csv
import dataclasses
from pathlib import Path

from pcam_kaggle.system.files import write_beside

from .folders import RUNS
from .locks import locked

KEY = ("service", "build_id", "submission")


@dataclasses.dataclass(frozen=True)
class BoardRow:
    """A submission's scores and ranks, all as text, "" where one is not known.

    Attributes:
        date: when the place was looked up (UTC, ISO 8601).
        service: "Kaggle" or "sandbox".
        recipe, build_id, version: the run; a blend has no version.
        submission: its number on the service.
        cv_auc: AUC out of fold, or "unknown".
        public_score, private_score, public_rank, private_rank: by board.
        num_teams: how many teams the last board has.
        placed: "yes" if the board lists the team, "no, equivalent rank" for a late
            submission.
    """

    date: str = ""
    service: str = ""
    recipe: str = ""
    build_id: str = ""
    version: str = ""
    submission: str = ""
    cv_auc: str = ""
    public_score: str = ""
    private_score: str = ""
    public_rank: str = ""
    private_rank: str = ""
    num_teams: str = ""
    placed: str = ""


COLUMNS = tuple(field.name for field in dataclasses.fields(BoardRow))


def read_board(runs: Path = RUNS) -> list[BoardRow]:
    """The rows of runs/leaderboard.csv, the oldest first.

    Raises:
        ValueError: the file was saved by another program, which may have changed numbers.
    """
    path = runs / "leaderboard.csv"
    if not path.exists():
        return []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{name: row.get(name) or "" for name in COLUMNS} for row in reader]
        if not set(KEY) <= set(reader.fieldnames or ()):
            raise csv.Error("columns are missing")
        return [BoardRow(**row) for row in rows]
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(
            f"{path}: expected the table as build.py wrote it, UTF-8 with commas and the "
            f"columns {', '.join(COLUMNS)}. Received: another, perhaps saved by a "
            "spreadsheet. Try: move it away; python build.py leaderboard RUN writes the row "
            "of a run again"
        ) from None


def add_to_board(row: BoardRow, runs: Path = RUNS) -> None:
    """Write a row to runs/leaderboard.csv, in the place of its earlier one."""

    def find_key(other):
        return [getattr(other, name) for name in KEY]

    with locked(runs, "leaderboard"):
        rows = [other for other in read_board(runs) if find_key(other) != find_key(row)]
        with (
            write_beside(runs / "leaderboard.csv") as partial,
            open(partial, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(dataclasses.asdict, [*rows, row]))
