"""Which code made a result: ids of a page as it was built and as it was edited."""

import platform

import keras
import pytest

from kernel.bundle.page import bundle_kernel
from pcam_kaggle.system.provenance import choose_code_id, compute_build_id, find_versions

CODE_ID = "0123456789"


@pytest.fixture(scope="module")
def page():
    """A genuine page."""
    return bundle_kernel("explore")


def edit(page, old, new):
    """A page in which a person has changed a line."""
    assert page.source.count(old) == 1
    return page.source.replace(old, new)


def test_the_build_id_does_not_depend_on_itself():
    source = 'x = 1\nBUILD_ID = "{}"  # id\ny = 2\n'
    build_id = compute_build_id(source.format(""))
    assert compute_build_id(source.format(build_id)) == build_id
    assert compute_build_id(source.format(build_id) + "z = 3\n") != build_id
    assert len(build_id) == 10


def test_a_page_as_it_was_built_has_the_code_id_that_it_names(page):
    assert compute_build_id(page.source) == page.build_id
    assert choose_code_id(page.source, page.build_id, CODE_ID) == CODE_ID


def test_outside_of_a_page_the_code_has_the_id_that_is_given():
    assert choose_code_id("", "package", "package") == "package"


def test_edited_code_is_other_code(page):
    edits = [
        page.source + "x = 1\n",
        page.source + "x = 2\n",
        edit(page, "import dataclasses\n", "import dataclasses\nimport abc\n"),
    ]
    ids = [choose_code_id(source, page.build_id, CODE_ID) for source in edits]
    assert len({*ids, CODE_ID}) == 4 and all(len(name) == 10 for name in ids)


def test_edited_settings_are_no_other_code(page):
    """They enter the fingerprint by themselves."""
    line = "OVERRIDES = {}"
    edits = [edit(page, line, f'OVERRIDES = {{"num_images": {n}}}') for n in (10, 20)]
    ids = {choose_code_id(source, page.build_id, CODE_ID) for source in edits}
    assert len(ids) == 1
    below = edit(page, line, line).partition("\n# %% Imports\n")[2]
    assert below and choose_code_id(f"\n# %% Imports\n{below}", page.build_id, CODE_ID) in ids


def test_versions_are_those_of_the_packages_that_are_here():
    versions = find_versions()
    assert versions["python"] == platform.python_version()
    assert versions["keras"] == keras.__version__
    assert {"numpy", "pandas", "pillow", "scikit-learn"} < set(versions)
    assert all(versions.values())
