"""Which code made a result: build id, code id, versions."""

import platform
import re

from .files import short_hash

BUILD_ID_LINE = re.compile(r'^BUILD_ID = "[0-9a-f]*"', re.MULTILINE)
SETTINGS_END = "\n# %% Imports\n"
PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pandas", "scikit-learn", "pillow")


def compute_build_id(source: str) -> str:
    """Return ten hex digits over a page's text with an empty build id."""
    return short_hash(BUILD_ID_LINE.sub('BUILD_ID = ""', source, count=1))


def choose_code_id(source: str, build_id: str, code_id: str) -> str:
    """Return the id of the code that decides a page's predictions.

    Args:
        source: the page's text, or "" outside of a page.
        build_id: the page's BUILD_ID.
        code_id: its CODE_ID, over the parsed code without docstrings and messages, so that a
            page whose wording alone has changed can resume an earlier one.

    Returns:
        `code_id`; for a page edited by hand, ten hex digits over the text below its settings.
    """
    if not source or compute_build_id(source) == build_id:
        return code_id
    return short_hash(source.partition(SETTINGS_END)[2])


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
