"""The report: what it says, what it keeps of its author's, what it refuses."""

import json
import re
import shutil
import subprocess

import nbformat
import pandas as pd
import pytest
from conftest import write_rows

from kernel import report
from kernel.blend import blend_runs
from kernel.report import find_repository, gather_words, parse_words, write_report
from kernel.story import SLOTS, tell

SECTIONS = [
    "1. Problem and data",
    "2. Exploration",
    "3. Architectures",
    "4. Results and analysis",
    "5. Conclusion",
    "6. Repository and leaderboard",
]


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "runs" / finished.name)


@pytest.fixture
def other(run):
    """Another run of the same competition, half of it: no history, one fold."""
    folder = shutil.copytree(run, run.with_name("other"))
    (folder / "history.csv").unlink()
    oof = pd.read_csv(folder / "oof.csv", dtype={"id": str})
    oof[oof["fold"] == 0].to_csv(folder / "oof.csv", index=False)
    record = json.loads((folder / "run.json").read_text())
    record["build_id"] = "9876543210"
    record["fold_auc"].pop("1")
    record["not_trained"] = ["fold 1 seed 1"]
    record["warnings"] = ["warning: no time for fold 1 seed 1"]
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def read_notebook(run):
    return nbformat.read(run / "report.ipynb", nbformat.NO_CONVERT)


def story_of(*folders):
    """All that a report says, without running its notebook."""
    runs = [report.read_run(folder, folders[0]) for folder in folders]
    report.check_runs(runs)
    cells = tell(runs, dict.fromkeys(SLOTS, ""), None)
    return "\n".join(cell.source for cell in cells)


def test_a_report_is_a_page_and_an_executed_notebook(run, other):
    write_rows(run / "submit.json", [], ["{}"])
    scores = {"public_score": "0.81234", "private_score": ""}
    (run / "submit.json").write_text(json.dumps(scores))
    shutil.copy(run / "roc.png", run / "leaderboard.png")
    blend = blend_runs([run, other], runs=run.parent, say=lambda line: None)
    said = []
    page = write_report([run, other, blend], "https://example.org/us", said.append)
    assert page == run / "report.html"
    assert "0 of 5 sections have words of yours" in said[0]
    text = page.read_text("utf-8")
    assert re.findall(r"<h2[^>]*>(.+?)<a", text) == SECTIONS
    record = json.loads((run / "run.json").read_text())
    assert f"AUC out of fold is {record['oof_auc']:.4f}" in text
    assert "0.81234" in text and "<th>other</th>" in text and blend.name in text

    images = re.findall(r"<img ([^>]*)>", re.sub(r"base64,[\w+/=\s]+", "", text))
    num_pictures = len(list(run.glob("*.png")))
    assert len(images) == num_pictures == text.count("<strong>Figure ")
    assert all(re.search(r'alt="[^"]{10,}"', image) for image in images)
    addresses = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", text)
    assert addresses == ["https://example.org/us"]
    assert "<script" not in text and "pd.DataFrame" not in text
    assert "Your words" not in text

    notebook = read_notebook(run)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "stream"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == num_pictures
    assert str(run) not in nbformat.writes(notebook)


def test_every_sentence_of_the_conclusion_points_at_a_figure_that_is_there(run):
    text = story_of(run)
    conclusion = text[text.index("## 5.") : text.index("## 6.")]
    known = re.findall(r"\*\*Figure (\d+)\.\*\*", text)
    assert known == [str(n) for n in range(1, len(known) + 1)]
    named = re.findall(r"Figure (\d+)", conclusion)
    assert len(named) >= 4 and set(named) <= set(known)
    evaluation = json.loads((run / "run.json").read_text())["evaluation"]
    point = evaluation["operating_points"]["specificity 95 %"]
    assert f"{point['sensitivity']:.1%} of the tumours" in conclusion


def test_a_run_without_history_with_a_fold_and_a_failure_is_told(run, other):
    text = story_of(other)
    assert "This run has no history of its training" in text
    assert "There was no time for fold 1 seed 1" in text
    assert "- warning: no time for fold 1 seed 1" in text
    assert "Learning curves" not in text
    for name in ("exploration.json", "roc.png", "data_samples.png"):
        (other / name).unlink()
    text = story_of(other)
    assert "This run left no exploration" in text and '"roc.png"' not in text


