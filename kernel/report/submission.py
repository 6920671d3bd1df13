"""Section 6 of a report: repository and leaderboard."""

import urllib.parse

from .checks import escape
from .reading import ReportRun
from .story import Story

ADDRESS = ":/?#[]@!$&'()*+,;=%~"  # what an address may hold besides letters and digits


def tell_hand_in(story: Story, home: ReportRun, repository: str | None) -> None:
    """Section 6."""
    if repository and repository.startswith("https://"):
        address = f"The code: <{urllib.parse.quote(repository, safe=ADDRESS)}>"
    elif repository:
        address = f"The code: {escape(repository)}"
    else:
        address = "The code: no address yet. Give one with `--repository URL`."
    story.text(f"## 6. Repository and leaderboard\n\n{address}")
    board = name_board(home).strip(",")
    public, private = (home.scores.get(f"{name}_score") or "none" for name in ("public", "private"))
    story.figure(
        home,
        "leaderboard.png",
        f"The scores of the run on {board}.",
        f"Leaderboard: public score {public}, private score {private}",
    )
    caption = "A screenshot that the author has added (screenshot.png)."
    story.figure(home, "screenshot.png", caption, "Screenshot of the leaderboard's page")
    if "leaderboard.png" not in story.figures:
        story.text(describe_submission(home))


def describe_submission(home: ReportRun) -> str:
    """Whether a run was submitted, and how to do that where it can be done."""
    if home.study is not None:
        return "A study submits nothing."
    shown = "A `screenshot.png` in its folder is shown here."
    if home.scores:
        return f"This run was submitted. For its scores: `python build.py leaderboard`. {shown}"
    if not home.has("push.json"):
        return "This run was not submitted."
    return (
        "This run was not submitted yet (`python build.py submit`, then `python build.py "
        f"leaderboard`). {shown}"
    )


def name_board(home: ReportRun, board: str = "") -> str:
    """A leaderboard in words, as its service has it."""
    board = f"{board} " * bool(board)
    if home.service == "sandbox":
        return f"the sandbox's {board}leaderboard, which is not Kaggle's,"
    return f"the {board}leaderboard"
