"""A score's place among all teams: as text, as a row of a table, as a picture."""

import csv
import dataclasses
import datetime
import io
import warnings
import zipfile

import matplotlib.font_manager
from matplotlib.figure import Figure

from pcam_kaggle.figures import COLOURS
from pcam_kaggle.paths import COMPETITION

from .runs import RUNS, add_to_board, check_service, now, read_record, write_alone

ROWS_AROUND = 4  # teams shown above and below the own row
BLUE, ORANGE = COLOURS[:2]
GREY = "0.35"
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Arial")


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a score stands on one board.

    `teams` are (name, score) from the best on. `placed` says that the board itself
    holds the own row, at `rank`; else `rank` is the one that the score would have.
    """

    board: str
    score: str
    rank: int
    teams: tuple
    placed: bool

    def describe_percentile(self):
        """The share of the teams that stand behind, in words."""
        behind = max(0, len(self.teams) - self.rank + (not self.placed))
        return f"ahead of {100 * behind / max(1, len(self.teams)):.1f} % of teams"

    def describe(self):
        """The rank in words; a team is placed by its best submission."""
        verb = "rank" if self.placed else "would rank"
        total = max(len(self.teams), self.rank)
        best = self.teams[self.rank - 1][1] if self.placed else self.score
        by = f" by its {best}" if float(best) != float(self.score) else ""
        return f"{verb} {self.rank:,} of {total:,}{by}"


def fetch_standings(client, scores):
    """The competition, and the standing of a submission on each board that is open.

    Args:
        client: Client.
        scores: dict, as `fetch_scores` returns it.

    Returns:
        The competition's title (str), whether the submission was late (bool), and a
        list of Standing, the public board first.
    """
    competition = client.call(
        "competitions", "get_competition", competition_name=COMPETITION
    )
    utc_now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    late = bool(competition.deadline) and competition.deadline < utc_now
    own_team = None if late else find_own_team(client)
    standings = []
    for board in ("public", "private"):
        score = scores[f"{board}_score"]
        if score:
            rows = fetch_board(client, board == "public")
            standings.append(leaderboard_position(board, score, rows, own_team))
    return competition.title or COMPETITION, late, standings


def fetch_board(client, public):
    """All rows of a board, best first: (team's number, name, score)."""
    rows = client.call_pages(
        "competitions",
        "get_leaderboard",
        "submissions",
        competition_name=COMPETITION,
        override_public=public,
    )
    return [(row.team_id, row.team_name, row.score) for row in rows]


def find_own_team(client):
    """The number of the own team on the public board, by its members; None if absent.

    Team names are not unique, so the downloadable board, which lists members, decides.
    """
    response = client.call(
        "competitions", "download_leaderboard", competition_name=COMPETITION
    )
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        text = archive.read(archive.namelist()[0]).decode("utf-8-sig")
    for row in csv.DictReader(io.StringIO(text)):
        members = [name.strip() for name in row["TeamMemberUserNames"].split(",")]
        if client.username in members:
            return int(row["TeamId"])
    return None


def leaderboard_position(board, score, rows, own_team=None):
    """The standing of a score on a board.

    Args:
        board: str, "public" or "private".
        score: str, ROC AUC, as the service wrote it.
        rows: list of (team's number, name, score), best first.
        own_team: int, the own team's number if its row counts; else the rank is that
            of a late score: 1 + the number of teams with a better one.
    """
    teams = tuple((name, row_score) for _, name, row_score in rows)
    numbers = [number for number, *_ in rows]
    if own_team in numbers:
        position = numbers.index(own_team)
        return Standing(board, score, position + 1, teams, True)
    better = sum(float(other) > float(score) for _, other in teams)
    return Standing(board, score, better + 1, teams, False)


def show_leaderboard(client, run, scores, runs=RUNS, say=print):
    """Say where a run's scores stand, add its row to the table, draw the picture.

    Writes runs/leaderboard.csv and leaderboard.png in the run's folder.

    Returns:
        Path of the picture.
    """
    record = check_service(run, client)
    title, late, standings = fetch_standings(client, scores)
    result = read_record(run, "run.json")
    facts = {
        "service": client.service,
        "competition": title,
        "team": scores["team"],
        "date": scores["submitted"][:10],
        "recipe": record["recipe"],
        "build_id": record["build_id"],
        "version": record["version"],
        "submission": scores["submission"],
        "cv_auc": format_auc(result.get("oof_auc")),
        "late": late,
    }
    add_row(facts, standings, runs)
    for line in render_text(facts, standings):
        say(line)
    plot_leaderboard(facts, standings, run / "leaderboard.png")
    return run / "leaderboard.png"


def add_row(facts, standings, runs):
    """The run's row in runs/leaderboard.csv."""
    row = {name: facts[name] for name in ("service", "recipe", "build_id", "version")}
    row |= {"date": now(), "submission": facts["submission"], "cv_auc": facts["cv_auc"]}
    row |= dict.fromkeys(
        ("public_score", "private_score", "public_rank", "private_rank"), ""
    )
    row |= {"num_teams": "", "placed": ""}
    for standing in standings:
        row[f"{standing.board}_score"] = standing.score
        row[f"{standing.board}_rank"] = standing.rank
        row["num_teams"] = len(standing.teams)
        row["placed"] = "yes" if standing.placed else "no, equivalent rank"
    add_to_board(row, runs)


def render_text(facts, standings):
    """The picture's content as lines for a terminal."""
    yield f"{facts['competition']} ({name_service(facts)})"
    yield f"team {facts['team']}, {describe_build(facts)}"
    for standing in standings:
        share = standing.describe_percentile()
        yield f"{standing.board:<8} {standing.score:<8} {standing.describe()}, {share}"
    if not standings[-1].placed:
        yield say_late(facts)
    for rank, name, score, own in rows_around(standings[-1], facts["team"]):
        yield f"{'>' if own else ' '} {rank:>6}  {name[:40]:<40}  {score}"


def plot_leaderboard(facts, standings, path):
    """Draw leaderboard.png: scores, ranks, the rows around, all teams' scores.

    Args:
        facts: dict with service, competition, team, date, recipe, build_id, version,
            submission, cv_auc, late.
        standings: list of Standing, the one to show the rows of last.
        path: Path of the PNG (1600x900 pixels, readable at half the size).
    """
    accent = BLUE if facts["service"] == "Kaggle" else ORANGE
    figure = Figure(figsize=(16, 9), dpi=100, facecolor="white")
    write(figure, 0.04, 0.915, facts["competition"], fontsize=32, weight="bold")
    late = "" if standings[-1].placed else f"; {say_late(facts)}"
    write(figure, 0.04, 0.862, name_service(facts) + late, fontsize=20, color=accent)
    team = shorten(facts["team"], 26)
    write(figure, 0.96, 0.915, team, fontsize=25, weight="bold", ha="right")
    write(figure, 0.96, 0.862, facts["date"], fontsize=20, color=GREY, ha="right")
    for i, standing in enumerate(reversed(standings)):
        draw_score(figure, standing, 0.765 - 0.34 * i, accent)
    draw_rows(figure, standings[-1], facts["team"], accent)
    for i, standing in enumerate(reversed(standings)):
        axes = figure.add_axes((0.7, 0.54 - 0.36 * i, 0.26, 0.24))
        draw_distribution(axes, standing, accent)
    write(figure, 0.04, 0.04, describe_build(facts), fontsize=18, color=GREY)
    with warnings.catch_warnings(), write_alone(path) as partial:
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script without a font
        figure.savefig(partial, format="png")


def write(figure, x, y, text, **style):
    """Write a text as it is: a team's name may hold $ signs, or Chinese."""
    known = set(matplotlib.font_manager.get_font_names())
    fonts = [name for name in FONTS if name in known]
    figure.text(x, y, text, parse_math=False, family=fonts, **style)


def draw_score(figure, standing, top, accent):
    """One board's score and rank, large."""
    write(figure, 0.04, top, f"{standing.board} score", fontsize=20, color=GREY)
    write(figure, 0.04, top - 0.1, standing.score, fontsize=54, weight="bold")
    write(figure, 0.04, top - 0.155, standing.describe(), fontsize=20)
    share = standing.describe_percentile()
    write(figure, 0.04, top - 0.197, share, fontsize=19, color=accent)


def draw_rows(figure, standing, team, accent):
    """The rows around the own one."""
    left, right, top = 0.315, 0.63, 0.765
    write(figure, left, top, f"{standing.board} board", fontsize=20, color=GREY)
    for i, (rank, name, score, own) in enumerate(rows_around(standing, team)):
        y = top - 0.06 - 0.068 * i
        style = {"fontsize": 19, "va": "center"}
        if own:
            style |= {"weight": "bold", "color": "white"}
            frame = (left - 0.008, y - 0.03, right - left + 0.016, 0.06)
            box = figure.add_axes(frame, facecolor=accent, xticks=[], yticks=[])
            box.spines[:].set_visible(False)
        write(figure, left + 0.058, y, rank, ha="right", **style)
        write(figure, left + 0.072, y, shorten(name, 16), **style)
        write(figure, right, y, score, ha="right", **style)


def draw_distribution(axes, standing, accent):
    """All teams' scores, and where the own one falls."""
    scores = sorted(float(score) for _, score in standing.teams)
    own = float(standing.score)
    # The tail of near-random scores would squeeze what matters.
    low = max(0, min([*scores[len(scores) // 10 :][:1], own, 0.99]) - 0.01)
    shown = [score for score in scores if score >= low]
    tallest = max(axes.hist(shown, bins=50, range=(low, 1), color="0.75")[0], default=1)
    axes.axvline(own, color=accent, linewidth=3)
    axes.set_ylim(0, 1.3 * max(1, tallest))  # room for the score above the bars
    right = own > (low + 1) / 2
    axes.annotate(
        standing.score,
        (own, 1.17 * max(1, tallest)),
        xytext=(-8 if right else 8, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=18,
        weight="bold",
        color=accent,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=15)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.set_ylabel("teams", fontsize=16)
    hidden = len(scores) - len(shown)
    below = f" ({hidden} lower not shown)" if hidden else ""
    axes.set_xlabel(f"{standing.board} ROC AUC{below}", fontsize=16)


def rows_around(standing, team, count=ROWS_AROUND):
    """Rows of a board around the own one: (rank, team, score, own).

    A late score is shown where it would stand, its rank in brackets; it moves nobody.
    """
    rows = [
        (f"{rank:,}", name, score, False)
        for rank, (name, score) in enumerate(standing.teams, 1)
    ]
    place = standing.rank - 1
    if standing.placed:
        rows[place] = (*rows[place][:3], True)
    else:
        rows.insert(place, (f"({standing.rank:,})", team, standing.score, True))
    first = max(0, min(place - count, len(rows) - 2 * count - 1))
    return rows[first : first + 2 * count + 1]


def shorten(text, length):
    """A text of at most so many characters."""
    return text if len(text) <= length else text[: length - 1] + "\u2026"


def name_service(facts):
    """Whose board it is."""
    if facts["service"] == "Kaggle":
        return "Kaggle leaderboard"
    return "sandbox on localhost: not the real leaderboard"


def describe_build(facts):
    """What was submitted, in one line."""
    version = f"version {facts['version']}, " if facts["version"] else ""
    return (
        f"{facts['recipe']}, build {facts['build_id']}, {version}"
        f"submission {facts['submission']}, out-of-fold AUC {facts['cv_auc']}"
    )


def say_late(facts):
    """Why the rank is an equivalent one."""
    if facts["late"]:
        return "late submission: scored, not placed"
    return "not on the board yet"


def format_auc(auc):
    """An AUC to four digits, or "unknown"."""
    return f"{auc:.4f}" if auc is not None else "unknown"
