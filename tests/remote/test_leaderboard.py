"""The standing of a score, its row, its text and its picture."""

import dataclasses
import datetime

import numpy as np
import pytest
from conftest import SLUG, read_rows, run_python
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from kernel.board import BoardRow, add_to_board, read_board
from kernel.folders import ROOT
from kernel.records import PushRecord, ResultRecord, SubmissionRecord, read_record, write_record
from kernel.remote.client import Client
from kernel.remote.errors import KaggleError
from kernel.remote.leaderboard import fetch_board, fetch_standings, render_text, show_leaderboard
from kernel.remote.leaderboard_picture import (
    BLUE,
    DISTRIBUTION,
    SIZE,
    draw_distribution,
    plot_leaderboard,
)
from kernel.remote.scores import fetch_scores
from kernel.remote.standing import MEDAL_LINES, Entry, list_rows_around, locate_score
from kernel.sandbox import submissions
from kernel.sandbox.demo import SHIPPED
from kernel.sandbox.faults import Fault
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
    service.uploads[token].write_text("\n".join(["id,label", *rows]))
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
        ("0.95", 2, "ahead of 25.0 % of teams"),
        ("0.949", 4, "ahead of 25.0 % of teams"),
        ("0.1", 5, "ahead of 0.0 % of teams"),
    ],
)
def test_a_late_score_has_an_equivalent_rank(score, rank, words):
    standing = locate_score("private", score, BOARD)
    assert (standing.rank, standing.placed) == (rank, False)
    assert standing.describe_percentile() == words
    own = [row for row in list_rows_around(standing, "me") if row[3]]
    assert own == [("", "me", score, True)]  # no second row of that rank


def test_a_placed_team_is_found_by_its_number_not_its_name():
    standing = locate_score("public", "0.90", BOARD, own_team=3)
    assert (standing.rank, standing.placed) == (3, True)
    assert standing.describe_rank() == "rank 3 of 4 by its 0.95"
    assert [row[3] for row in list_rows_around(standing, "B")] == [False, False, True, False]


def test_a_tie_is_named_in_the_text_and_no_team_is_passed():
    late = locate_score("private", "0.950", BOARD)
    assert late.describe_rank() == "would rank 2 of 4"
    assert late.describe_tie() == "tied with 2 teams"
    placed = locate_score("public", "0.95", BOARD, own_team=3)
    assert (placed.rank, placed.describe_tie()) == (3, "tied with 1 team")
    assert placed.describe_percentile() == late.describe_percentile()
    assert locate_score("private", "0.96", BOARD).describe_tie() == ""
    text = "\n".join(render_text(ENTRY, [late]))
    assert "would rank 2 of 4, tied with 2 teams, ahead of 25.0 % of teams" in text


def test_a_row_without_a_score_does_not_count(open_sandbox):
    sandbox = open_sandbox(teams=TEAMS, deadline=PAST)
    rows = [{"teamId": n, "score": score} for n, score in enumerate(("0.9", "", "nan", None), 1)]
    rows.append({"teamId": 9, "teamName": "late", "score": " 0.8 "})
    sandbox.script("GetLeaderboard", Fault(patch={"submissions": rows, "nextPageToken": ""}))
    assert fetch_board(Client(), True) == [(1, "", "0.9"), (9, "late", "0.8")]


def test_fields_that_are_null_count_as_absent(open_sandbox, tmp_path):
    sandbox = open_sandbox(teams=TEAMS, deadline=PAST)
    run = tmp_path / "runs" / "pcam-demo-0123456789"
    run.mkdir(parents=True)
    write_record(run, PushRecord("sandbox", "demo", "0123456789", version=1))
    write_record(run, SubmissionRecord(submit(sandbox)))
    waiting = {"status": None, "publicScore": None, "privateScore": None}
    sandbox.script("GetSubmission", Fault(patch=waiting), Fault(patch={"teamName": None}))
    scores = fetch_scores(Client(), run)
    assert scores.team == "sandbox" and float(scores.public_score) > 0.5
    sandbox.script("GetCompetition", Fault(patch={"title": None, "deadline": None}))
    sandbox.script("GetLeaderboard", Fault(patch={"submissions": None, "nextPageToken": None}))
    show_leaderboard(Client(), run, scores, run.parent)
    assert (run / "leaderboard.png").is_file()


