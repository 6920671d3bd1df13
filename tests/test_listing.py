"""The table of runs: their kinds, their states, terminals of any width."""

import json
import os

import filelock
import pytest

import build
from kernel.board import BoardRow
from kernel.listing import (
    LEAST_WIDTH,
    describe_age,
    describe_run,
    describe_size,
    describe_state,
    list_paragraphs,
    list_table,
)
from kernel.records import PushRecord, StatusRecord, write_record


def make(folder, networks=0, **result):
    """A run made here; without a result, one that has not got that far."""
    (folder / "folds").mkdir(parents=True)
    for number in range(networks):
        (folder / "folds" / f"fold{number}_seed{number}.npz").touch()
    (folder / "folds" / "checkpoint_fold9_seed9.npz").touch()
    if result:
        (folder / "run.json").write_text(json.dumps(result))
    return folder


def test_every_kind_of_run_is_listed_with_its_state(tmp_path, monkeypatch, capsys):
    runs = tmp_path / "runs"
    monkeypatch.setattr(build, "RUNS", runs)
    make(runs / "pcam-fast-0123456789-home", 3, recipe="fast", oof_auc=0.95, complete=True)
    missing = {"complete": False, "not_trained": ["fold 2 seed 2", "fold 3 seed 3"]}
    make(runs / "pcam-best-0123456789-home", 2, recipe="best", oof_auc=0.9, **missing)
    make(runs / "pcam-vit-0123456789-home")
    held = make(runs / "pcam-smoke-0123456789-home", 1)
    explored = make(runs / "explore-again") / ".new"
    explored.mkdir()
    (explored / ".lock").touch()
    (held / "vanished").symlink_to("nowhere")  # as a temporary file that was renamed
    (make(runs / "pcam-fast-study-home") / "study.log").touch()
    (make(runs / "explore", recipe="explore") / "exploration.json").touch()
    blend = make(runs / "blend-0123456789", method="mean", oof_auc=0.96)
    write_record(blend, PushRecord("Kaggle", "blend 2x mean", "0123456789"))
    write_record(blend, StatusRecord("COMPLETE"))
    pushed = make(runs / "demo" / "pcam-demo-0123456789")
    write_record(pushed, PushRecord("sandbox", "demo", "0123456789", kernel="me/pcam-demo"))
    write_record(pushed, StatusRecord("ERROR"))
    for name in ("demo/pcam-demo", "demo-1/pcam-demo"):
        run = make(runs / name)
        write_record(run, PushRecord("sandbox", "demo", "0123456789", kernel="me/pcam-demo"))
        write_record(run, StatusRecord("RUNNING"))
    (runs / "data" / "train").mkdir(parents=True)  # no run
    (runs / ".locks").mkdir(exist_ok=True)
    (held / ".lock").touch()
    os.utime(pushed / "push.json", (1, 1))
    demo = filelock.FileLock(runs / ".locks" / "demo.lock")
    with filelock.FileLock(held / ".lock"), demo, filelock.FileLock(explored / ".lock"):
        assert build.main(["runs", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["runs"]
        assert build.main(["runs"]) == 0
    states = {run["run"]: (run["kind"], run["state"], describe_state(run)) for run in found}
    assert states == {
        "pcam-fast-0123456789-home": ("run", "COMPLETE", "finished"),
        "pcam-best-0123456789-home": ("run", "PARTIAL", "partial 2/4"),
        "pcam-vit-0123456789-home": ("run", "PARTIAL", "partial 0"),
        "pcam-smoke-0123456789-home": ("run", "RUNNING", "running"),
        "pcam-fast-study-home": ("study", "PARTIAL", "partial"),
        "explore": ("exploration", "COMPLETE", "finished"),
        "explore-again": ("run", "RUNNING", "running"),
        "blend-0123456789": ("blend", "COMPLETE", "finished"),
        "demo/pcam-demo-0123456789": ("run", "ERROR", "failed"),
        "demo/pcam-demo": ("run", "RUNNING", "running"),
        "demo-1/pcam-demo": ("run", "CANCEL_ACKNOWLEDGED", "cancelled"),  # its command has ended
    }
    assert {run["service"] for run in found} == {"home", "Kaggle", "sandbox"}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(found) and lines[1].startswith(found[0]["run"])
    assert "pcam-best-0123456789-home   partial 2/4  0.9000  " in "\n".join(lines)


@pytest.mark.parametrize("key", ["recipe", "build_id", "oof_auc", "grouping", "estimate"])
def test_a_damaged_result_is_left_out_with_a_line(tmp_path, monkeypatch, capsys, key):
    monkeypatch.setattr(build, "RUNS", tmp_path)
    make(tmp_path / "pcam-fast-0123456789-home", 3, recipe="fast", oof_auc=0.95)
    make(tmp_path / "pcam-best-0123456789-home", 2, **{"recipe": "best", key: {"a": 1}})
    assert build.main(["runs"]) == 0
    text, errors = capsys.readouterr()
    assert "finished   0.9500" in text and "partial 2" in text
    path = tmp_path / "pcam-best-0123456789-home" / "run.json"
    assert errors.startswith(f"left out: {path}: expected {key} of type ")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_run_fits_the_terminal(tmp_path, width):
    names = ("pcam-fast-0123456789-home", "pcam-course-resnet34-0123456789-home")
    shown = [make(tmp_path / n, 2, oof_auc=0.9, not_trained=["a"]) for n in names]
    rows = {("home", ""): BoardRow(public_score="0.91234", private_score="0.90000")}
    shown = [describe_run(run, rows, tmp_path) for run in shown]
    if width >= LEAST_WIDTH:
        table = list(list_table(shown, width))
        assert max(map(len, table)) <= width
        assert len(table) == (3 if width == 120 else 4)  # the longer name on a line of its own
        cells = [names[0], "partial", "2/3", "0.9000", "0.9123", "0.9000"]
        assert table[1].split()[:6] == cells
    lines = "\n".join(list_paragraphs(shown, width)).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0] == names[0] and lines[1].startswith("  partial 2/3, 0 min ago, ")


def test_ages_and_sizes_are_in_their_largest_unit():
    ages = {5: "0 min", 3_599: "59 min", 7_200: "2 h", 200_000: "2 d"}
    assert {seconds: describe_age(seconds) for seconds in ages} == ages
    sizes = {999: "1 KB", 1_400_000: "1.4 MB", 7_100_000_000: "7.1 GB"}
    assert {size: describe_size(size) for size in sizes} == sizes
