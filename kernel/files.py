"""Texts, written atomically with the same bytes on every system."""

from pathlib import Path

from pcam_kaggle.system.files import write_beside


def write_text(path: Path, text: str) -> None:
    """Write a text.

    Raises:
        OSError: as `write_beside`.
    """
    with write_beside(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")
