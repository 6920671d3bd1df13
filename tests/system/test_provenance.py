"""Which code made a result: ids of a page as it was built and as it was edited."""

import platform
import re

import keras
import pytest

from kernel.bundle.page import bundle_kernel
from pcam_kaggle.system.provenance import choose_code_id, compute_build_id, find_versions


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


def find_code_id(source):
    """The value of a page's CODE_ID."""
    return re.search(r'^CODE_ID = "([0-9a-f-]+)"', source, re.MULTILINE)[1]


def test_a_page_as_it_was_built_has_the_code_id_that_it_names(page):
    assert compute_build_id(page.source) == page.build_id
    code_id = find_code_id(page.source)
    assert choose_code_id(page.source, code_id) == code_id.partition("-")[0]


def test_outside_of_a_page_the_code_has_the_id_that_is_given():
    assert choose_code_id("", "package") == "package"


def test_code_that_cannot_be_read_resumes_nothing(page):
    assert choose_code_id("", find_code_id(page.source)) == ""
    assert choose_code_id("exec(page)", find_code_id(page.source)) == ""


def test_code_below_the_mark_of_a_text_is_code(page):
    edited = edit(page, "# # PCam explore\n", "# # PCam explore\nfit = None\n")
    assert compute_build_id(edited) != page.build_id
    code_id = find_code_id(page.source)
    assert choose_code_id(edited, code_id) != code_id.partition("-")[0]


def test_text_is_no_code(page):
    """A notebook executes no cell of text."""
    edited = edit(page, "# # PCam explore\n", "# # My patches\n#\n# Words.\n")
    assert compute_build_id(edited) == page.build_id
    code_id = find_code_id(page.source)
    assert choose_code_id(edited, code_id) == code_id.partition("-")[0]


def test_edited_code_is_other_code(page):
    code_id = find_code_id(page.source)
    edits = [
        page.source + "x = 1\n",
        page.source + "x = 2\n",
        edit(page, "import dataclasses\n", "import dataclasses\nimport abc\n"),
    ]
    ids = [choose_code_id(source, code_id) for source in edits]
    assert len({*ids, *code_id.split("-")}) == 5 and all(len(name) == 10 for name in ids)


def test_edited_settings_are_no_other_code(page):
    """They enter the fingerprint by themselves."""
    code_id = find_code_id(page.source)
    edited = edit(page, "OVERRIDES = {}", 'OVERRIDES = {"num_images": 10}')
    assert choose_code_id(edited, code_id) == code_id.partition("-")[0]


def test_versions_are_those_of_the_packages_that_are_here():
    versions = find_versions()
    assert versions["python"] == platform.python_version()
    assert versions["keras"] == keras.__version__
    assert {"numpy", "pandas", "pillow", "scikit-learn"} < set(versions)
    assert all(versions.values())
