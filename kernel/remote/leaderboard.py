"""A score's place among all teams: on each board, as text and as a row of a table."""

import csv
import datetime
import functools
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pcam_kaggle.system.paths import COMPETITION

from ..board import BoardRow, add_to_board
from ..folders import RUNS
from ..records import ResultRecord, SubmissionRecord, now, read_record
from ..runs import check_service
from ..terminal import clean_line
from .client import Client
from .errors import KaggleError
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
        team=clean_line(scores.team),
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
    return clean_line(competition.title) or COMPETITION, late, standings


def fetch_board(client: Client, public: bool) -> list[tuple[int, str, str]]:
    """The rows of a board that have a score, best first: (team's number, name, score)."""
    rows = client.call_pages(
        "competitions",
        "get_leaderboard",
        "submissions",
        competition_name=COMPETITION,
        override_public=public,
    )
    return [
        (row.team_id, clean_line(row.team_name), row.score.strip())
        for row in rows
        if is_number(row.score)
    ]


def is_number(score: str | None) -> bool:
    """Whether a row has a score: it may be blank, or a word."""
    try:
        return math.isfinite(float(score or ""))
    except ValueError:
        return False


def find_own_team(client: Client) -> int | None:
    """The number of the own team on the public board, by its users; None if absent.

    Team names are not unique, so the downloadable board, which lists users, decides.

    Raises:
        KaggleError: the downloaded board is not a table with teams and their users.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leaderboard.csv"
        fields = {"competition_name": COMPETITION}
        ask = functools.partial(client.call, "competitions", "download_leaderboard", **fields)
        client.download(ask, path, unzip=True)
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    users = row["TeamMemberUserNames"] or ""
                    if client.username in map(str.strip, users.split(",")):
                        return int(row["TeamId"])
        except (KeyError, TypeError, ValueError, csv.Error):
            raise KaggleError(
                "the download of the board: expected a table with TeamId and "
                "TeamMemberUserNames. Received: another. Try: later"
            ) from None
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
        tie, share = standing.describe_tie(), standing.describe_percentile()
        place = ", ".join(filter(None, (standing.describe_rank(), tie, share)))
        yield f"{standing.board:<8} {standing.score:<8} {place}"
        if standing.medal_lines:
            yield f"{'':<17} {standing.describe_medal()}"
    if not standings[-1].placed:
        yield entry.describe_lateness()
    for rank, name, score, own in list_rows_around(standings[-1], entry.team):
        yield f"{'>' if own else ' '} {rank:>6}  {name[:40]:<40}  {score}"


def format_auc(auc: float | None) -> str:
    """An AUC to four digits, or "unknown"."""
    return f"{auc:.4f}" if auc is not None else "unknown"
