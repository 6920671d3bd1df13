"""Section 6 of a report: repository and leaderboard."""

import urllib.parse

from .checks import escape
from .reading import ReportRun
from .story import Story

ADDRESS = ":/?#[]@!$&'()*+,;=%~"  # what an address may hold besides letters and digits


def tell_hand_in(story: Story, home: ReportRun, repository: str | None) -> None:
    """Section 6."""
    story.text("## 6. Repository and leaderboard")
    if repository and repository.startswith("https://"):
        story.text(f"The code: <{urllib.parse.quote(repository, safe=ADDRESS)}>")
    elif repository:
        story.text(f"The code: {escape(repository)}")
    else:
        story.prompt("The code: no address yet. Give one with `--repository URL`.")
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
        tell_submission(story, home)


def tell_submission(story: Story, home: ReportRun) -> None:
    """Whether a run was submitted, and how to do that where it can be done."""
    if home.study is not None:
        story.text("A study submits nothing.")
        return
    story.text(f"This run was {'' if home.scores else 'not '}submitted.")
    shown = "a `screenshot.png` in the folder of the run is shown here."
    if home.scores:
        story.prompt(f"For its scores: `python build.py leaderboard`; {shown}")
    elif home.has("push.json"):
        story.prompt(
            "To submit it: `python build.py submit`, then `python build.py leaderboard`; " + shown
        )


def name_board(home: ReportRun, board: str = "") -> str:
    """A leaderboard in words, as its service has it."""
    board = f"{board} " * bool(board)
    if home.service == "sandbox":
        return f"the sandbox's {board}leaderboard, which is not Kaggle's,"
    return f"the {board}leaderboard"
