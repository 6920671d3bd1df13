"""The publications that the report cites: references.csv, by how the text names them."""

import csv
from pathlib import Path

REFERENCES = Path(__file__).with_name("references.csv")


def list_cited(text: str) -> list[str]:
    """The references that a text names, such as "Huang et al. 2017", as lines of Markdown."""
    with open(REFERENCES, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [f"{r['cited']}: {r['text']} <{r['url']}>" for r in rows if r["cited"] in text]
