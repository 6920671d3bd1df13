"""Texts and JSON, written atomically with the same bytes on every system."""

import os
from pathlib import Path

from pcam_kaggle.system.files import write_beside, write_json


def write_text(path: Path, text: str) -> None:
    """Write a text.

    Raises:
        OSError: as `write_beside`.
    """
    with write_beside(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def update_json(path: Path, record: object) -> None:
    """Write JSON only if it changes, so that the file's time tells when it did.

    Args:
        path: Path of the file.
        record: dict or dataclass, as `write_json` takes it.

    Raises:
        OSError: as `write_beside`.
    """
    draft = path.with_name(f"draft-{path.name}")
    write_json(draft, record)
    if path.is_file() and path.read_bytes() == draft.read_bytes():
        draft.unlink()
    else:
        os.replace(draft, path)
