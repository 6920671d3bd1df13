"""The report of a run: an executed notebook and one self-contained page."""

import itertools
import re
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import nbformat

from pcam_kaggle.system.files import write_beside, write_json

from ..files import write_text
from ..predictions import read_table
from .assessment import assess_run, keep_interval, read_members
from .names import name_runs
from .notebook import build_notebook, execute_notebook
from .outline import tell
from .page import render_page
from .pictures import draw_pictures
from .reading import ReportRun, find_stains, read_run
from .story import TABLES
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
        repository: the address of the repository; None for the origin of the folder, if it is a
            git repository itself.
        say: function that prints a line.
        author: who hands it in, or None.

    Returns:
        Path of report.html.

    Raises:
        ValueError: a folder that is not a run, runs of different competitions, words that
            were changed in two places, a notebook with other changes or one that fails.
    """
    home = folders[0]
    runs = [read_run(folder, home) for folder in folders]
    check_runs(runs)
    runs = name_runs(runs)
    words = gather_words(home)
    cells = make_story(runs, words, repository or find_repository(home), author)
    page = publish(cells, home)
    say(describe_words(words, home))
    say(f"wrote    {home / 'report.ipynb'}")
    say(f"wrote    {page}")
    return page


def check_runs(runs: list) -> None:
    """Refuse runs that make no report.

    Args:
        runs: list of ReportRun, the report's own first.

    Raises:
        ValueError: a run given twice, runs of different competitions, a first one that
            is neither a run nor a blend nor a study. Names the runs.
    """
    home = runs[0]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(
            "expected each run once, in folders of different names. Received: " + ", ".join(names)
        )
    check_competition(runs)
    check_labels(runs)
    check_counts(runs)
    if home.study is None and home.oof is None:
        if home.exploration is not None:
            raise ValueError(
                f"{home.name} is an exploration. Expected: a run, blend or study as "
                f"the first of the folders. Try: name one before {home.name}"
            )
        raise ValueError(
            f"{home.folder / 'oof.csv'} is not there. Expected: the folder of a "
            "finished run. Try: python build.py output, or train; of a run of infer, which has no "
            "oof.csv, name the runs whose networks it used"
        )


def check_competition(runs: list) -> None:
    """Refuse runs with different test images.

    Raises:
        ValueError: names two of them.
    """
    tests = {
        run.name: set(read_table(run.folder / "submission.csv", ["id", "label"]).index)
        for run in runs
        if run.has("submission.csv")
    }
    for name, ids in tests.items():
        first = next(iter(tests))
        if ids != tests[first]:
            raise ValueError(
                f"{first} and {name}: expected runs of one competition, with the same "
                f"test images. Received: {len(tests[first]):,} and {len(ids):,} ids, "
                f"{len(ids & tests[first]):,} in common. Try: train both on the same data "
                "(python build.py train RECIPE --data DIR; DIR of the demo is "
                "runs/demo/data/input), or leave one of them out"
            )


def check_labels(runs: list) -> None:
    """Refuse an exploration of other patches than those of the runs, or with other labels.

    Raises:
        ValueError: names an exploration and a run.
    """
    explorations = [run for run in runs if run.patches is not None]
    for explored, run in itertools.product(explorations, runs):
        if run.oof is None:
            continue
        labels, own = explored.patches.set_index("id")["label"], run.oof["label"]
        common = labels.index.intersection(own.index)
        expected = len(own)
        if is_drawn(explored):  # two draws at random may have nothing in common
            expected = 0 if is_drawn(run) else 1
        other = (labels[common] != own[common]).sum()
        if len(common) < expected or other:
            raise ValueError(
                f"{explored.name} and {run.name}: expected an exploration of the patches of the "
                f"run. Received: {len(labels):,} patches, of which {len(common):,} are among the "
                f"{len(own):,} of the run, {other:,} of them with another label. Try: explore the "
                "data that the run was trained on (python build.py train explore --data DIR; DIR "
                "of the demo is runs/demo/data/input)"
            )


def check_counts(runs: list) -> None:
    """Refuse a study, which has no patches' ids, of other data than the runs.

    Raises:
        ValueError: names a study and a run.
    """
    whole = [run for run in runs if "counts" in run.record and not is_drawn(run)]
    for study, run in itertools.product(whole, whole):
        own, other = study.record["counts"], run.record["counts"]
        is_alike = all(own[name] == other[name] for name in ("train", "positive"))
        if study.study is not None and not is_alike:
            raise ValueError(
                f"{study.name} and {run.name}: expected a study of the data of the run. Received: "
                f"{own['train']:,} patches, {own['positive']:,} with tumor, and "
                f"{other['train']:,}, {other['positive']:,} with tumor. Try: leave one of them out"
            )


def is_drawn(run: ReportRun) -> bool:
    """Whether a run has patches that were drawn at random from its folder of data."""
    return bool(run.settings.get("num_images"))


def make_story(runs: list, words: dict, repository: str | None, author: str | None) -> list:
    """Assess runs, draw their pictures, and tell the report.

    Writes all that it makes into the runs' `made`, tables.json into that of the first.

    Args:
        runs: list of ReportRun, checked, the report's own first.
        words: dict of slots and the author's own words.
        repository: the address of the repository, or None.
        author: who hands it in, or None.

    Returns:
        List of Cell.
    """
    members = read_members(runs[0])
    assessment = None
    if runs[0].oof is not None:
        assessment = assess_run(runs[0], members, find_stains(runs))
    for run in runs[1:]:
        if run.oof is not None:
            keep_interval(run)  # the table of runs shows it
    draw_pictures(runs, members, assessment)
    story = tell(runs, assessment, words, repository, author)
    write_json(runs[0].made / TABLES, story.kept)
    return story.cells


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
    """The web page of the origin of a folder that is a git repository itself, or None.

    Leaves out what stands before an @, which may be a password.
    """
    command = ["git", f"--git-dir={folder / '.git'}", "config", "--local", "remote.origin.url"]
    try:
        pipes = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
        found = subprocess.run(command, **pipes).stdout
    except FileNotFoundError:  # no git
        return None
    url = found.strip().removesuffix(".git")
    ssh = re.fullmatch(r"(?:ssh://)?[\w.-]+@([\w.-]+)[:/](.+)", url)
    if ssh:
        return f"https://{ssh[1]}/{ssh[2]}"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("http", "https"):
        return f"https://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return None
