"""The report of a run: an executed notebook and one self-contained page."""

import copy
import dataclasses
import os
import re
import subprocess
import urllib.parse
from pathlib import Path

import jinja2
import nbclient
import nbformat
import pandas as pd
from nbconvert import HTMLExporter

from pcam_kaggle.paths import write_beside

from .bundle import ROOT
from .members import read_table
from .runs import read_record
from .story import SLOTS, tell

TEMPLATE = Path(__file__).with_name("report.html.jinja")
WORDS = "words.md"
CELL_SECONDS = 300
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@dataclasses.dataclass(frozen=True)
class Told:
    """A run as the report reads it.

    `run` is its run.json, `scores` its submit.json ({} where nothing was submitted),
    `history`, `study` and `oof` its tables or None, `exploration` its exploration.json
    or None, `place` the folder as the notebook finds it.
    """

    folder: Path
    name: str
    place: str
    run: dict
    scores: dict
    exploration: dict | None
    history: pd.DataFrame | None
    study: pd.DataFrame | None
    oof: pd.DataFrame | None

    def has(self, name):
        """Whether a file is among the run's."""
        return (self.folder / name).is_file()


def write_report(folders, repository=None, say=print):
    """Write report.ipynb and report.html into the folder of the first run.

    In the order of the course's rubric: problem and data, exploration, architectures,
    results and analysis, conclusion, repository, leaderboard. The author's own words
    come from words.md there, or from the notebook where they were changed in it; they
    are kept when the report is made again.

    Args:
        folders: Paths of runs; the first is the report's own, the others (runs, blends
            and studies) are compared with it.
        repository: str, the address of the repository; None asks git.
        say: function that prints a line.

    Returns:
        Path of report.html.

    Raises:
        ValueError: a folder that is no run, runs of different competitions, words that
            were changed in two places, a notebook that does not run.
    """
    home = folders[0]
    runs = [read_run(folder, home) for folder in folders]
    check_runs(runs)
    words = gather_words(home)
    repository = repository or find_repository()
    notebook = build_notebook(tell(runs, words, repository))
    execute(notebook, home)
    page = render(notebook, f"{runs[0].name}: report")
    with write_beside(home / "report.ipynb") as partial:
        nbformat.write(notebook, partial)
    with write_beside(home / "report.html") as partial:
        partial.write_text(page, "utf-8", newline="\n")
    num_written = sum(bool(text) for text in words.values())
    say(
        f"words    {num_written} of {len(words)} sections have words of yours: edit "
        f"{home / WORDS} and give the command again"
    )
    say(f"wrote    {home / 'report.ipynb'}")
    say(f"wrote    {home / 'report.html'}")
    return home / "report.html"


def read_run(folder, home):
    """A run, blend or study as the report needs it.

    Raises:
        ValueError: no run.json, or a file that is damaged.
    """
    run = read_record(folder, "run.json")
    if not run:
        raise ValueError(
            f"{folder}: expected a finished run, blend or study, with run.json. "
            "Received: none; python build.py output or train first"
        )
    oof = None
    if (folder / "oof.csv").is_file():
        oof = read_table(folder / "oof.csv", ["id", "label", "fold", "prediction"])
    tables = {}
    for name in ("history", "study"):
        path = folder / f"{name}.csv"
        tables[name] = pd.read_csv(path) if path.is_file() else None
    return Told(
        folder=folder,
        name=folder.resolve().name,
        place=Path(os.path.relpath(folder, home)).as_posix(),
        run=run,
        scores=read_record(folder, "submit.json"),
        exploration=read_record(folder, "exploration.json") or None,
        oof=oof,
        **tables,
    )


