"""The sections of a report, in the order of the course's rubric."""

import pprint

from ..facts.references import list_cited
from .architectures import tell_architectures
from .assessment import Assessment, compare_runs
from .checks import escape
from .conclusion import tell_conclusion
from .data_sections import tell_exploration, tell_problem
from .reading import ReportRun
from .results import tell_results
from .story import Story
from .submission import tell_hand_in

SETUP = """\
import json
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image, display
from sklearn.metrics import roc_auc_score

RUNS = {places}
HOME = next(iter(RUNS))  # the report is about the first


def read(name, file):
    \"\"\"Read a table or a JSON file of a run; {{}} if there is no such JSON file.\"\"\"
    path = Path(RUNS[name], file)
    if path.suffix == ".csv":
        return pd.read_csv(path, dtype={{"id": str, "hash": str}})
    return json.loads(path.read_text("utf-8")) if path.exists() else {{}}


def show(path, alt):
    \"\"\"Show a picture.\"\"\"
    display(Image(path, alt=alt))


def show_table(table, caption):
    \"\"\"Show a table with its caption, and headers that say what they head.\"\"\"
    form = {{"border": 0, "index_names": False, "na_rep": "-", "float_format": "{{:.4f}}".format}}
    head, body = table.to_html(classes="report", **form).split("<tbody>", 1)
    head = head.replace(' style="text-align: right;"', "").replace("<th>", '<th scope="col">')
    head = head.replace(">", f">\\n  <caption>{{escape(caption)}}</caption>", 1)
    display(HTML(head + "<tbody>" + body.replace("<th>", '<th scope="row">')))


missing = [place for place in RUNS.values() if not Path(place, "run.json").is_file()]
if missing:
    raise FileNotFoundError(
        f"Expected: the folders of the runs beside this one. Received: no {{', '.join(missing)}}. "
        "Try: run this notebook where it was written"
    )
pd.set_option("display.max_colwidth", None)
runs = {{name: read(name, "run.json") for name in RUNS}}
run, evaluation = runs[HOME], read(HOME, "evaluation.json")"""


def tell(
    runs: list,
    assessment: Assessment | None,
    words: dict,
    repository: str | None,
    author: str | None = None,
) -> Story:
    """Tell a report.

    Args:
        runs: list of ReportRun, the report's own first.
        assessment: the Assessment of the report's own run, or None for a study.
        words: dict of slots and the author's own words.
        repository: the address of the repository, or None.
        author: who hands the report in, or None.

    Returns:
        The Story.
    """
    home, story = runs[0], Story(words)
    title = f"# Histopathologic Cancer Detection: {home.recipe}"
    story.text(f"{title}\n\n{describe_origin(home, author)}")
    places = pprint.pformat({run.name: run.place for run in runs}, sort_dicts=False, width=80)
    story.code(SETUP.format(places=places))
    tell_problem(story, runs)
    tell_exploration(story, runs)
    tell_architectures(story, runs)
    comparisons = compare_runs(runs)
    tell_results(story, runs, assessment, comparisons)
    tell_conclusion(story, runs, assessment, comparisons)
    tell_hand_in(story, home, repository)
    tell_references(story)
    return story


def describe_origin(run: ReportRun, author: str | None) -> str:
    """Who hands in the report, which build made the run, on what device, and when."""
    record = run.record
    parts = [f"By {escape(author)}"] if author else []
    if "finished" in record:
        parts.append(f"Run finished {record['finished'][:10]}")
    parts.append(f"Build `{record.get('build_id', 'unknown')}`")
    if record.get("edited"):
        parts.append("The page was edited after it was built")
    about = [record[name] for name in ("device", "precision") if name in record]
    keras = record.get("packages", {}).get("keras")
    about += [f"Keras {keras}"] if keras else []
    return ". ".join([*parts, *[", ".join(about)] * bool(about)]) + "."


def tell_references(story: Story) -> None:
    """Section 7: the publications that the text names."""
    text = "\n".join(cell.source for cell in story.cells if not cell.slot)
    lines = "\n".join(f"- {line}" for line in list_cited(text))
    story.text(f"## 7. References\n\n{lines}")
