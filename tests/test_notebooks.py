"""Pages executed as notebooks in the sandbox: the same bytes as the package and the script."""

import json
import re
import sys

import nbformat
import pytest
from conftest import SLUG, TINY

import build
from kernel.bundle.notebook import make_notebook, read_source
from kernel.bundle.page import bundle_kernel
from kernel.runs import find_run
from kernel.sandbox.sessions import Session
from pcam_kaggle.system.files import read_json
from pcam_kaggle.system.provenance import hash_code


@pytest.fixture
def execute(shared_competition, tmp_path):
    """A function that runs a script or a notebook as a session of the sandbox."""

    def run(text, name="session", is_notebook=True, **mounts):
        mounts = {f"competitions/{SLUG}": shared_competition, **mounts}
        session = Session(tmp_path / name, text, mounts, is_notebook=is_notebook)
        session.run()
        log = "".join(entry["data"] for entry in session.log)
        assert session.status == "COMPLETE", log
        return session.folder / "working", log

    return run


def same_bytes(first, second):
    names = ("submission.csv", "oof.csv")
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def list_outputs(path, kind):
    """The outputs of the last cell that have data of a kind, such as "image/png"."""
    notebook = nbformat.read(path, as_version=4)
    outputs = notebook.cells[-1].outputs
    return [o.data[kind] for o in outputs if kind in o.get("data", {})]


def test_a_notebook_trains_shows_its_network_and_writes_the_same_bytes(execute, finished):
    page = bundle_kernel("demo", TINY)
    working, log = execute(make_notebook(page.source))
    assert same_bytes(working, finished)
    run = read_json(working / "run.json")
    assert (run["build_id"], run["edited"]) == (page.build_id, False)
    assert f'CODE_ID = "{run["code"]}-' in page.source
    assert len(re.findall(r"^fold \d seed \d epoch", log, re.M)) == 4
    summary = "".join(list_outputs(working / "__notebook__.ipynb", "text/plain"))
    assert "max_pooling2d" in summary and "34,745" in summary


@pytest.mark.slow
def test_notebook_and_script_train_alike_in_workers_and_resume_each_other(execute):
    page = bundle_kernel("demo", {**TINY, "num_workers": 2})
    script, _ = execute(page.source, "script", is_notebook=False)
    notebook = json.loads(make_notebook(page.source))
    notebook["cells"][0]["source"] = "# My own title"  # a cell of text is no code
    working, log = execute(json.dumps(notebook), "notebook")
    assert same_bytes(working, script) and "edited since" not in log
    for text, name, is_notebook, earlier in (
        (json.dumps(notebook), "second notebook", True, script),
        (page.source, "second script", False, working),
    ):
        again, log = execute(text, name, is_notebook, earlier=earlier)
        assert log.count("taken over") == 2 and "  loss" not in log
        assert same_bytes(again, script)


def test_figures_stand_in_a_notebook_that_is_pushed(open_sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    open_sandbox(python=(sys.executable,))
    assert build.main(["push", "explore", "--notebook", "--wait"]) == 0
    assert build.main(["output"]) == 0
    run = find_run(None, tmp_path / "runs")
    assert read_json(run / "run.json")["edited"] is False
    names = [name for name in read_json(run / "run.json")["files"] if name.endswith(".png")]
    assert len(list_outputs(run / "__notebook__.ipynb", "image/png")) == len(names) > 3


def test_a_notebook_with_lines_edited_says_so_and_decodes_in_processes(execute):
    page = bundle_kernel("explore")
    overrides = 'OVERRIDES = {"seed": 3, "num_images": 30}'
    edits = (("OVERRIDES = {}", overrides), ("PROCESSES_FROM = 20_000", "PROCESSES_FROM = 10"))
    text = make_notebook(page.source)
    for old, new in edits:
        assert text.count(json.dumps(old)[1:-1]) == 1
        text = text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    working, log = execute(text)
    run = read_json(working / "run.json")
    assert "edited since" in log and log.count("recipe   explore") == 1
    assert run["build_id"] == page.build_id and run["edited"] is True
    assert run["code"] == hash_code(read_source(text))  # as that of a script with these edits
    assert run["counts"]["train"] == 30 and run["settings"]["seed"] == 3
