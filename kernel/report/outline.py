"""The sections of a report, in the order of the course's rubric."""

import json

from .assessment import Assessment, compare_runs
from .conclusion import tell_conclusion, tell_hand_in
from .data_sections import tell_exploration, tell_problem
from .networks import tell_architectures
from .reading import ReportRun
from .results import tell_results
from .story import Story

SETUP = """\
import json
from pathlib import Path

import pandas as pd
from IPython.display import Image, display
from sklearn.metrics import roc_auc_score

RUNS = {places}  # the report is about the first

pd.set_option("display.max_colwidth", None, "display.precision", 4)


def read(name, file):
    path = Path(RUNS[name], file)
    return json.loads(path.read_text("utf-8")) if path.exists() else {{}}


def show(path, alt):
    display(Image(path, alt=alt))


runs = {{name: read(name, "run.json") for name in RUNS}}
run = runs[next(iter(RUNS))]
evaluation = read(next(iter(RUNS)), "evaluation.json")"""


def tell(runs: list, assessment: Assessment | None, words: dict, repository: str | None) -> list:
    """Tell a report.

    Args:
        runs: list of ReportRun, the report's own first.
        assessment: the Assessment of the report's own run, or None for a study.
        words: dict of slots and the author's own words.
        repository: the address of the repository, or None.

    Returns:
        List of Cell.
    """
    home, story = runs[0], Story(words)
    title = f"# Histopathologic Cancer Detection: {home.recipe}"
    story.text(f"{title}\n\n{describe_origin(home)}")
    places = json.dumps({run.name: run.place for run in runs}, indent=4)
    story.code(SETUP.format(places=places))
    tell_problem(story, home)
    tell_exploration(story, runs)
    tell_architectures(story, runs)
    comparisons = compare_runs(runs)
    tell_results(story, runs, assessment, comparisons)
    tell_conclusion(story, runs, assessment, comparisons)
    tell_hand_in(story, home, repository)
    return story.cells


def describe_origin(run: ReportRun) -> str:
    """Which build made the run, on what device, with which Keras, and when."""
    record = run.record
    parts = [f"Build `{record.get('build_id', 'unknown')}`"]
    if "device" in record:
        keras = f"keras {record['packages'].get('keras', '?')}"
        parts.append(f"{record['device']}, {record['precision']}, {keras}")
    if "finished" in record:
        parts.append(f"Finished {record['finished'][:16].replace('T', ' ')} UTC")
    return ". ".join(parts) + "."
