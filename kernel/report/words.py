"""The author's own words: words.md and what was changed in the notebook."""

import re
from pathlib import Path

import nbformat

from ..files import write_text
from .notebook import hash_cells
from .story import SLOTS

WORDS = "words.md"
INTRO = "<!-- Write your own words for the report below each heading, as Markdown. -->"


def take_words(home: Path, earlier: Path) -> dict:
    """The author's own words for a folder that may be new, as `gather_words`.

    Args:
        home: folder of the report.
        earlier: folder of an earlier report, whose words a new one begins with.
    """
    if (earlier / WORDS).is_file() and not (home / WORDS).exists():
        write_words(home, read_all_words(earlier))
    return gather_words(home)


def gather_words(home: Path) -> dict:
    """The author's own words by slot, as `read_all_words`; writes words.md with all of them."""
    words = read_all_words(home)
    write_words(home, words)
    return words


def write_words(home: Path, words: dict) -> None:
    """Write words.md with a heading for every slot."""
    blocks = [
        f"## {slot}\n<!-- {prompt} -->\n\n{words[slot]}".rstrip() for slot, prompt in SLOTS.items()
    ]
    write_text(home / WORDS, "\n\n".join([INTRO, *blocks]) + "\n")


def read_all_words(home: Path) -> dict:
    """The author's own words by slot, with those that were written in the notebook.

    Args:
        home: folder of the report.

    Raises:
        ValueError: a slot that was changed in both places since the report was made, or a
            notebook with other changes, which would be lost.
    """
    path, notebook = home / WORDS, home / "report.ipynb"
    words = parse_words(read_words(path)) if path.is_file() else {}
    words = {slot: words.get(slot, "") for slot in SLOTS}
    if notebook.is_file():
        for slot, (edited, before) in read_edited(notebook).items():
            if words[slot] not in (edited, before):
                raise ValueError(
                    f"{notebook} and {path}: expected the words on {slot!r} to be changed in "
                    "one of them. Received: changes in both. Try: undo one"
                )
            words[slot] = edited
    return words


def read_words(path: Path) -> str:
    """The text of words.md.

    Raises:
        ValueError: it is not UTF-8; names it.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected text in UTF-8. Received: another encoding ({error.reason}). Try: "
            "save it as UTF-8 in your editor"
        ) from error


def read_edited(path: Path) -> dict:
    """The slots that were changed in a notebook: their words now, and when it was made.

    Raises:
        ValueError: not a notebook, or one with changes elsewhere.
    """
    try:
        notebook = nbformat.read(path, nbformat.NO_CONVERT)
        made = notebook.metadata.get("pcam_cells")
    except (ValueError, AttributeError) as error:  # no JSON, or JSON that is no notebook
        raise ValueError(
            f"{path}: expected a notebook. Received: {error}. Try: delete it"
        ) from error
    if made not in (None, hash_cells(notebook)):  # older versions have none
        raise ValueError(
            f"{path}: expected changes in the cells of your words alone. Received: other cells "
            f"that were changed, added or removed. Try: move your text to {path.parent / WORDS}, "
            "and rename the notebook to keep it"
        )
    return {
        cell.metadata["pcam_slot"]: (drop_comments(cell.source), cell.metadata.get("pcam_words"))
        for cell in notebook.cells
        if cell.metadata.get("pcam_slot") in SLOTS
        and cell.source != cell.metadata.get("pcam_written")
    }


def parse_words(text: str) -> dict:
    """The text of words.md as a dict of slots and words, without comments."""
    known = "|".join(map(re.escape, SLOTS))
    parts = re.split(rf"(?m)^## ({known})[ \t]*$", text)
    return {slot: drop_comments(text) for slot, text in zip(parts[1::2], parts[2::2])}


def drop_comments(text: str) -> str:
    """A text without comments."""
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).strip()
