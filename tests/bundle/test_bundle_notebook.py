"""A page as a notebook: the same code, text rendered, the machinery folded; and back."""

import json

import nbformat
import pytest

from kernel.bundle.notebook import make_notebook, read_source
from kernel.bundle.page import bundle_kernel
from kernel.bundle.recipes import list_recipes
from kernel.remote.versions import hash_source
from pcam_kaggle.system.provenance import compute_build_id, hash_code, join_code


@pytest.fixture(scope="module")
def page():
    return bundle_kernel("demo")


@pytest.fixture
def notebook(page):
    return json.loads(make_notebook(page.source))


@pytest.mark.parametrize("name", list_recipes())
def test_the_notebook_of_every_recipe_has_the_code_of_its_page(name):
    page = bundle_kernel(name)
    text = make_notebook(page.source)
    assert text == make_notebook(page.source) and len(text) < 1_000_000
    nbformat.validate(nbformat.reads(text, as_version=4))
    source = read_source(text)
    assert join_code(source) == join_code(page.source)
    assert compute_build_id(source) == page.build_id
    assert hash_code(source) == hash_code(page.source)


def test_text_is_rendered_without_the_lines_of_the_script(notebook):
    first, settings, *_, last = notebook["cells"]
    texts = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    assert first["cell_type"] == "markdown" and texts[0].startswith("# PCam demo\n\nA small")
    assert "**Results.**" in texts[0] and "Contents" not in texts[0]
    assert texts[1] == "## The network" and "## Machinery\n\nEverything below" in "\n".join(texts)
    assert settings["source"][0] == "# %% Settings\n"
    assert last["source"][-1].startswith('main(open_run("demo", ')


def test_the_story_is_open_and_the_machinery_is_folded(notebook):
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    folded = {
        cell["source"][0].strip("\n# %") for cell in code if cell["metadata"].get("_kg_hide-input")
    }
    shown = {cell["source"][0].strip("\n# %") for cell in code} - folded
    assert {"Settings", "recipes/demo.py", "models/small.py", "methods/finetune.py", "Run"} <= shown
    assert {"Imports", "training/members.py", "data/run.py", "training/settings.py"} <= folded
    hidden = [c["metadata"]["jupyter"]["source_hidden"] for c in code if c["metadata"]]
    assert hidden == [True] * len(folded)


def test_what_kaggle_adds_to_a_notebook_is_no_other_code(page, notebook):
    notebook["metadata"]["kaggle"] = {"accelerator": "none"}
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"]["execution"] = {"shell.execute_reply": "2027"}
        if cell["cell_type"] == "code":
            cell |= {"outputs": [{"output_type": "stream", "text": "x"}], "execution_count": number}
            cell["source"] = "".join(cell["source"]).replace("\n", "\r\n") + "\n"
    source = read_source("\ufeff" + json.dumps(notebook))
    assert hash_source(source) == hash_source(page.source)
    assert compute_build_id(source) == page.build_id


def test_lines_edited_in_a_cell_are_other_code(page, notebook):
    (cell,) = (c for c in notebook["cells"] if "# %% models/small.py\n" in c["source"])
    cell["source"].append("\n\nx = 1")
    source = read_source(json.dumps(notebook))
    assert hash_source(source) != hash_source(page.source)
    assert hash_code(source) != hash_code(page.source)
    assert compute_build_id(source) != page.build_id


@pytest.mark.parametrize("text", ["", "x = 1\r\n", "[1]", '{"cells": [1]}', '{"cells": []', "null"])
def test_what_is_no_notebook_is_read_as_it_is(text):
    assert read_source(text) == text
