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
from .notebook import build_notebook, execute_notebook, render_page
from .outline import tell
from .pictures import draw_pictures
from .reading import check_runs, find_stains, read_run
from .words import WORDS, gather_words


def write_report(folders: list, repository: str | None = None, say: Callable = print) -> Path:
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

    Returns:
        Path of report.html.

    Raises:
        ValueError: a folder that is not a run, runs of different competitions, words that
            were changed in two places, a notebook that fails.
    """
    home = folders[0]
    runs = [read_run(folder, home) for folder in folders]
    check_runs(runs)
    members = read_members(runs[0])
    assessment = None
    if runs[0].oof is not None:
        assessment = assess_run(runs[0], members, find_stains(runs))
    for run in runs[1:]:
        if run.oof is not None:
            evaluate_run(run, find_stains(runs))  # the table of runs shows their intervals
    draw_pictures(runs, members, assessment)
    words = gather_words(home)
    repository = repository or find_repository()
    notebook = build_notebook(tell(runs, assessment, words, repository))
    execute_notebook(notebook, home)
    page = render_page(notebook, f"{runs[0].name}: report")
    with write_beside(home / "report.ipynb") as partial:
        nbformat.write(notebook, partial)
    write_text(home / "report.html", page)
    num_written = sum(bool(text) for text in words.values())
    say(
        f"words    {num_written} of {len(words)} sections have your own words: edit "
        f"{home / WORDS} and repeat the command"
    )
    say(f"wrote    {home / 'report.ipynb'}")
    say(f"wrote    {home / 'report.html'}")
    return home / "report.html"


def find_repository() -> str | None:
    """The web page of this repository's origin, or None.

    Leaves out what stands before an @, which may be a password.
    """
    command = ["git", "-C", str(ROOT), "config", "--get", "remote.origin.url"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:  # no git here
        return None
    url = answer.stdout.strip().removesuffix(".git")
    ssh = re.fullmatch(r"(?:ssh://)?[\w.-]+@([\w.-]+)[:/](.+)", url)
    if ssh:
        return f"https://{ssh[1]}/{ssh[2]}"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return None
    return f"https://{parts.netloc.rpartition('@')[2]}{parts.path}"
