"""The standing of a score, its row, its text and its picture."""

import dataclasses
import datetime

import pytest
from conftest import SLUG, read_rows
from PIL import Image

from kernel.board import BoardRow, read_board
from kernel.records import PushRecord, ResultRecord, SubmissionRecord, write_record
from kernel.remote.client import Client
from kernel.remote.leaderboard import fetch_standings, render_text, show_leaderboard
from kernel.remote.leaderboard_picture import plot_leaderboard
from kernel.remote.standing import Entry, list_rows_around, locate_score
from kernel.sandbox import submissions
from kernel.sandbox.demo import SHIPPED
from kernel.sandbox.judge import read_teams

TEAMS = [("A", 0.99, 0.9), ("B", 0.95, 0.96), ("B", 0.95, 0.94), ("C", 0.5, 0.6)]
PAST = datetime.datetime(2019, 3, 30)
BOARD = [(1, "A", "0.99"), (2, "B", "0.95"), (3, "B", "0.95"), (4, "C", "0.50")]
ENTRY = Entry(
    service="Kaggle",
    competition="Histopathologic Cancer Detection",
    team="a team",
    date="2026-11-24",
    recipe="fast",
    build_id="0123456789",
    version=3,
    submission=7,
    cv_auc="0.9731",
    late=True,
)


def submit(sandbox, user="sandbox"):
    """A submission of a user's, straight to the service; its number."""
    service = sandbox.service
    token = submissions.start_upload(service, user, {"fileName": "s.csv"})["token"]
    ids = list(service.judge.solution["id"])
    labels = list(service.judge.solution["label"])
    labels[0] = 1 - labels[0]  # not perfect
    rows = [f"{i},{label}" for i, label in zip(ids, labels)]
    service.uploads[token] = ("s.csv", "\n".join(["id,label", *rows]).encode())
    request = {"competitionName": SLUG, "blobFileTokens": token}
    return submissions.create_submission(service, user, request)["ref"]


def make_scores(sandbox, ref):
    service = sandbox.service
    shown = submissions.show_submission(service, service.state["submissions"][ref - 1])
    return SubmissionRecord(
        submission=ref,
        submitted="2026-11-24T00:00:00",
        team="sandbox",
        public_score=shown["publicScore"],
        private_score=shown.get("privateScore", ""),
    )


@pytest.mark.parametrize(
    "score, rank, words",
    [
        ("1.0", 1, "ahead of 100.0 % of teams"),
        ("0.95", 2, "ahead of 75.0 % of teams"),
        ("0.949", 4, "ahead of 25.0 % of teams"),
        ("0.1", 5, "ahead of 0.0 % of teams"),
    ],
)
def test_a_late_score_has_an_equivalent_rank(score, rank, words):
    standing = locate_score("private", score, BOARD)
    assert (standing.rank, standing.placed) == (rank, False)
    assert standing.describe_percentile() == words
    own = [row for row in list_rows_around(standing, "me") if row[3]]
    assert own == [(f"({rank})", "me", score, True)]


def test_a_placed_team_is_found_by_its_number_not_its_name():
    standing = locate_score("public", "0.90", BOARD, own_team=3)
    assert (standing.rank, standing.placed) == (3, True)
    assert standing.describe_rank() == "rank 3 of 4 by its 0.95"
    assert [row[3] for row in list_rows_around(standing, "B")] == [False, False, True, False]


def test_an_open_competition_places_the_team(open_sandbox):
    sandbox = open_sandbox(teams=TEAMS)
    ref = submit(sandbox)
    title, late, standings = fetch_standings(Client(), make_scores(sandbox, ref))
    assert (title, late) == ("Histopathologic Cancer Detection", False)
    (public,) = standings
    names = [name for name, _ in public.teams]
    assert public.placed and names[public.rank - 1] == "sandbox"


