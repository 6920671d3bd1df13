"""The demo: the shipped patches as a competition, and the whole loop on them."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import pytest
from conftest import read_rows, run_python

from kernel.bundle.page import bundle_kernel
from kernel.folders import ROOT
from kernel.records import PushRecord, write_record
from kernel.sandbox.demo import MARK, SHIPPED, hash_shipped, is_same_demo, lay_out_demo, set_aside
from pcam_kaggle.data.cache import load_cached
from pcam_kaggle.data.competition import load_labels, load_sample
from pcam_kaggle.system.files import write_json
from pcam_kaggle.system.paths import find_data

WORDS = ("demo", "epochs=2", "num_folds=2")


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


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository, in which the demo was interrupted after its first network."""
    copy = tmp_path_factory.mktemp("clone") / "clone"
    skip = shutil.ignore_patterns("dist", "runs", "__pycache__", ".git", "tests")
    shutil.copytree(ROOT, copy, ignore=skip)
    command = [sys.executable, "-u", copy / "build.py", *WORDS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "out-of-fold AUC" in line:
                process.terminate()
    return copy


def test_demo_is_the_whole_loop_and_is_resumed_and_repeated(clone):
    result = run_python([clone / "build.py", *WORDS])
    assert result.returncode == 0, result.stderr
    assert "fold 0 seed 0 was finished before, taken from" in result.stdout
    assert "fold 0 seed 0 epoch" not in result.stdout and "fold 1 seed 1 epoch" in result.stdout
    scores = re.search(r"score +public (0\.\d{4}), private (0\.\d{4})", result.stdout)
    assert all(0 < float(score) < 1 for score in scores.groups())
    assert "would rank" in result.stdout and "of 1,149" in result.stdout
    assert "sandbox" in result.stdout and "127.0.0.1" not in result.stdout
    for step in ("push", "status", "output", "submit", "leaderboard", "whole demo"):
        assert re.search(rf"^{step} +[\d.]+ s$", result.stdout, re.M)
    (run,) = [path.parent for path in (clone / "runs" / "demo").glob("pcam-demo-*/run.json")]
    record = json.loads((run / "run.json").read_text())
    assert record["edited"] is False and len(read_rows(run / "submission.csv")) == 400
    for name in ("leaderboard.png", "oof.csv", "history.csv", "MODEL_CARD.md"):
        assert (run / name).is_file()

    assert set_aside(clone / "runs" / "demo") == clone / "runs" / "demo-1"
    again = run_python([clone / "build.py", *WORDS])
    assert again.returncode == 0, again.stderr
    assert "of the same build" in again.stdout and "not pushed again" in again.stdout
    assert "already submitted (submission 1)" in again.stdout and scores[0] in again.stdout
    state = json.loads((clone / "runs/demo/sandbox/state.json").read_text())
    assert len(state["submissions"]) == 1
    assert len(state["kernels"]["sandbox/pcam-demo"]["versions"]) == 2  # one was interrupted


def test_a_demo_of_another_build_is_set_aside(tmp_path):
    folder = tmp_path / "demo"
    bundle = bundle_kernel("demo", {"epochs": 2, "max_hours": 11.5})
    record = PushRecord(
        service="sandbox",
        recipe="demo",
        build_id=bundle.build_id,
        settings={"epochs": 2},
        kernel="sandbox/pcam-demo",
        version=1,
        max_hours=11.5,
    )
    write_record(folder / "run", record)
    write_json(folder / "run" / "run.json", {})
    assert not is_same_demo(folder, "demo", {"epochs": 2})  # its sandbox is gone
    (folder / "sandbox").mkdir()
    write_json(folder / "sandbox" / "state.json", {})
    (folder / "data").mkdir()
    (folder / "data" / MARK).write_text("0123456789")
    assert not is_same_demo(folder, "demo", {"epochs": 2})  # of other patches
    (folder / "data" / MARK).write_text(hash_shipped())
    assert is_same_demo(folder, "demo", {"epochs": 2})
    assert not is_same_demo(folder, "demo", {"epochs": 3})
    write_record(folder / "run", dataclasses.replace(record, build_id="0123456789"))
    assert not is_same_demo(folder, "demo", {"epochs": 2})  # of other code
    assert set_aside(folder) == tmp_path / "demo-1" and not folder.exists()
    (folder / "folds").mkdir(parents=True)
    with pytest.raises(ValueError, match="has a run that no demo made"):
        set_aside(folder)
    assert (folder / "folds").exists()
    assert not is_same_demo(tmp_path / "demo-1", "demo", {"epochs": 2})
    write_record(tmp_path / "demo-1" / "run", record)
    assert is_same_demo(tmp_path / "demo-1", "demo", {"epochs": 2})  # it is taken again


def test_a_demo_that_was_interrupted_keeps_its_networks(tmp_path):
    folder = tmp_path / "demo"
    folds = folder / "sandbox/kernels/sandbox/pcam-demo/v1/working/folds"
    folds.mkdir(parents=True)
    (folds / "checkpoint_fold0_seed0.npz").touch()
    assert set_aside(folder) is None and not folder.exists()  # no network was finished
    folds.mkdir(parents=True)
    (folds / "fold0_seed0.npz").touch()
    assert set_aside(folder) == tmp_path / "demo-1"
    assert [path.name for path in (tmp_path / "demo-1").iterdir()] == ["sandbox"]
    assert list((tmp_path / "demo-1").rglob("fold0_seed0.npz"))
