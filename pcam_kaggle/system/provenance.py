"""Which code made a result: build id, code id, versions."""

import platform
import re
from pathlib import Path

import __main__

from .files import short_hash

BUILD_ID_LINE = re.compile(r'^BUILD_ID = "[0-9a-f]*"', re.MULTILINE)
CELL = re.compile(r"^(?=# %%)", re.MULTILINE)  # where a cell starts
TEXT = re.compile(r"# %% \[markdown\](\n(#.*)?)*")  # a cell of text, without code below
SETTINGS_END = "\n# %% Imports\n"
SLOT = re.compile(r"(BUILD_ID|CODE_ID|SETTINGS|OVERRIDES) = ")
PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pandas", "scikit-learn", "pillow")


def compute_build_id(source: str) -> str:
    """Return ten hex digits over a page's code with an empty build id."""
    return short_hash(join_code(BUILD_ID_LINE.sub('BUILD_ID = ""', source, count=1)))


def split_cells(page: str) -> list:
    """Return a page's cells, each with its mark, as a notebook has them."""
    return [cell.rstrip() for cell in CELL.split(page) if cell.strip()]


def join_code(page: str) -> str:
    """Return a page's cells of code: the same for a script and for a notebook made of it."""
    return "\n".join(cell for cell in split_cells(page) if not TEXT.fullmatch(cell))


def is_notebook() -> bool:
    """Whether the page runs as a notebook: IPython keeps the executed cells as `In`."""
    return hasattr(__main__, "In")


def read_page() -> str:
    """Return the code of the page that runs; "" where neither a file nor IPython has it."""
    path = Path(getattr(__main__, "__file__", None) or "")
    if path.is_file():
        return path.read_text("utf-8")
    latest = {}  # by its mark: a cell that was executed again counts as it ran last
    for cell in getattr(__main__, "In", []):
        latest[cell.split("\n")[0] if CELL.match(cell) else cell] = cell
    return "\n".join(latest.values())


def hash_code(page: str) -> str:
    """Return ten hex digits over a page's code: all but the values above its imports."""
    head, mark, below = join_code(page).partition(SETTINGS_END)
    added = [line for line in head.split("\n") if line[:1].isalpha() and not SLOT.match(line)]
    return short_hash("\n".join([*added, below])) if mark else ""


def choose_code_id(page: str, code_id: str) -> str:
    """Return the id of the code that decides a page's predictions.

    Args:
        page: the page's text; anything else, such as "", is code that cannot be read.
        code_id: its CODE_ID: an id over the parsed code without docstrings and messages, so
            that a reworded page can resume an earlier one, "-", and `hash_code` of the page.

    Returns:
        The first part of `code_id`; for code edited by hand its own hash, and for code that
        cannot be read "", which resumes nothing.
    """
    code, _, text = code_id.partition("-")
    found = hash_code(page)
    return code if found == text or not text else found


def find_versions() -> dict:
    """Return the versions of Python and of the packages that affect the numbers."""
    import importlib.metadata  # takes 12 ms, which building a page can save

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
