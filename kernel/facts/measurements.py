"""The measured results of the recipes, as sentences and as tables.

measurements.csv holds every number once. Its columns:

- recipe, variant: what was measured; the variant says how it differs.
- shown: where, words among list, readme and all.
- measured: by whom: home, kaggle or course notebook; empty if nobody did yet.
- trained_on: how many patches of which kind.
- public_auc, private_auc, scored_on: the AUC on test patches, and on which.
- oof_auc: the AUC out of fold.
- time, hardware, command: how long it took, on what, and how to repeat it.
- gpu_hours: an estimate of what the recipe takes on Kaggle's GPU; never measured.
- note: anything else.
"""

import csv
import dataclasses
import functools
import re
from pathlib import Path

SOURCE = Path(__file__).with_name("measurements.csv")
DEFAULT_GPU_HOURS = 3.0  # of a recipe without an estimate: a fourth of a session
NO_TRAINING = ("smoke", "infer", "explain", "explain_tokens")  # whose hours smoke does not scale


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A row of measurements.csv; all of its fields are text, "" where unknown."""

    recipe: str
    variant: str
    shown: str
    measured: str
    trained_on: str
    public_auc: str
    private_auc: str
    scored_on: str
    oof_auc: str
    time: str
    hardware: str
    command: str
    gpu_hours: str
    note: str


@functools.cache
def read_measurements() -> list[Measurement]:
    """All rows, in the order of the file."""
    with open(SOURCE, encoding="utf-8", newline="") as file:
        return [Measurement(**row) for row in csv.DictReader(file)]


def describe_result(recipe: str) -> str:
    """What was measured of a recipe, how long it took, on what, by which command.

    Args:
        recipe: its name.

    Returns:
        Sentences for `list` and for the header of a page.
    """
    rows = [row for row in read_measurements() if row.recipe == recipe]
    measured = {row.measured for row in rows} - {""}
    shown = [row for row in rows if "list" in row.shown.split()]
    later = [*(row.command for row in shown[1:]), ""]
    sentences = [describe_row(row, row.command != later[i]) for i, row in enumerate(shown)]
    if not measured:
        sentences.append("Not measured yet.")
    elif measured == {"course notebook"}:
        sentences.append("Not measured with this package yet.")
    elif "kaggle" not in measured:
        sentences.append("Not measured on Kaggle yet.")
    hours = find_gpu_hours(recipe)
    if rows and hours:
        sentences.append(f"Estimated GPU time on Kaggle: {hours:g} h.")
    return " ".join(filter(None, sentences))


def find_auc(recipe: str) -> str:
    """The best AUC on test patches that was measured here or on Kaggle, "" for none."""
    rows = [row for row in read_measurements() if row.recipe == recipe]
    return max((row.public_auc for row in rows if row.measured in ("home", "kaggle")), default="")


def describe_row(row: Measurement, with_command: bool = True) -> str:
    """A measurement in a sentence, and how to repeat it; "" of an empty one."""
    auc = describe_auc(row)
    spent = " on ".join(filter(None, (row.time, row.hardware)))
    trained = f"trained on {row.trained_on}" if row.trained_on else ""
    variant, note = row.variant, row.note
    if row.measured == "course notebook":
        variant = f"in the course notebook, {variant}"
    head = f"AUC {auc}" if auc else variant or note
    details = [text for text in (variant, trained, spent, note) if text and text != head]
    inside = f" ({'; '.join(details)})" if details else ""
    sentence = f"{head[:1].upper()}{head[1:]}{inside}." if head else ""
    if not with_command or not row.command or row.measured not in ("home", "kaggle"):
        return sentence
    return f"{sentence} Command: {row.command}."


def describe_auc(row: Measurement) -> str:
    """The scores of a measurement, "" if it has none."""
    public, private = row.public_auc, row.private_auc
    parts = []
    if public and private:
        parts.append(f"{public} public and {private} private on {row.scored_on}")
    elif public:
        parts.append(f"{public} on {row.scored_on}")
    if row.oof_auc:
        parts.append(f"{row.oof_auc} out of fold")
    return ", ".join(parts)


def find_gpu_hours(recipe: str) -> float:
    """About how many hours a recipe takes on Kaggle's GPU: an estimate.

    Args:
        recipe: its name; one without an estimate gets a fourth of a session.
    """
    for row in read_measurements():
        if row.recipe == recipe and row.gpu_hours:
            return float(row.gpu_hours)
    return DEFAULT_GPU_HOURS


def describe_costs() -> str:
    """The estimated hours on Kaggle's GPUs of every recipe that trains: "best 5, fast 0.5"."""
    names = {row.recipe for row in read_measurements() if row.gpu_hours}
    hours = {name: find_gpu_hours(name) for name in names}
    return ", ".join(f"{n} {h:g}" for n, h in sorted(hours.items()) if h and n not in NO_TRAINING)


def render_readme_table() -> str:
    """The README's table of results, as Markdown."""
    columns = ("recipe", "trained on", "ROC AUC", "time", "hardware")
    return render_table("readme", columns)


def render_all_measurements() -> str:
    """The table of all measurements, as Markdown."""
    columns = ("recipe", "trained on", "ROC AUC", "time", "hardware", "command")
    return render_table("all", columns)


def render_table(place: str, columns: tuple) -> str:
    """The measurements that are shown in a place, as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in read_measurements():
        if place not in row.shown.split():
            continue
        note = row.note if place == "all" else ""
        cells = {
            "recipe": ", ".join(filter(None, (f"`{row.recipe}`", mark_up(row.variant)))),
            "trained on": row.trained_on,
            "ROC AUC": "; ".join(filter(None, (describe_auc(row), note))),
            "time": row.time,
            "hardware": row.hardware,
            "command": f"`{row.command}`" if row.command else "",
        }
        lines.append("| " + " | ".join(cells[name] for name in columns) + " |")
    return "\n".join(lines)


def mark_up(variant: str) -> str:
    """A variant with its settings, such as labels=hard, as code."""
    return re.sub(r"\w+=[\w.]+", r"`\g<0>`", variant)
