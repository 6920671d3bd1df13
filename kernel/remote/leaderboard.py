"""A score's place among all teams: on each board, as text and as a row of a table."""

import csv
import datetime
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pcam_kaggle.system.paths import COMPETITION

from ..board import BoardRow, add_to_board
from ..folders import RUNS
from ..records import ResultRecord, SubmissionRecord, now, read_record
from ..runs import check_service
from .client import Client
from .leaderboard_picture import plot_leaderboard
from .standing import Entry, Standing, list_rows_around, locate_score


def show_leaderboard(
    client: Client,
    run: Path,
    scores: SubmissionRecord,
    runs: Path = RUNS,
    say: Callable[[str], None] = print,
) -> Path:
    """Say where a run's scores stand, add its row to the table, draw the picture.

    Writes runs/leaderboard.csv and leaderboard.png in the run's folder.

    Args:
        client: Client.
        run: Path of the run.
        scores: SubmissionRecord, as `fetch_scores` returns it.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        Path of the picture.
    """
    record = check_service(run, client.service)
    title, late, standings = fetch_standings(client, scores)
    result = read_record(run, ResultRecord) or ResultRecord()
    entry = Entry(
        service=client.service,
        competition=title,
        team=scores.team,
        date=scores.submitted[:10],
        recipe=record.recipe,
        build_id=record.build_id,
        version=record.version,
        submission=scores.submission,
        cv_auc=format_auc(result.oof_auc),
        late=late,
    )
    add_to_board(make_row(entry, standings), runs)
    for line in render_text(entry, standings):
        say(line)
    plot_leaderboard(entry, standings, run / "leaderboard.png")
    return run / "leaderboard.png"


def fetch_standings(client: Client, scores: SubmissionRecord) -> tuple[str, bool, list[Standing]]:
    """The competition, and the standing of a submission on each board that is open.

    Args:
        client: Client.
        scores: SubmissionRecord, as `fetch_scores` returns it.

    Returns:
        The competition's title (str), whether the submission was late (bool), and a
        list of Standing, the public board first.
    """
    competition = client.call("competitions", "get_competition", competition_name=COMPETITION)
    utc_now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    late = bool(competition.deadline) and competition.deadline < utc_now
    own_team = None if late else find_own_team(client)
    boards = (("public", scores.public_score), ("private", scores.private_score))
    standings = [
        locate_score(board, score, fetch_board(client, board == "public"), own_team)
        for board, score in boards
        if score
    ]
    return competition.title or COMPETITION, late, standings


def fetch_board(client: Client, public: bool) -> list[tuple[int, str, str]]:
    """All rows of a board, best first: (team's number, name, score)."""
    rows = client.call_pages(
        "competitions",
        "get_leaderboard",
        "submissions",
        competition_name=COMPETITION,
        override_public=public,
    )
    return [(row.team_id, row.team_name, row.score) for row in rows]


def find_own_team(client: Client) -> int | None:
    """The number of the own team on the public board, by its users; None if absent.

    Team names are not unique, so the downloadable board, which lists users, decides.
    """
    response = client.call("competitions", "download_leaderboard", competition_name=COMPETITION)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        text = archive.read(archive.namelist()[0]).decode("utf-8-sig")
    for row in csv.DictReader(io.StringIO(text)):
        users = [name.strip() for name in row["TeamMemberUserNames"].split(",")]
        if client.username in users:
            return int(row["TeamId"])
    return None


def make_row(entry: Entry, standings: list[Standing]) -> BoardRow:
    """The entry's row for runs/leaderboard.csv."""
    last = standings[-1] if standings else None
    columns = {}
    for standing in standings:
        columns[f"{standing.board}_score"] = standing.score
        columns[f"{standing.board}_rank"] = str(standing.rank)
    if last:
        columns["num_teams"] = str(len(last.teams))
        columns["placed"] = "yes" if last.placed else "no, equivalent rank"
    return BoardRow(
        date=now(),
        service=entry.service,
        recipe=entry.recipe,
        build_id=entry.build_id,
        version=str(entry.version or ""),
        submission=str(entry.submission),
        cv_auc=entry.cv_auc,
        **columns,
    )


def render_text(entry: Entry, standings: list[Standing]) -> Iterator[str]:
    """The picture's content as lines for a terminal."""
    yield f"{entry.competition} ({entry.describe_service()})"
    yield f"team {entry.team}, {entry.describe_build()}"
    for standing in standings:
        place = f"{standing.describe_rank()}, {standing.describe_percentile()}"
        yield f"{standing.board:<8} {standing.score:<8} {place}"
    if not standings[-1].placed:
        yield entry.describe_lateness()
    for rank, name, score, own in list_rows_around(standings[-1], entry.team):
        yield f"{'>' if own else ' '} {rank:>6}  {name[:40]:<40}  {score}"


def format_auc(auc: float | None) -> str:
    """An AUC to four digits, or "unknown"."""
    return f"{auc:.4f}" if auc is not None else "unknown"
