"""What is known about the foundation models: foundation.csv, as a list and as a table.

Its columns:

- name: what the setting `weights` takes; empty for a model that is not offered.
- weights: its address on Hugging Face.
- license, access: of the weights; access is open, or gated and by what.
- architecture, parameters, pretraining, input_size: of the model.
- hidden_size, num_layers: in its config.json; empty where that is not confirmed.
- pcam: a published result of a linear model on PCam's test part, with its metric. The competition's
  private leaderboard is PCam's test part too: no choice is to be made by this number.
- source: where that result, or else the model, is described.
- why_not: why it is not offered.

"not confirmed" stands where no source was found.
"""

import csv
import dataclasses
import functools
from pathlib import Path

SOURCE = Path(__file__).with_name("foundation.csv")


@dataclasses.dataclass(frozen=True)
class FoundationModel:
    """A row of foundation.csv; all of its fields are text."""

    name: str
    weights: str
    license: str
    access: str
    architecture: str
    parameters: str
    pretraining: str
    hidden_size: str
    num_layers: str
    input_size: str
    pcam: str
    source: str
    why_not: str


@functools.cache
def read_foundation() -> list[FoundationModel]:
    """All rows, in the order of the file."""
    with open(SOURCE, encoding="utf-8", newline="") as file:
        return [FoundationModel(**row) for row in csv.DictReader(file)]


def list_foundation() -> list[str]:
    """A line for each model that is offered, for `list`."""
    return [
        f"{row.name:<17} {row.access.partition(':')[0]:<11} {row.license:<11} {row.parameters:>11}"
        f"  {row.architecture}; {row.pretraining}"
        for row in read_foundation()
        if row.name
    ]


def render_foundation() -> str:
    """The table of all models, as Markdown; those that are not offered last."""
    header = ("weights=", "model", "license, access", "pretrained on", "input", "PCam, published")
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for row in read_foundation():
        place = row.weights.removeprefix("hf://")
        cells = (
            f"`{row.name}`" if row.name else f"not offered: {row.why_not}",
            f"[{place}](https://huggingface.co/{place}): {row.architecture}, {row.parameters} "
            "parameters",
            f"{row.license}, {row.access}",
            row.pretraining,
            row.input_size,
            f"[{row.pcam}]({row.source})",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
