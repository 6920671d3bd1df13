"""The limits of every page, from one file: they may only be lowered.

A recipe without a row of its own keeps those of "others".
"""

import csv
from pathlib import Path

import pytest

import kernel.bundle
from kernel.bundle.page import bundle_kernel
from kernel.bundle.recipes import list_recipes

SOURCE = Path(kernel.bundle.__file__).with_name("limits.csv")


def read_limits():
    """The rows by recipe."""
    with open(SOURCE, encoding="utf-8", newline="") as file:
        return {row["recipe"]: row for row in csv.DictReader(file)}


def test_limits_are_those_of_recipes():
    assert set(read_limits()) <= {*list_recipes(), "others"}


@pytest.mark.parametrize("name", list_recipes())
def test_a_page_keeps_its_limits(name):
    limits, page = read_limits(), bundle_kernel(name)
    limits = limits.get(name, limits["others"])
    assert page.code_lines <= int(limits["code_lines"])
    assert page.num_bytes <= int(limits["bytes"])
    assert page.story_lines <= int(limits["story_lines"])
