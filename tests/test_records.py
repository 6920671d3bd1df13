"""What the folder of a run records, and the files of older versions."""

import dataclasses
import json
import os

import pytest

import build
from kernel.board import COLUMNS, BoardRow, add_to_board, read_board
from kernel.records import (
    PushRecord,
    ResultRecord,
    StatusRecord,
    SubmissionRecord,
    read_record,
    write_record,
)
from kernel.runs import find_commit, find_folder, list_runs

OLD_PUSH = {
    "pushed": "2026-11-20T10:00:00.000+00:00",
    "service": "Kaggle",
    "recipe": "seed_resnet34",
    "settings": {"folds": [0]},
    "build_id": "0123456789",
    "kernel": "me/pcam-seed-resnet34-folds-0",
    "version": 2,
    "url": "https://www.kaggle.com/code/me/pcam-seed-resnet34-folds-0",
    "timeout_hours": 1.2,
    "expected_hours": 0.3,
    "dataset_sources": [],
    "kernel_sources": [],
    "commit": "f" * 40,
    "dirty": False,
}


@pytest.fixture
def old_run(tmp_path):
    """The folder of a run that was pushed under a recipe's old name."""
    run = tmp_path / "runs" / "pcam-seed-resnet34-folds-0-0123456789"
    run.mkdir(parents=True)
    (run / "push.json").write_text(json.dumps(OLD_PUSH))
    (run / "status.json").write_text('{"state": "COMPLETE", "seen": "2026-11-20"}')
    settings = {"recipe": "seed_resnet34", "architecture": "resnet34_seed"}
    record = {"build_id": "0123456789", "settings": settings, "oof_auc": 0.9}
    (run / "run.json").write_text(json.dumps({**record, "evaluation": {}}))
    return run


@pytest.mark.parametrize(
    "record",
    [
        PushRecord("Kaggle", "demo", "0123456789", settings={"epochs": 3}, version=1),
        PushRecord("sandbox", "blend 2x mean", "0123456789", dataset_sources=("a/b",)),
        StatusRecord("ERROR", "2026-11-24", "Traceback"),
        SubmissionRecord(7, "demo", "2026-11-24", "0.9", "", "me"),
        ResultRecord("0123456789", "demo", 2, files=("submission.csv",)),
    ],
)
def test_a_record_reads_back_and_cannot_be_changed(tmp_path, record):
    run = tmp_path / "run"
    assert read_record(run, type(record)) is None
    write_record(run, record)
    assert read_record(run, type(record)) == record
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.build_id = "9876543210"


def test_files_of_older_versions_are_read(old_run):
    push = read_record(old_run, PushRecord)
    assert (push.recipe, push.version, push.dataset_sources) == ("seed_resnet34", 2, ())
    assert read_record(old_run, StatusRecord).failure == ""
    result = read_record(old_run, ResultRecord)
    assert (result.schema, result.recipe) == (1, "seed_resnet34")
    assert result.settings == {"architecture": "resnet34_seed"}
    assert result.files == ("submission.csv",) and result.edited is False
    (old_run / "run.json").write_text('{"build_id": "0", "study": {}}')
    assert read_record(old_run, ResultRecord).files == ("study.csv",)
    (old_run / "submit.json").write_text('{"submission": 5, "message": "m"}')
    assert read_record(old_run, SubmissionRecord).public_score == ""


def test_unknown_keys_are_ignored_and_needed_ones_are_named(old_run):
    text = json.dumps({**OLD_PUSH, "a key of tomorrow": 1})
    (old_run / "push.json").write_text(text)
    assert read_record(old_run, PushRecord).version == 2
    (old_run / "push.json").write_text('{"service": "Kaggle"}')
    with pytest.raises(ValueError, match=r"push\.json: expected the keys.*build_id"):
        read_record(old_run, PushRecord)
    (old_run / "push.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"push\.json: expected a JSON object"):
        read_record(old_run, PushRecord)


@pytest.mark.parametrize(
    "key, value",
    [("version", "2"), ("pushed", None), ("settings", [1]), ("dataset_sources", "a/b")],
)
def test_a_value_of_another_type_is_named(old_run, key, value):
    (old_run / "push.json").write_text(json.dumps({**OLD_PUSH, key: value}))
    with pytest.raises(ValueError, match=rf"push\.json: expected {key} of type .* Received"):
        read_record(old_run, PushRecord)


def test_a_run_under_an_old_name_is_listed_and_found(old_run, monkeypatch, capsys):
    runs = old_run.parent
    monkeypatch.setattr(build, "RUNS", runs)
    assert build.main(["runs"]) == 0
    assert old_run.name in capsys.readouterr().out
    assert list_runs(runs) == [old_run]
    for name in ("pcam-seed-resnet34-folds-0", "0123456789", str(old_run)):
        assert find_folder(name, runs) == old_run
    demo = runs / "demo" / "pcam-demo-9876543210"
    demo.mkdir(parents=True)
    (demo / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=f"Known: {old_run.name}, demo/{demo.name}"):
        find_folder("fast", runs)
    assert build.main(["runs"]) == 0
    assert f"\ndemo/{demo.name} " in capsys.readouterr().out


def test_a_run_made_at_home_or_by_the_demo_is_found_by_its_name(tmp_path):
    runs = tmp_path / "runs"
    home, demo = runs / "pcam-fast-0123456789-home", runs / "demo" / "pcam-demo-9876543210"
    for folder in (home, demo):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    for name in (home.name, "0123456789", "pcam-fast", str(home)):
        assert find_folder(name, runs) == home
    (demo / "push.json").write_text(json.dumps({**OLD_PUSH, "kernel": "sandbox/pcam-demo"}))
    for name in (demo.name, f"demo/{demo.name}", str(demo), "pcam-demo"):
        assert find_folder(name, runs) == demo
    known = f"{home.name}, demo/{demo.name}"
    with pytest.raises(ValueError, match=f"unknown run ''. Known: {known}"):
        find_folder("", runs)
    with pytest.raises(ValueError, match=f"Did you mean '{home.name}'. Known: {known}"):
        find_folder("pcam-fats", runs)
    os.utime(home / "run.json", (1, 1))
    assert find_folder(None, runs) == demo
    (demo / "exploration.json").touch()
    assert find_folder(None, runs) == home
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    assert find_folder(str(unfinished), runs) == unfinished


def test_a_board_of_another_version_is_kept(tmp_path):
    row = BoardRow(service="Kaggle", build_id="0", submission="1", public_score="0.9")
    path = tmp_path / "leaderboard.csv"
    path.write_text("service,build_id,submission,a column of tomorrow\nKaggle,9,8,x\n")
    add_to_board(row, tmp_path)
    add_to_board(dataclasses.replace(row, public_score="0.8"), tmp_path)
    other, mine = read_board(tmp_path)
    assert (other.build_id, other.cv_auc) == ("9", "")
    assert (mine.public_score, mine.recipe) == ("0.8", "")
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_the_commit_is_that_of_the_repository(monkeypatch, tmp_path):
    commit, dirty = find_commit()
    assert len(commit) == 40 and dirty in (True, False)
    monkeypatch.setattr("kernel.runs.ROOT", tmp_path)
    assert find_commit() == (None, None)
