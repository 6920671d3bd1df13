"""The author's own words: words.md and what was changed in the notebook."""

import re
from pathlib import Path

import nbformat

from ..files import write_text
from .story import SLOTS

WORDS = "words.md"
INTRO = "<!-- Write your own words for the report below each heading, as Markdown. -->"


def gather_words(home: Path) -> dict:
    """The author's own words by slot, with those that were written in the notebook.

    Writes words.md with a heading for every slot.

    Args:
        home: folder of the report.

    Raises:
        ValueError: a slot that was changed in both places since the report was made.
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
                    f"{home / 'report.ipynb'} and {path}: expected the words on "
                    f"{slot!r} to be changed in one of them. Received: changes in "
                    "both. Try: undo one"
                )
            words[slot] = edited
    blocks = [
        f"## {slot}\n<!-- {prompt} -->\n\n{words[slot]}".rstrip() for slot, prompt in SLOTS.items()
    ]
    write_text(path, "\n\n".join([INTRO, *blocks]) + "\n")
    return words


def parse_words(text: str) -> dict:
    """The text of words.md as a dict of slots and words, without comments."""
    known = "|".join(map(re.escape, SLOTS))
    parts = re.split(rf"(?m)^## ({known})[ \t]*$", text)
    texts = (re.sub(r"<!--.*?-->", "", part, flags=re.DOTALL) for part in parts[2::2])
    return {slot: text.strip() for slot, text in zip(parts[1::2], texts)}