@pytest.mark.parametrize(
    "body",
    ["PK\3\4 no zip", "Rank,TeamName\n1,A\n", "TeamId,TeamMemberUserNames\nA,sandbox\n"],
    ids=["bad zip", "no users", "no number"],
)
def test_a_board_that_cannot_be_read_is_an_error_in_plain_words(open_sandbox, body):
    sandbox = open_sandbox(teams=TEAMS)
    scores = make_scores(sandbox, submit(sandbox))
    kind = {"Content-Type": "application/zip"}
    sandbox.script("DownloadLeaderboard", Fault(200, body, kind))
    with pytest.raises(KaggleError, match=r"leaderboard.csv: expected a zip|of the board: exp"):
        fetch_standings(Client(), scores)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_other_teams_names_never_end_or_control_the_output(open_sandbox, tmp_path, encoding):
    sandbox = open_sandbox(teams=TEAMS, deadline=PAST)
    run = tmp_path / "runs" / "pcam-demo-0123456789"
    run.mkdir(parents=True)
    write_record(run, PushRecord("sandbox", "demo", "0123456789", version=1))
    write_record(run, SubmissionRecord(submit(sandbox)))
    names = ["\u56e2\u961f", "\x1b[2J\n> (1) forged  1.0", "\u202e\x9b\x00", "\U0001f600"]
    rows = [{"teamId": n, "teamName": name, "score": "0.5"} for n, name in enumerate(names, 1)]
    board = Fault(patch={"submissions": rows, "nextPageToken": ""}, times=-1)
    sandbox.script("GetLeaderboard", board)
    sandbox.script("GetSubmission", Fault(patch={"teamName": "\u56e2\x1b[2J"}))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pathlib, build; "
        f"build.RUNS = pathlib.Path({str(run.parent)!r}); "
        "sys.exit(build.main(['leaderboard']))"
    )
    process = run_python(["-c", code], PYTHONIOENCODING=encoding)
    assert process.returncode == 0, process.stderr
    # run_python decodes as UTF-8, of which ASCII is a part.
    shown = {"ascii": "??", "cp1252": "??", "utf-8": "\u56e2\u961f"}[encoding]
    assert f"  {shown} " in process.stdout and "[2J > (1) forged 1.0" in process.stdout
    assert not {"\x1b", "\x9b", "\x00", "\u202e"} & set(process.stdout)
    assert (run / "leaderboard.png").is_file()
    assert read_record(run, SubmissionRecord).team == "\u56e2 [2J"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("service", "Dienst").encode(),
        lambda text: text.replace("demo", "\xe9").encode("cp1252"),
    ],
    ids=["semicolons", "utf-16", "another name", "cp1252"],
)
def test_a_table_that_another_program_has_saved_is_refused_by_name(tmp_path, change):
    add_to_board(BoardRow(service="sandbox", recipe="demo", build_id="0123456789"), tmp_path)
    path = tmp_path / "leaderboard.csv"
    content = change(path.read_text("utf-8"))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"leaderboard.csv: expected .*Received.*Try: move it"):
        add_to_board(BoardRow(service="sandbox"), tmp_path)
    assert path.read_bytes() == content


def test_a_byte_order_mark_is_no_other_table(tmp_path):
    row = BoardRow(service="sandbox", recipe="demo", build_id="0123456789")
    add_to_board(row, tmp_path)
    path = tmp_path / "leaderboard.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_board(tmp_path) == [row]


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
        assert image.size == (1080, 1540)
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
def test_any_standing_can_be_drawn(tmp_path, drawn, score, count):
    teams = read_teams(SHIPPED / "final_boards.csv")[:count]
    rows = [(n, f"{name} " * 9, f"{s}") for n, (name, _, s) in enumerate(teams)]
    standing = locate_score("private", score, rows)
    entry = dataclasses.replace(ENTRY, competition="a competition " * 9, recipe="course_my_vgg16")
    plot_leaderboard(entry, [standing, standing], tmp_path / "board.png")
    with Image.open(tmp_path / "board.png") as image:
        assert image.size == (1080, 1540)
    drawn.check_frame()
    assert list(tmp_path.iterdir()) == [tmp_path / "board.png"]


def list_final_rows():
    """The competition's final private board."""
    teams = read_teams(SHIPPED / "final_boards.csv")
    scores = sorted((private for _, _, private in teams), reverse=True)
    return [(n, f"rank {n}", f"{score:.4f}") for n, score in enumerate(scores, 1)]


def test_the_medal_lines_are_those_of_the_final_board():
    scores = [score for *_, score in list_final_rows()]
    gold, silver, bronze = 10 + int(0.002 * 1149), int(0.05 * 1149), int(0.1 * 1149)
    assert (gold, silver, bronze) == (12, 57, 114)
    expected = [*(scores[rank - 1] for rank in (gold, silver, bronze)), scores[1149 // 2]]
    assert list(MEDAL_LINES.items()) == list(zip(("gold", "silver", "bronze", "median"), expected))


@pytest.mark.parametrize(
    "score, reached",
    [
        ("1.0", "gold"),
        ("0.9835", "gold"),
        ("0.98349", "silver"),
        ("0.9738", "bronze"),
        ("0.95", "median"),
        ("0.9476", "none"),
    ],
)
def test_the_text_names_the_medal_lines_and_what_a_score_reaches(score, reached):
    standing = locate_score("private", score, list_final_rows())
    (line,) = [text for text in render_text(ENTRY, [standing]) if "MLE-bench" in text]
    lines = "gold 0.9835, silver 0.9798, bronze 0.9738, median 0.9477"
    assert line.strip() == f"medal lines of MLE-bench: {lines}; reached: {reached}"


def test_only_the_final_private_board_has_medal_lines():
    for board, rows in (("public", list_final_rows()), ("private", BOARD)):
        standing = locate_score(board, "0.98", rows)
        assert "MLE-bench" not in "\n".join(render_text(ENTRY, [standing]))


@pytest.mark.parametrize(
    "score", ["1.0", "0.99", "0.9835", "0.98", "0.975", "0.96", "0.9477", "0.94", "0.91", "0.5"]
)
def test_neither_texts_nor_lines_of_the_distribution_cross(score):
    figure = Figure(figsize=SIZE, dpi=200)
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes(DISTRIBUTION)
    draw_distribution(axes, locate_score("private", score, list_final_rows()), BLUE)
    canvas.draw()
    texts = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert len(texts) == 5 and score in texts and "gold 0.9835" in texts
    assert axes.get_xlabel().endswith("; medal lines of MLE-bench")
    rows = sorted(texts.values(), key=lambda box: box.y0)
    for lower, upper in zip(rows, rows[1:]):
        assert upper.y0 - lower.y1 > -5  # boxes have room for letters with descenders
    for line in axes.lines:
        path = line.get_transform().transform(np.column_stack(line.get_data()))
        (x, top) = path.max(axis=0)
        for box in texts.values():
            assert not (box.x0 < x < box.x1 and top > box.y0), (score, x, box)
    tallest = max(bar.get_window_extent().y1 for bar in axes.patches)
    frame = axes.get_window_extent()
    assert all(box.y0 > tallest and box.x0 > frame.x0 for box in rows)


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
