"""The demo: the shipped patches as a competition, and the whole loop on them."""

import json
import re
import shutil

import pytest
from conftest import read_rows, run_python

from kernel.folders import ROOT
from kernel.sandbox.demo import SHIPPED, lay_out_demo
from pcam_kaggle.data.cache import load_cached
from pcam_kaggle.data.competition import load_labels, load_sample
from pcam_kaggle.system.paths import find_data


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The shipped patches, laid out: the folder and the solution."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return folder, lay_out_demo(folder)


def test_the_shipped_patches_are_a_whole_competition(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("PCAM_CACHE", str(tmp_path))
    root, solution = demo
    folder = find_data(root / "input")
    train, test = load_labels(folder), load_sample(folder)
    assert (len(train), train["label"].sum(), len(test)) == (1000, 405, 400)
    assert not set(train["id"]) & set(test["id"])
    load_cached(train, True, "train")  # every id is the sha1 of its pixels
    load_cached(test, True, "test")
    assert set(solution["id"]) == set(test["id"])
    assert solution["label"].sum() == 162
    assert list(solution["Usage"]).count("Public") == 200
    tables = {path.name for path in root.rglob("*.csv")}
    assert tables == {"train_labels.csv", "sample_submission.csv"}  # no label of the test part


def test_no_shipped_patch_is_both_trained_on_and_tested():
    with open(SHIPPED / "labels.csv", encoding="utf-8") as file:
        rows = [line.strip().split(",") for line in file][1:]
    assert len({name for name, *_ in rows}) == len(rows) == 1400
    assert {split for *_, split in rows} == {"train", "test"}


def test_demo_is_the_whole_loop_and_says_sandbox(tmp_path):
    copy = tmp_path / "clone"
    skip = shutil.ignore_patterns("dist", "runs", "__pycache__", ".git", "tests")
    shutil.copytree(ROOT, copy, ignore=skip)
    words = ["demo", "epochs=2", "folds=0"]
    result = run_python([copy / "build.py", *words])
    assert result.returncode == 0, result.stderr
    scores = re.search(r"score +public (0\.\d{4}), private (0\.\d{4})", result.stdout)
    assert all(0 < float(score) < 1 for score in scores.groups())
    assert "would rank" in result.stdout and "of 1,149" in result.stdout
    assert "sandbox" in result.stdout and "Kaggle" not in result.stdout
    for step in ("push", "status", "output", "submit", "leaderboard", "whole demo"):
        assert re.search(rf"^{step} +[\d.]+ s$", result.stdout, re.M)
    (run,) = (copy / "runs" / "demo").glob("pcam-demo-*")
    record = json.loads((run / "run.json").read_text())
    assert record["edited"] is False and len(read_rows(run / "submission.csv")) == 400
    for name in ("leaderboard.png", "oof.csv", "history.csv", "MODEL_CARD.md"):
        assert (run / name).is_file()