def check_runs(runs):
    """Refuse a report on a study alone, a run twice and runs of other competitions.

    Raises:
        ValueError: names the runs.
    """
    home = runs[0]
    names = [told.folder.resolve() for told in runs]
    if len(set(names)) < len(names):
        raise ValueError(
            "expected each run once. Received: " + ", ".join(told.name for told in runs)
        )
    tests = {}
    for told in runs:
        path = told.folder / "submission.csv"
        if path.is_file():
            tests[told.name] = set(read_table(path, ["id", "label"]).index)
    for name, ids in tests.items():
        if ids != next(iter(tests.values())):
            first = next(iter(tests))
            raise ValueError(
                f"{first} and {name}: expected runs of one competition, with the same "
                f"test images. Received: {len(tests[first]):,} and {len(ids):,} ids, "
                f"{len(ids & tests[first]):,} in common"
            )
    if "study" not in home.run and home.oof is None:
        raise ValueError(
            f"{home.folder / 'oof.csv'} is not there. Expected: the folder of a "
            "finished run (python build.py output, or train)"
        )


def gather_words(home):
    """The author's own words by slot, from words.md, changes in the notebook included.

    Writes words.md with a heading for every slot.

    Raises:
        ValueError: a slot changed in both places since the report was made.
    """
    path = home / WORDS
    words = parse_words(path.read_text("utf-8")) if path.is_file() else {}
    words = {slot: words.get(slot, "") for slot in SLOTS}
    if (home / "report.ipynb").is_file():
        for cell in nbformat.read(home / "report.ipynb", nbformat.NO_CONVERT).cells:
            slot = cell.metadata.get("pcam_slot")
            if slot not in words or cell.source == cell.metadata["pcam_written"]:
                continue
            edited = cell.source.strip()
            if words[slot] not in (edited, cell.metadata["pcam_words"]):
                raise ValueError(
                    f"{home / 'report.ipynb'} and {path}: the words on {slot!r} were "
                    "changed in both. Expected: a change in one; undo the other"
                )
            words[slot] = edited
    blocks = [
        f"## {slot}\n<!-- {prompt} -->\n\n{words[slot]}".rstrip()
        for slot, prompt in SLOTS.items()
    ]
    intro = "<!-- Your own words for the report, as Markdown, below each heading. -->"
    with write_beside(path) as partial:
        text = "\n\n".join([intro, *blocks]) + "\n"
        partial.write_text(text, "utf-8", newline="\n")
    return words


def parse_words(text):
    """words.md as a dict of slot and text, comments left out."""
    known = "|".join(map(re.escape, SLOTS))
    parts = re.split(rf"(?m)^## ({known})[ \t]*$", text)
    texts = (re.sub(r"<!--.*?-->", "", part, flags=re.DOTALL) for part in parts[2::2])
    return {slot: text.strip() for slot, text in zip(parts[1::2], texts)}


def find_repository():
    """The address of this repository's origin as a page of the web, or None.

    What stands before an @ may be a password and is left out.
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


def build_notebook(cells):
    """The story's cells as a notebook, not yet run."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    kinds = {True: nbformat.v4.new_code_cell, False: nbformat.v4.new_markdown_cell}
    for number, cell in enumerate(cells):
        made = kinds[cell.is_code](cell.source, id=f"cell-{number:03d}")
        if cell.slot:
            written = {"pcam_written": cell.source, "pcam_words": cell.words}
            made.metadata |= {"pcam_slot": cell.slot, **written}
            made.metadata["tags"] = ["words"] if cell.words else ["empty"]
        notebook.cells.append(made)
    nbformat.validate(notebook)
    return notebook


def execute(notebook, home):
    """Run a notebook in the folder of its run.

    Raises:
        ValueError: a cell failed; names it.
    """
    client = nbclient.NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors
        resources={"metadata": {"path": str(home)}},
        record_timing=False,
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        raise ValueError(
            f"the report's notebook does not run: {error.ename}: {error.evalue}"
        ) from error
    notebook.metadata.pop("language_info", None)


def render(notebook, title):
    """The page: what the notebook says and shows, without its code."""
    exporter = HTMLExporter(template_name="basic", exclude_input=True)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    shown = copy.deepcopy(notebook)
    shown.cells = [
        cell for cell in shown.cells if "empty" not in cell.metadata.get("tags", [])
    ]
    body, _ = exporter.from_notebook_node(shown)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(title=title, body=body) + "\n"