def test_after_the_deadline_both_boards_are_given_and_nobody_is_moved(open_sandbox):
    sandbox = open_sandbox(teams=TEAMS, deadline=PAST)
    ref = submit(sandbox)
    _, late, standings = fetch_standings(Client(), make_scores(sandbox, ref))
    assert late and [s.board for s in standings] == ["public", "private"]
    assert [name for name, _ in standings[0].teams] == ["A", "B", "B", "C"]
    assert [name for name, _ in standings[1].teams] == ["B", "B", "A", "C"]
    for standing in standings:
        better = sum(float(s) > float(standing.score) for _, s in standing.teams)
        assert standing.rank == better + 1 and not standing.placed


def test_a_board_of_many_pages_is_read_whole(open_sandbox):
    teams = read_teams(SHIPPED / "final_boards.csv")
    sandbox = open_sandbox(teams=teams, deadline=PAST)
    _, _, (public, private) = fetch_standings(Client(), make_scores(sandbox, submit(sandbox)))
    assert len(public.teams) == len(private.teams) == 1149
    assert sandbox.calls.count("GetLeaderboard") == 2 * 6


def test_the_row_the_text_and_the_picture_say_the_same(open_sandbox, tmp_path, capsys):
    sandbox = open_sandbox(teams=TEAMS, deadline=PAST)
    scores = make_scores(sandbox, submit(sandbox))
    run = tmp_path / "runs" / "pcam-demo-0123456789"
    run.mkdir(parents=True)
    write_record(run, PushRecord("sandbox", "demo", "0123456789", version=1))
    write_record(run, ResultRecord("0123456789", oof_auc=0.97312))
    picture = show_leaderboard(Client(), run, scores, tmp_path / "runs")
    with Image.open(picture) as image:
        assert image.size == (1600, 900)
    show_leaderboard(Client(), run, scores, tmp_path / "runs")  # no second row
    text = capsys.readouterr().out
    (row,) = read_board(tmp_path / "runs")
    assert isinstance(row, BoardRow) and row.cv_auc == "0.9731"
    assert (row.public_score, row.num_teams) == (scores.public_score, "4")
    assert row.placed == "no, equivalent rank"
    assert f"would rank {row.private_rank} of 4" in text
    assert "sandbox on localhost" in text and "Kaggle" not in text
    assert "late submission: scored, not placed" in text
    assert len(read_rows(tmp_path / "runs" / "leaderboard.csv")) == 1


@pytest.mark.parametrize(
    "score, count", [("0.9711", 1149), ("1.0", 1149), ("0.1", 1149), ("0.9", 1)]
)
def test_any_standing_can_be_drawn(tmp_path, score, count):
    teams = read_teams(SHIPPED / "final_boards.csv")[:count]
    rows = [(n, f"{name} " * 9, f"{s}") for n, (name, _, s) in enumerate(teams)]
    standing = locate_score("private", score, rows)
    plot_leaderboard(ENTRY, [standing], tmp_path / "board.png")
    with Image.open(tmp_path / "board.png") as image:
        assert image.size == (1600, 900)
    assert list(tmp_path.iterdir()) == [tmp_path / "board.png"]


def test_a_team_s_name_is_drawn_as_it_is(tmp_path, recwarn):
    names = ["$x_{", "\u56e2\u961f", "\U0001f600 \\frac", "a$b$"]
    rows = [(n, name, "0.9") for n, name in enumerate(names)]
    standing = locate_score("public", "0.95", rows)
    entry = dataclasses.replace(ENTRY, team="$\\sqrt{$ \u56e2")
    plot_leaderboard(entry, [standing], tmp_path / "board.png")
    assert not recwarn.list and (tmp_path / "board.png").exists()


def test_kaggle_is_only_named_when_it_is_kaggle():
    standing = locate_score("public", "0.9", BOARD)
    text = "\n".join(render_text(ENTRY, [standing]))
    assert "Kaggle leaderboard" in text
    entry = dataclasses.replace(ENTRY, service="sandbox")
    text = "\n".join(render_text(entry, [standing]))
    assert "Kaggle" not in text and "not the real leaderboard" in text
