"""Where a score stands on a board, and what is said about the submission."""

import dataclasses

ROWS_AROUND = 4  # teams shown above and below the own row
# Lowest scores of MLE-bench's medals, and the median, on the competition's final private board:
# the scores of ranks 12, 57 and 114 of its 1,149 teams (openai/mle-bench, grade_helpers.py).
MEDAL_LINES = {"gold": "0.9835", "silver": "0.9798", "bronze": "0.9738", "median": "0.9477"}
NUM_FINAL_TEAMS = 1000  # at least; the board of a course has fewer


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a score stands on one board.

    Attributes:
        board: str, "public" or "private".
        score: str, ROC AUC, as the service writes it.
        rank: int, that of the own row, or the one that the score would have.
        teams: tuple of (name, score), best first.
        placed: bool, whether the board itself holds the own row.
    """

    board: str
    score: str
    rank: int
    teams: tuple
    placed: bool

    @property
    def best(self) -> str:
        """The score that decides: that of the own row, which may be of another submission."""
        return self.teams[self.rank - 1][1] if self.placed else self.score

    @property
    def medal_lines(self) -> dict[str, str]:
        """MLE-bench's lines by name, the highest first; none but on the final private board."""
        final = self.board == "private" and len(self.teams) >= NUM_FINAL_TEAMS
        return MEDAL_LINES if final else {}

    def describe_medal(self) -> str:
        """MLE-bench's lines and the highest that the score reaches, in words; "" without lines."""
        if not self.medal_lines:
            return ""
        lines = ", ".join(f"{name} {line}" for name, line in self.medal_lines.items())
        reached = [n for n, line in self.medal_lines.items() if float(self.score) >= float(line)]
        return f"medal lines of MLE-bench: {lines}; reached: {reached[0] if reached else 'none'}"

    def describe_percentile(self) -> str:
        """The share of the teams with a lower score, in words."""
        behind = sum(float(score) < float(self.best) for _, score in self.teams)
        return f"ahead of {100 * behind / max(1, len(self.teams)):.1f} % of teams"

    def describe_tie(self) -> str:
        """How many other teams have the same score, in words; "" if none has."""
        same = sum(float(score) == float(self.best) for _, score in self.teams) - self.placed
        return f"tied with {same:,} team{'s' * (same != 1)}" if same else ""

    def describe_rank(self) -> str:
        """The rank in words; a team is placed by its best submission."""
        verb = "rank" if self.placed else "would rank"
        total = max(len(self.teams), self.rank)
        by = f" by its {self.best}" if float(self.best) != float(self.score) else ""
        return f"{verb} {self.rank:,} of {total:,}{by}"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A submission as the leaderboard's text and picture name it.

    Attributes:
        service: str, "Kaggle" or "sandbox".
        competition: str, its title.
        team: str, the team's name.
        date: str, the day of the submission.
        recipe, build_id: str, what was run.
        version: int, the kernel's version, or None for a blend.
        submission: int, its number on the service.
        cv_auc: str, AUC out of fold, or "unknown".
        late: bool, whether it was submitted after the deadline.
    """

    service: str
    competition: str
    team: str
    date: str
    recipe: str
    build_id: str
    version: int | None
    submission: int
    cv_auc: str
    late: bool

    def describe_service(self) -> str:
        """Whose board it is."""
        if self.service == "Kaggle":
            return "Kaggle leaderboard"
        return "sandbox on localhost: not the real leaderboard"

    def describe_build(self) -> str:
        """What was submitted, in one line."""
        version = f"version {self.version}, " if self.version else ""
        return (
            f"{self.recipe}, build {self.build_id}, {version}"
            f"submission {self.submission}, out-of-fold AUC {self.cv_auc}"
        )

    def describe_lateness(self) -> str:
        """Why the rank is an equivalent one."""
        if self.late:
            return "late submission: scored, not placed"
        return "not on the board yet"


def locate_score(
    board: str, score: str, rows: list[tuple], own_team: int | None = None
) -> Standing:
    """The standing of a score on a board.

    Args:
        board: str, "public" or "private".
        score: str, ROC AUC, as the service writes it.
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


def list_rows_around(standing: Standing, team: str, count: int = ROWS_AROUND) -> list[tuple]:
    """Rows of a board around the own one: (rank, team, score, own).

    A late score is shown where it would stand, without a rank; no team moves.
    """
    rows = [
        (f"{rank:,}", name, score, False) for rank, (name, score) in enumerate(standing.teams, 1)
    ]
    place = standing.rank - 1
    if standing.placed:
        rows[place] = (*rows[place][:3], True)
    else:
        rows.insert(place, ("", team, standing.score, True))
    first = max(0, min(place - count, len(rows) - 2 * count - 1))
    return rows[first : first + 2 * count + 1]