def test_a_study_is_told_alone_and_beside_a_run(run):
    folder = run.with_name("study")
    folder.mkdir()
    record = json.loads((run / "run.json").read_text())
    kept = ("build_id", "settings", "counts", "device", "packages", "precision")
    study = {
        "trials": 2,
        "fold": 0,
        "winner": 1,
        "winner_auc": 0.91,
        "overrides": {"epochs": 20},
        "importance": {"epochs": 0.7},
    }
    text = json.dumps({**{name: record[name] for name in kept}, "study": study})
    (folder / "run.json").write_text(text)
    (folder / "study.csv").write_text("number,state,value\n0,COMPLETE,0.9\n")
    for text in (story_of(folder), story_of(run, folder)):
        assert "`epochs=20`" in text and "found 0.9100 in 2 trials" in text
        assert "epochs mattered most (70% of the variance)" in text
    assert '"../study/study.csv"' in text
    for name in ("study", "second"):
        shutil.copytree(folder, run.with_name("second"), dirs_exist_ok=True)
        shutil.copy(run / "roc.png", run.with_name(name) / "study.png")
    shutil.copy(run / "roc.png", run / "leaderboard.png")
    text = story_of(run, folder, run.with_name("second"))
    known = re.findall(r"\*\*Figure (\d+)\.\*\*", text)
    assert known == [str(n) for n in range(1, len(known) + 1)]


def test_the_author_s_words_are_kept_wherever_they_were_written(run):
    gather_words(run)
    path = run / "words.md"
    text = path.read_text("utf-8")
    assert [line[3:] for line in text.splitlines() if line[:3] == "## "] == list(SLOTS)
    words = "I chose it, because **it is small**.\n\n## Really\n\n- é"
    path.write_text(text.replace("## results\n", f"## results\n{words}\n"), "utf-8")
    write_report([run], say=lambda line: None)
    page = (run / "report.html").read_text("utf-8")
    assert "<strong>it is small</strong>" in page and ">Really<" in page

    notebook = read_notebook(run)  # as Jupyter saves it
    (cell,) = [c for c in notebook.cells if c.metadata.get("pcam_slot") == "problem"]
    assert "Your words (problem)" in cell.source
    cell.source = "Cancer is a problem."
    nbformat.write(notebook, run / "report.ipynb")
    kept = gather_words(run)
    assert kept["results"] == words and kept["problem"] == "Cancer is a problem."
    assert parse_words(path.read_text("utf-8")) == kept

    path.write_text(path.read_text("utf-8").replace("Cancer is", "This is"), "utf-8")
    with pytest.raises(ValueError, match=r"words on 'problem' were changed in both"):
        gather_words(run)
    assert "This is a problem" in path.read_text("utf-8")


def test_runs_of_different_competitions_are_refused(run, other):
    rows = pd.read_csv(other / "submission.csv")
    rows["id"] = ["f" * 40, *rows["id"][1:]]
    rows.to_csv(other / "submission.csv", index=False)
    with pytest.raises(ValueError, match=r"runs of one competition.*15 in common"):
        story_of(run, other)


@pytest.mark.parametrize(
    "remove, message",
    [
        ("run.json", r"expected a finished run, blend or study, with run\.json"),
        ("oof.csv", r"oof\.csv is not there"),
    ],
)
def test_what_is_no_finished_run_is_refused(run, remove, message):
    (run / remove).unlink()
    with pytest.raises(ValueError, match=message):
        story_of(run)


def test_a_run_given_twice_is_refused(run):
    with pytest.raises(ValueError, match="each run once"):
        story_of(run, run)


def test_a_notebook_that_fails_leaves_the_report_as_it_was(run, monkeypatch):
    (run / "report.html").write_text("before")
    monkeypatch.setattr(report, "tell", lambda *given: [report_cell("1 / 0")])
    with pytest.raises(ValueError, match="does not run.*ZeroDivisionError"):
        write_report([run], say=lambda line: None)
    assert (run / "report.html").read_text() == "before"
    assert not (run / "report.ipynb").exists()


def report_cell(source):
    from kernel.story import Cell

    return Cell(source, is_code=True)


@pytest.mark.parametrize(
    "origin, expected",
    [
        ("git@github.com:me/pcam.git", "https://github.com/me/pcam"),
        ("ssh://git@github.com/me/pcam", "https://github.com/me/pcam"),
        ("https://me:ghp_secret@github.com/me/pcam.git", "https://github.com/me/pcam"),
        ("https://github.com/me/pcam", "https://github.com/me/pcam"),
        ("/home/me/pcam", None),
        ("", None),
    ],
)
def test_the_repository_s_address_is_a_page_without_passwords(
    tmp_path, monkeypatch, origin, expected
):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    if origin:
        command = ["git", "-C", tmp_path, "remote", "add", "origin", origin]
        subprocess.run(command, check=True)
    assert find_repository() == expected
