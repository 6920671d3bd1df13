"""What is handed in: a folder that stands alone, and what of its author's work it keeps."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import browser
import nbformat
import numpy as np
import pytest
from conftest import run_python
from report_runs import (
    make_exploration,
    make_run,
    make_several,
    make_study,
    read_run_json,
    write_record,
)

import build
from kernel import locks
from kernel.bundle.page import bundle_kernel
from kernel.report import handin
from kernel.report.appendix import find_page, tell_appendix
from kernel.report.checklist import check_rubric, list_labels, list_techniques, render_checklist
from kernel.report.handin import hand_in, render_readme
from kernel.report.notebook import build_notebook, execute_notebook
from kernel.report.reading import read_run
from kernel.report.story import SLOTS, Cell
from pcam_kaggle.system.files import short_hash
from pcam_kaggle.system.provenance import compute_build_id

NAME = "Abgabe 'für' \"alle\""  # a folder may be called so
ABSENT = ("pcam_kaggle", "keras", "tensorflow", "kaggle", "jinja2", "nbconvert")
EXECUTE = """
import nbformat, nbclient
notebook = nbformat.read("report.ipynb", 4)
nbclient.NotebookClient(notebook, kernel_name="python3").execute()
print(len(notebook.cells))
"""
PROBE = """({
  scrolling: [...document.querySelectorAll(".wide")]
      .filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText),
  wide: [...document.querySelectorAll("main *")].filter(e => !e.closest(".wide"))
      .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML),
  scroll: document.scrollingElement.scrollWidth,
  small: [...document.querySelectorAll("p, li, td, th, caption, figcaption")]
      .filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length,
  broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
  silent: [...document.images].filter(i => i.alt.trim().length < 10).length,
  images: document.images.length,
})"""
CUT = """[...document.querySelectorAll("main *")]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, the first with its kernel and a score, an exploration and a study."""
    folder = tmp_path_factory.mktemp("runs")
    run = make_run(folder / "pcam-demo-1")
    bundle = bundle_kernel("demo")
    write_record(run, {**read_run_json(run), "build_id": bundle.build_id})
    (run / "page.py").write_text(bundle.source, "utf-8", newline="\n")
    scores = {"submission": 1, "public_score": "0.81234", "private_score": ""}
    (run / "submit.json").write_text(json.dumps(scores))
    (run / "words.md").write_text(
        "## results\nWritten for the report, five words.\n\n## conclusion\nx\n", "utf-8"
    )
    images = np.random.default_rng(0).integers(90, 215, (60, 96, 96, 3))
    make_exploration(folder / "eda", images.astype("uint8"))
    shutil.copy(folder / "eda" / "data_labels.png", run / "leaderboard.png")
    make_run(folder / "other", seed=1, folds=(0,))
    make_study(folder / "study")
    return folder


@pytest.fixture(scope="module")
def handed(runs, tmp_path_factory):
    """A finished hand-in and what was said: copy it."""
    out, said = tmp_path_factory.mktemp("handed") / NAME, []
    names = ("eda", "pcam-demo-1", "study", "other")  # in any order
    before = {name: (runs / name).read_bytes() for name in list_files(runs)}
    hand_in([runs / name for name in names], out, "https://example.org/us", said.append)
    assert {name: (runs / name).read_bytes() for name in list_files(runs)} == before
    return out, said


@pytest.fixture
def copied(handed, tmp_path):
    return shutil.copytree(handed[0], tmp_path / "moved elsewhere" / NAME)


def list_files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_holds_what_is_handed_in_and_no_more(runs, handed):
    out, said = handed
    files = list_files(out)
    assert {name for name in files if "/" not in name} == {
        "CHECKLIST.md",
        "README.md",
        "kernel.py",
        "leaderboard.png",
        "report.html",
        "report.ipynb",
        "words.md",
    }
    assert {name.split("/")[1] for name in files if "/" in name} == {
        "pcam-demo-1",
        "other",
        "eda",
        "study",
        "handin.json",
    }
    assert not [name for name in files if name.endswith((".npz", "submission.csv"))]
    assert (out / "kernel.py").read_bytes() == (runs / "pcam-demo-1" / "page.py").read_bytes()
    readme = (out / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\((?!https)([^)]+)\)", readme))
    assert linked >= {"report.ipynb", "kernel.py", "leaderboard.png"}
    assert all((out / name).exists() for name in linked)
    assert "0.81234 on the public leaderboard" in readme
    board = dataclasses.replace(read_run(runs / "pcam-demo-1", runs), service="sandbox")
    assert "on the sandbox's public leaderboard, which is not" in render_readme(board, None, True)
    notebook = (out / "report.ipynb").read_text("utf-8")
    assert str(runs) not in notebook and "This run was submitted" not in notebook
    conclusion = notebook.partition("## 5. Conclusion")[2].partition("## 6.")[0]
    assert re.search(r"The AUC out of fold is [^\n]* \(Figure \d+\)\.", conclusion)
    assert said[-1].startswith(f"wrote    {out} (")


def test_tables_are_read_from_the_data_and_explained(handed):
    kept = json.loads((handed[0] / "data" / "pcam-demo-1" / "tables.json").read_text("utf-8"))
    assert "densenet121" in kept["networks"] and "runs" in kept
    shown = {}
    for cell in nbformat.read(handed[0] / "report.ipynb", nbformat.NO_CONVERT).cells:
        assert not re.search(r"pd\.DataFrame\(\{'", cell.source)
        if caption := re.search(r'"Table \d+\. (.*)"', cell.source):
            shown[caption[1]] = cell.outputs[-1].data["text/html"]
    statistics = shown["Statistics of patches.csv, without its categories."]
    assert "brightness" in statistics and "label" not in statistics and "stain" not in statistics
    assert "share of its pixels that are tissue, not glass" in shown["The columns of patches.csv."]
    counts = shown["The categories of patches.csv: patches, and how many have tumor."]
    assert "label" not in counts and "blank = no" in counts and "stain = 1" in counts
    assert "33.3%" in shown["The numbers of the plan, computed from patches.csv."]


def test_the_checklist_has_125_points_and_says_what_only_the_author_can_write(handed):
    out, said = handed
    text = (out / "CHECKLIST.md").read_text("utf-8")
    points = [int(n) for n in re.findall(r"^\| [^*|]+ \| (\d+) \|", text, re.MULTILINE)]
    assert points == [5, 15, 25, 35, 15, 30] and sum(points) == 125
    assert "# Checklist: 125 points" in text and "| **total** | **125** |" in text
    missing = [line[9:] for line in said if line.startswith("missing")]
    several = "a comparison of several architectures and your reasoning are missing"
    assert f"Architectures, 25 points: {several}" in missing
    assert "Conclusion, 15 points: your own conclusion is missing" in missing
    assert not [line for line in missing if line.startswith(("Results", "Deliverables"))]
    assert (
        "- [x] your analysis of what helped and why: 6 words below `## results` in words.md" in text
    )
    few = "your own conclusion: write it below `## conclusion` in words.md (1 word so far)"
    assert f"- [ ] {few}" in text
    for paragraph in ("Cleaning", "Plan", "What helped and what did not", "Next steps"):
        assert re.search(rf"- \[x\] [a-z ]+: \*{paragraph}\*\n", text)
    assert re.search(r"- \[x\] an exploration with histograms: Figures 1 to \d+", text)


def test_what_is_asked_of_the_author_is_not_handed_in(runs, tmp_path, monkeypatch):
    told = []

    def keep(draft, runs, cells, words, repository):
        told.extend(cells)
        return write_draft(draft, runs, cells, words, repository)

    run = shutil.copytree(runs / "other", tmp_path / "run")
    warnings = ["warning: not trained: fold 1; the same command (push --resume) continues"]
    warnings += ["warning: vit is left out: no weights. Try: build.py weights; cut"]
    write_record(run, {**read_run_json(run), "warnings": warnings})
    pushed = {"service": "Kaggle", "recipe": "fast", "build_id": "0" * 10}
    (run / "push.json").write_text(json.dumps(pushed))
    write_draft = handin.write_draft
    monkeypatch.setattr(handin, "write_draft", keep)
    monkeypatch.setattr(handin, "publish", lambda cells, draft: None)
    hand_in([run], tmp_path / "out", say=lambda line: None)
    text = "\n".join(cell.source for cell in told)
    asked = ("Your words", "--repository", "build.py", "To add", "screenshot.png")
    assert not [words for words in (*asked, "--resume") if words in text]
    assert "- not trained: fold 1\n- vit is left out: no weights; cut" in text
    assert "This run was not submitted." in text
    assert {cell.slot for cell in told} == {*SLOTS, ""}  # to be written in the notebook
    assert "## 6. Repository and leaderboard" in text
    checklist = (tmp_path / "out" / "CHECKLIST.md").read_text("utf-8")
    assert "repeat with `--repository URL`" in checklist and "matplotlib" not in checklist


@pytest.mark.parametrize(
    "count, shown", [(1, "Figure 1"), (2, "Figures 1 and 2"), (3, "Figures 1 to 3")]
)
def test_the_figures_of_a_section_are_listed(count, shown):
    labels = [Cell("", label=f"Figure {number}") for number in range(1, count + 1)]
    assert list_labels([Cell("## 1. Data"), *labels, Cell("## 2. More")], 1) == shown


def test_techniques_are_those_of_the_runs(runs, tmp_path):
    known = read_run(runs / "other", runs / "other")

    def list_of(*members, **changes):
        settings = {} if members else {**known.settings, "augmentation": "none", "tta": "none"}
        record = {**known.record, "settings": {**settings, **changes}, "members": members}
        return list_techniques([dataclasses.replace(known, record=record)])

    average = ["the average of several networks"]
    assert list_of(folds=[0]) == list_of("one") == []
    assert list_of(folds=[0], num_seeds=3) == list_of(num_folds=2) == average
    assert list_of("one", "two") == average  # a blend
    assert list_of(folds=[0], tta="flip", stain_jitter=0.1) == [
        "augmentation",
        "test-time augmentation",
    ]
    several = read_run(make_several(tmp_path / "several"), tmp_path)
    assert len(list_techniques([several])) == 3


def test_a_blend_alone_misses_the_networks_and_the_cleaning_of_its_members(runs):
    run = read_run(runs / "other", runs / "other")
    blend = dataclasses.replace(run, record={"recipe": "", "oof_auc": 0.9, "members": ["a", "b"]})
    parts = check_rubric([blend], [], dict.fromkeys(SLOTS, "words of the author's own"), None, None)
    assert "the cleaning of the data" in parts[1].missing
    assert "a description of the architecture" in parts[2].missing
    assert "add a run of a known network, such as the members of a blend" in render_checklist(parts)


def test_a_bare_run_misses_what_other_runs_would_bring(runs):
    run = read_run(runs / "other", runs / "other")
    words = dict.fromkeys(SLOTS, "words of the author's own")
    parts = check_rubric([run], [], words, None, None)
    assert [part.missing for part in parts] == [
        [],
        ["an exploration with histograms", "the cleaning of the data", "a plan of analysis"],
        ["a comparison of several architectures", "tuned hyperparameters"],
        [
            "tables and figures of the results",
            "a summary of the tuning",
            "a comparison of runs",
            "what helped",
        ],
        ["improvements to try in the future"],
        [
            "a Jupyter notebook with model building and training",
            "the address of the public repository",
            "a screenshot of Kaggle's leaderboard",
        ],
    ]
    lines = [line for line in render_checklist(parts).split("\n") if line.startswith("- ")]
    assert lines and all(line.count(": ") == 1 for line in lines)


def test_the_readme_speaks_of_training_code_only_where_there_is_some(runs):
    run = read_run(runs / "other", runs / "other")
    words = ("training code", "RETRAIN", "kernel.py")
    for trained in (run, None):
        readme = render_readme(run, trained, False)
        assert [word in readme for word in words] == [trained is not None] * 3
        assert "{" not in readme and "It reads only `data/`." in readme


def test_the_sandbox_s_leaderboard_is_none_of_kaggle_s(runs):
    run = read_run(runs / "other", runs / "other")
    for service, missing in (("Kaggle", []), ("sandbox", ["a screenshot of Kaggle's leaderboard"])):
        board = dataclasses.replace(run, service=service)
        words, cells = (
            dict.fromkeys(SLOTS, "words of the author's own"),
            tell_appendix("x = 1", "run", "0" * 10),
        )
        parts = check_rubric([run], cells, words, "https://example.org", board)
        assert parts[-1].missing == missing


def test_a_moved_folder_is_executed_without_the_package(copied, tmp_path):
    absent = tmp_path / "absent"
    absent.mkdir()
    for name in ABSENT:
        (absent / f"{name}.py").write_text(f"raise ImportError('{name} is absent')")
    before = {name: (copied / name).read_bytes() for name in list_files(copied)}
    script = tmp_path / "execute.py"
    script.write_text(EXECUTE)
    command = [sys.executable, "-W", "ignore", str(script)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(absent)}
    result = subprocess.run(command, cwd=copied, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert {name: (copied / name).read_bytes() for name in list_files(copied)} == before
    (copied / "data" / "eda" / "run.json").unlink()
    result = subprocess.run(command, cwd=copied, env=environment, capture_output=True, text=True)
    assert "Received: no data/eda. Try: run this notebook where it" in result.stderr


def test_the_notebook_holds_the_kernel_and_collapses_its_machinery(runs, handed):
    notebook = nbformat.read(handed[0] / "report.ipynb", nbformat.NO_CONVERT)
    cells = [cell for cell in notebook.cells if cell.source.startswith("%%writefile")]
    page = "".join(cell.source.partition("\n")[2] for cell in cells)
    assert page == (runs / "pcam-demo-1" / "page.py").read_text("utf-8")
    shown = [c.source.split("\n")[1] for c in cells if not c.metadata.get("_kg_hide-input")]
    assert {"# %% recipes/demo.py", "# %% models/small.py", "# %% methods/finetune.py"} <= set(
        shown
    )
    assert "# %% models/settings.py" not in shown and len(shown) < len(cells) / 4


PAGE = "# %% [markdown]\n# # Title\n\n# %% Settings\n{}\n\n# %% Run\nmain()\n"


@pytest.mark.parametrize(
    "body, ends_well", [("def main():\n    print('''\n%d''' % 6)", True), ("1", False)]
)
def test_retraining_runs_the_kernel_of_the_cells(tmp_path, body, ends_well):
    page = PAGE.format(body)
    notebook = build_notebook(tell_appendix(page, "run", "0123456789"))
    assert "build `0123456789`" in notebook.cells[0].source
    (switch,) = [cell for cell in notebook.cells if cell.source == "RETRAIN = False"]
    switch.source = "RETRAIN = True"
    notebook.cells[-1].metadata.pop("tags")  # its output is looked at
    folder = tmp_path / NAME
    folder.mkdir()
    if ends_well:
        execute_notebook(notebook, folder)
        assert notebook.cells[-1].outputs[0].text.split() == ["6"]
    else:
        with pytest.raises(ValueError, match="AssertionError: the kernel failed"):
            execute_notebook(notebook, folder)
    assert (folder / "kernel.py").read_text("utf-8") == page


def test_the_kernel_is_the_first_run_s_or_that_of_one_that_trained(runs, tmp_path, monkeypatch):
    read = [read_run(runs / name, runs) for name in ("other", "pcam-demo-1", "eda")]
    read = [dataclasses.replace(run, place=run.name) for run in read]
    pages = {"pcam-demo-1": PAGE.format("2"), "eda": PAGE.format("3")}
    monkeypatch.setattr(handin, "find_page", lambda run: pages.get(run.name, ""))
    monkeypatch.setattr(handin, "publish", lambda cells, draft: told.extend(cells))
    for added, name in (({}, "pcam-demo-1"), ({"other": PAGE.format("1")}, "other")):
        pages |= added
        told, draft = [], tmp_path / name
        handin.write_draft(draft, read, [], dict.fromkeys(SLOTS, ""), None)
        assert f"are the kernel of {name}, build `" in told[0].source
        assert f"the kernel of {name} as it ran" in (draft / "README.md").read_text("utf-8")
        others = {n: p for n, p in pages.items() if n != name}
        assert {p.parent.name: p.read_text() for p in draft.glob("*/kernel.py")} == others


def test_only_pages_are_looked_at_for_a_kernel_old_ones_too(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs / "other", run)
    text = '# %% [markdown]\n# Text\n\n# %% Settings\nBUILD_ID = ""\n'
    (run / "a.py").mkdir()
    if hasattr(os, "mkfifo"):  # not on Windows
        os.mkfifo(run / "b.py")
    (run / "c.py").write_text("x = 1")
    (run / "d.py").write_text(text)
    (run / "e.py").write_text(text + "#" * 700_000)
    ids = {short_hash(text): text, compute_build_id(text): text, short_hash("x = 1"): ""}
    ids[short_hash(text + "#" * 700_000)] = ""
    assert len(ids) == 4
    for build_id, page in ids.items():
        write_record(run, {**read_run_json(run), "build_id": build_id})
        assert find_page(read_run(run, run)) == page


def test_repeating_keeps_the_author_s_work_and_removes_old_data(runs, copied, monkeypatch, capsys):
    path, listed = copied / "report.ipynb", copied / "data" / "handin.json"
    asked = json.loads(listed.read_text())
    assert asked["runs"] == ["eda", "pcam-demo-1", "study", "other"]
    listed.write_text(json.dumps({**asked, "author": "Ann Lee", "runs": ["pcam-demo-1", "study"]}))
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    (cell,) = [c for c in notebook.cells if c.metadata.get("pcam_slot") == "architectures"]
    cell.source = "It is **small**, so it trains fast."
    nbformat.write(notebook, path)
    (copied / "README.md").write_text("My own text.\n")
    (copied / ".git").mkdir()
    (copied / "notes.txt").write_text("mine")
    (copied / "partial-handin-abc" / "data").mkdir(parents=True)  # of one that was killed
    monkeypatch.setattr(build, "RUNS", runs)
    assert build.main(["handin", "--out", str(copied)]) == 0  # of the same runs
    said = capsys.readouterr().out.splitlines()
    assert (copied / "README.md").read_text() == "My own text.\n"
    assert f"kept     {copied / 'README.md'}, which you changed" in said
    assert (copied / "notes.txt").exists() and (copied / ".git").exists()
    assert "<strong>small</strong>" in (copied / "report.html").read_text("utf-8")
    assert "- [x] your reasoning" in (copied / "CHECKLIST.md").read_text("utf-8")
    words = (copied / "words.md").read_text("utf-8")
    assert "It is **small**, so" in words and "Written for the report, five" in words
    assert not [name for name in list_files(copied) if "data/eda" in name or "data/other" in name]
    assert not list(copied.glob("partial-*"))
    assert "README.md" in json.loads(listed.read_text())["files"]
    assert "Ann Lee" in path.read_text("utf-8")
    assert "<https://example.org/us>" in path.read_text("utf-8")  # as the first time
    assert {path.name for path in (copied / "data").iterdir()} == {
        "handin.json",
        "pcam-demo-1",
        "study",
    }


@pytest.mark.parametrize("name", ["report.html", "kernel.py", "data/study/study.csv"])
def test_a_changed_file_is_not_overwritten(runs, copied, name):
    (copied / name).write_text("mine")
    with pytest.raises(ValueError, match=f"Received: other contents of {name}. Try: rename"):
        hand_in([runs / "pcam-demo-1"], copied)
    assert (copied / name).read_text() == "mine"


def test_a_notebook_with_more_than_words_in_it_is_not_overwritten(runs, copied):
    path = copied / "report.ipynb"
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    notebook.cells.append(nbformat.v4.new_code_cell("print('my own analysis')"))
    nbformat.write(notebook, path)
    text = path.read_bytes()
    with pytest.raises(ValueError, match="expected changes in the cells of your words alone"):
        hand_in([runs / "pcam-demo-1"], copied)
    assert path.read_bytes() == text


def test_foreign_and_unusable_folders_are_refused(runs, tmp_path):
    (tmp_path / "report.ipynb").write_text("{}")
    with pytest.raises(ValueError, match=r"Received: other contents of report\.ipynb"):
        hand_in([runs / "pcam-demo-1"], tmp_path)
    with pytest.raises(OSError, match="cannot write to the output folder"):
        hand_in([runs / "pcam-demo-1"], tmp_path / "report.ipynb")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "handin.json").write_text('{"files": {"../../x": ["0"]}}')
    with pytest.raises(ValueError, match=r"expected files in this folder. Received: \.\./\.\./x"):
        hand_in([runs / "pcam-demo-1"], tmp_path)
    (tmp_path / "data" / "handin.json").write_text('{"files": {"kernel.py": "0"}}')
    with pytest.raises(ValueError, match="expected the list of an earlier hand-in"):
        hand_in([runs / "pcam-demo-1"], tmp_path)


def write_files(folder, names, text):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text} {name}")
    return folder


def test_a_hand_in_killed_at_any_step_is_completed_by_the_next(tmp_path, monkeypatch):
    first = ["README.md", "CHECKLIST.md", "report.html", "report.ipynb", "data/eda/run.json"]
    second = [*first[:-1], "kernel.py", "data/run/run.json"]
    replace, killed = os.replace, 0

    def stop_at(step):
        def replace_or_stop(source, target):
            nonlocal calls
            calls += 1
            if calls == step:
                raise KeyboardInterrupt
            replace(source, target)

        calls = 0
        return replace_or_stop

    for step in range(1, len(second) + 4):
        place = tmp_path / str(step)
        out = place / "out"
        out.mkdir(parents=True)
        asked = {"repository": "https://example.org", "author": None, "runs": ["run"]}
        handin.move(write_files(place / "a", first, "old"), out, {}, asked)
        draft = write_files(place / "b", second, "new")
        written, _ = handin.read_written(out)
        monkeypatch.setattr(os, "replace", stop_at(step))
        try:
            handin.move(draft, out, written, asked)
        except KeyboardInterrupt:
            killed += 1
        monkeypatch.setattr(os, "replace", replace)
        written, earlier = handin.read_written(out)
        assert earlier == asked
        handin.check_unchanged(out, written)
        assert handin.move(write_files(place / "c", second, "new"), out, written, asked) == []
        assert list_files(out) == {*second, "data/handin.json"}
        assert {(out / name).read_text() for name in second} == {f"new {name}" for name in second}
        assert not (out / "data" / "eda").exists()
    assert killed == len(second) + 2  # a file each, and the list twice


def test_one_command_at_a_time_writes_a_folder(runs, copied, monkeypatch):
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0)  # of waiting
    before = {name: (copied / name).read_bytes() for name in list_files(copied)}
    name, said = f"handin-{short_hash(str(copied.resolve()))}", []
    with locks.locked(handin.RUNS, name):
        for out in (copied, copied / ".." / copied.name):
            with pytest.raises(ValueError, match=f"another command has worked on {name}"):
                hand_in([runs / "other"], out, say=said.append)
    assert said == [f"another command is working on {name}; waiting for it"] * 2
    assert {name: (copied / name).read_bytes() for name in list_files(copied)} == before


@pytest.mark.parametrize(
    "names, message",
    [
        (["other", "other"], "expected each run once"),
        (["eda"], "eda is an exploration. Expected: a run, blend or study"),
        ([""], "expected a finished run"),
    ],
)
def test_runs_that_make_no_hand_in_are_refused(runs, tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        hand_in([runs / name for name in names], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_notebook_that_fails_leaves_the_hand_in_as_it_was(runs, copied, monkeypatch):
    before = {name: (copied / name).read_bytes() for name in list_files(copied)}
    monkeypatch.setattr(handin, "copy_data", lambda run, folder, code: folder.mkdir(parents=True))
    with pytest.raises(ValueError, match="the report's notebook failed: FileNotFoundError"):
        hand_in([runs / "pcam-demo-1", runs / "study"], copied)
    assert {name: (copied / name).read_bytes() for name in list_files(copied)} == before


def test_the_command_hands_in(runs, tmp_path):
    result = run_python(["build.py", "handin", runs / "eda", "--out", tmp_path / "out"])
    assert result.returncode == 1 and "build.py: error: eda is an exploration" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_in_a_browser_and_on_paper(handed, tmp_path, width):
    with browser.open_page(handed[0] / "report.html", tmp_path / "profile", width) as page:
        found = page.ask(PROBE)
        shown_text = page.ask(
            "[...document.querySelectorAll('h2, caption, td')].map(e => e.innerText).join(' ')"
        )
        page.capture(tmp_path / "report.png")
        page.print_page(tmp_path / "report.pdf")
        page.call("Emulation.setEmulatedMedia", media="print")
        page.resize(673)  # A4 without its margins, in CSS pixels
        cut = page.ask(CUT)
    assert found.pop("images") > 10
    known = {"scrolling": [], "wide": [], "scroll": width, "small": 0, "broken": 0, "silent": 0}
    assert found == known
    assert cut == []
    methods = [event["method"] for event in page.events]
    shown = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    assert not shown & set(methods)
    requests = [e["params"]["request"]["url"] for e in page.events if "requestWill" in e["method"]]
    own = ("data:", "chrome:")  # in the page, and the browser's own
    assert [url.split(":")[0] for url in requests if not url.startswith(own)] == ["file"]
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    if shutil.which("pdftotext"):
        command = ["pdftotext", tmp_path / "report.pdf", "-"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        words = set(re.findall(r"\w{3,}", printed))
        assert set(re.findall(r"\w{3,}", shown_text)) - words == set()
