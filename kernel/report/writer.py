"""The report of a run: an executed notebook and one self-contained page."""

import re
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import nbformat

from pcam_kaggle.system.files import write_beside

from ..files import write_text
from ..folders import ROOT
from .assessment import assess_run, evaluate_run, read_members
from .notebook import build_notebook, execute_notebook
from .outline import tell
from .page import render_page
from .pictures import draw_pictures
from .reading import check_runs, find_stains, read_run
from .words import WORDS, gather_words


def write_report(
    folders: list, repository: str | None = None, say: Callable = print, author: str | None = None
) -> Path:
    """Write report.ipynb and report.html into the folder of the first run.

    The sections follow the course's rubric: problem and data, exploration,
    architectures, results and analysis, conclusion, repository and leaderboard. The
    pictures of the run are drawn first where they are missing or outdated. The author's
    own words come from words.md there, or from the notebook where they were changed in
    it; they are kept when the report is made again.

    Args:
        folders: Paths of runs. The report is about the first, a run, a blend or a
            study; the others are compared with it, and the exploration and the stains
            come from the explorations among them.
        repository: the address of the repository; None asks git.
        say: function that prints a line.
        author: who hands it in; None asks git for its user.name.

    Returns:
        Path of report.html.

    Raises:
        ValueError: a folder that is not a run, runs of different competitions, words that
            were changed in two places, a notebook with other changes or one that fails.
    """
    home = folders[0]
    runs = [read_run(folder, home) for folder in folders]
    check_runs(runs)
    words = gather_words(home)
    cells = make_story(runs, words, repository or find_repository(home), author)
    page = publish(cells, home)
    say(describe_words(words, home))
    say(f"wrote    {home / 'report.ipynb'}")
    say(f"wrote    {page}")
    return page


def make_story(runs: list, words: dict, repository: str | None, author: str | None) -> list:
    """Assess runs, draw their pictures where they need it, and tell the report.

    Args:
        runs: list of ReportRun, checked, the report's own first.
        words: dict of slots and the author's own words.
        repository: the address of the repository, or None.
        author: who hands it in; None asks git for its user.name.

    Returns:
        List of Cell.
    """
    members = read_members(runs[0])
    assessment = None
    if runs[0].oof is not None:
        assessment = assess_run(runs[0], members, find_stains(runs))
    for run in runs[1:]:
        if run.oof is not None:
            evaluate_run(run, find_stains(runs))  # the table of runs shows their intervals
    draw_pictures(runs, members, assessment)
    return tell(runs, assessment, words, repository, author or ask_git("user.name", ROOT))


def publish(cells: list, home: Path) -> Path:
    """Execute a story, and write it as a notebook and a page; the page.

    Args:
        cells: list of Cell.
        home: the folder in which the notebook is executed, and to write to.

    Raises:
        ValueError: the notebook fails.
    """
    notebook = build_notebook(cells)
    execute_notebook(notebook, home)
    page = render_page(notebook)
    with write_beside(home / "report.ipynb") as partial:
        nbformat.write(notebook, partial)
    write_text(home / "report.html", page)
    return home / "report.html"


def describe_words(words: dict, home: Path) -> str:
    """How many sections have the author's own words, and where to write them."""
    num_written = sum(bool(text) for text in words.values())
    return (
        f"words    {num_written} of {len(words)} sections have your own words: edit "
        f"{home / WORDS} and repeat the command"
    )


def find_repository(folder: Path) -> str | None:
    """The web page of the origin of the repository that holds a folder, else of this one, or None.

    Leaves out what stands before an @, which may be a password.
    """
    for place in (folder, ROOT):
        url = ask_git("remote.origin.url", place).removesuffix(".git")
        ssh = re.fullmatch(r"(?:ssh://)?[\w.-]+@([\w.-]+)[:/](.+)", url)
        if ssh:
            return f"https://{ssh[1]}/{ssh[2]}"
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https"):
            return f"https://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return None


def ask_git(name: str, folder: Path) -> str:
    """A value of git's configuration in a folder, "" if there is none or no git."""
    command = ["git", "-C", str(folder), "config", "--get", name]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
