"""The standing of a score, its row, its text and its picture."""

import datetime

import pytest
from conftest import read_rows
from PIL import Image

from kernel.client import Client
from kernel.demo import SHIPPED
from kernel.judge import read_teams
from kernel.leaderboard import (
    fetch_standings,
    leaderboard_position,
    plot_leaderboard,
    render_text,
    rows_around,
    show_leaderboard,
)
from kernel.runs import BOARD_COLUMNS, read_board, write_record

TEAMS = [("A", 0.99, 0.9), ("B", 0.95, 0.96), ("B", 0.95, 0.94), ("C", 0.5, 0.6)]
PAST = datetime.datetime(2019, 3, 30)
BOARD = [(1, "A", "0.99"), (2, "B", "0.95"), (3, "B", "0.95"), (4, "C", "0.50")]
FACTS = {
    "service": "Kaggle",
    "competition": "Histopathologic Cancer Detection",
    "team": "a team",
    "date": "2026-11-24",
    "recipe": "densenet121",
    "build_id": "0123456789",
    "version": 3,
    "submission": 7,
    "cv_auc": "0.9731",
    "late": True,
}


def submit(sandbox, user="sandbox"):
    """A submission of a user's, straight to the service; its number."""
    service = sandbox.service
    token = service.start_upload(user, {"fileName": "s.csv"})["token"]
    ids = list(service.judge.solution["id"])
    labels = list(service.judge.solution["label"])
    labels[0] = 1 - labels[0]  # not perfect
    rows = [f"{i},{label}" for i, label in zip(ids, labels)]
    service.blobs[token]["content"] = "\n".join(["id,label", *rows]).encode()
    request = {"competitionName": "histopathologic-cancer-detection"}
    return service.create_submission(user, {**request, "blobFileTokens": token})["ref"]


def make_scores(sandbox, ref):
    shown = sandbox.service.show_submission(
        sandbox.service.state["submissions"][ref - 1]
    )
    return {
        "submission": ref,
        "submitted": "2026-11-24T00:00:00",
        "team": "sandbox",
        "public_score": shown["publicScore"],
        "private_score": shown.get("privateScore", ""),
    }


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
    standing = leaderboard_position("private", score, BOARD)
    assert (standing.rank, standing.placed) == (rank, False)
    assert standing.describe_percentile() == words
    own = [row for row in rows_around(standing, "me") if row[3]]
    assert own == [(f"({rank})", "me", score, True)]


def test_a_placed_team_is_found_by_its_number_not_its_name():
    standing = leaderboard_position("public", "0.90", BOARD, own_team=3)
    assert (standing.rank, standing.placed) == (3, True)
    assert standing.describe() == "rank 3 of 4 by its 0.95"
    assert [row[3] for row in rows_around(standing, "B")] == [False, False, True, False]


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
    _, _, (public, private) = fetch_standings(
        Client(), make_scores(sandbox, submit(sandbox))
    )
    assert len(public.teams) == len(private.teams) == 1149
    assert sandbox.calls.count("GetLeaderboard") == 2 * 6


def test_the_row_the_text_and_the_picture_say_the_same(open_sandbox, tmp_path, capsys):
    sandbox = open_sandbox(teams=TEAMS, deadline=PAST)
    scores = make_scores(sandbox, submit(sandbox))
    run = tmp_path / "runs" / "pcam-demo-0123456789"
    run.mkdir(parents=True)
    record = {"service": "sandbox", "recipe": "demo", "version": 1}
    write_record(run, "push.json", {**record, "build_id": "0123456789"})
    write_record(run, "run.json", {"oof_auc": 0.97312})
    picture = show_leaderboard(Client(), run, scores, tmp_path / "runs")
    with Image.open(picture) as image:
        assert image.size == (1600, 900)
    show_leaderboard(Client(), run, scores, tmp_path / "runs")  # no second row
    text = capsys.readouterr().out
    (row,) = read_board(tmp_path / "runs")
    assert tuple(row) == BOARD_COLUMNS and row["cv_auc"] == "0.9731"
    assert (row["public_score"], row["num_teams"]) == (scores["public_score"], "4")
    assert row["placed"] == "no, equivalent rank"
    assert f"would rank {row['private_rank']} of 4" in text
    assert "sandbox on localhost" in text and "Kaggle" not in text
    assert "late submission: scored, not placed" in text
    assert len(read_rows(tmp_path / "runs" / "leaderboard.csv")) == 1


@pytest.mark.parametrize(
    "score, count", [("0.9711", 1149), ("1.0", 1149), ("0.1", 1149), ("0.9", 1)]
)
def test_any_standing_can_be_drawn(tmp_path, score, count):
    teams = read_teams(SHIPPED / "final_boards.csv")[:count]
    rows = [(n, f"{name} " * 9, f"{s}") for n, (name, _, s) in enumerate(teams)]
    standing = leaderboard_position("private", score, rows)
    plot_leaderboard(FACTS, [standing], tmp_path / "board.png")
    with Image.open(tmp_path / "board.png") as image:
        assert image.size == (1600, 900)
    assert list(tmp_path.iterdir()) == [tmp_path / "board.png"]


def test_a_team_s_name_is_drawn_as_it_is(tmp_path, recwarn):
    names = ["$x_{", "\u56e2\u961f", "\U0001f600 \\frac", "a$b$"]
    rows = [(n, name, "0.9") for n, name in enumerate(names)]
    standing = leaderboard_position("public", "0.95", rows)
    facts = {**FACTS, "team": "$\\sqrt{$ \u56e2"}
    plot_leaderboard(facts, [standing], tmp_path / "board.png")
    assert not recwarn.list and (tmp_path / "board.png").exists()


def test_kaggle_is_only_named_when_it_is_kaggle():
    standing = leaderboard_position("public", "0.9", BOARD)
    text = "\n".join(render_text(FACTS, [standing]))
    assert "Kaggle leaderboard" in text
    text = "\n".join(render_text({**FACTS, "service": "sandbox"}, [standing]))
    assert "Kaggle" not in text and "not the real leaderboard" in text
