"""A batch run that makes no progress ends itself and says where it hung."""

import json
import os
import subprocess
import sys

import pytest

from kernel.folders import ROOT
from kernel.progress import Progress
from pcam_kaggle.system.progress import beat, watch_progress

# Beats for longer than the limit, and until two workers hang; there it stays until it is ended.
RUN = """
import os, sys, threading
from pathlib import Path
from pcam_kaggle.system.progress import beat, watch_progress
from pcam_kaggle.system.workers import run_jobs

def hang_here(shared, number):
    Path(f"hangs{number}").touch()
    print("pid", os.getpid(), flush=True)
    threading.Event().wait()

def beat_until_they_hang():
    while len(list(Path().glob("hangs*"))) < 2:
        beat()
        threading.Event().wait(0.1)

watch_progress(Path("out"), seconds=2)
for _ in range(30):
    beat()
    threading.Event().wait(0.1)
print("hangs", flush=True)
threading.Thread(target=beat_until_they_hang, daemon=True).start()
list(run_jobs(hang_here, None, [(0,), (1,)], 2, (), "."))
"""


def run(folder, run_type="Batch"):
    """The run, with what it printed."""
    environment = {"PYTHONPATH": str(ROOT), "KAGGLE_KERNEL_RUN_TYPE": run_type}
    return subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("names, code", [((), 1), (("run.json",), 1), (None, 0)])
def test_a_hanging_run_ends_itself_with_what_is_finished(names, code, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("run.json", "submission.csv") if names is None else names:
        (tmp_path / "out" / name).write_text('{"recipe": "fast", "warnings": ["one"]}')
    result = run(tmp_path)
    assert result.returncode == code, result.stderr
    assert "hangs\n" in result.stdout  # not while it made progress
    assert "no progress for 2 s; the run ended itself" in result.stdout
    assert "in run_jobs" in result.stderr
    if os.name != "nt":
        assert result.stderr.count("in hang_here") == 2  # the workers' stacks
    if names != ():
        record = json.loads((tmp_path / "out" / "run.json").read_text())
        assert record["recipe"] == "fast"
        assert record["warnings"][0] == "one" and "no progress for 2 s" in record["warnings"][1]


@pytest.mark.parametrize("run_type", [None, "Interactive"])
def test_only_a_batch_run_is_watched(run_type, tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.delenv("PCAM_PROGRESS", raising=False)
    if run_type:
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", run_type)
    watch_progress(tmp_path)
    assert "PCAM_PROGRESS" not in os.environ


def test_a_beat_sets_the_time_of_the_file(tmp_path, monkeypatch):
    beat()  # nobody watches
    path = tmp_path / "progress"
    path.touch()
    os.utime(path, (0, 0))
    monkeypatch.setenv("PCAM_PROGRESS", str(path))
    beat()
    assert path.stat().st_mtime > 1e9


def test_a_stage_says_now_and_then_how_far_it_is(monkeypatch, capsys):
    beat("batch", 1, 3)
    beat("batch", 3, 3)
    assert capsys.readouterr().out == ""  # it took no 30 s
    monkeypatch.setenv("PCAM_SECONDS", "0")
    for done in (1, 2, 3000):
        beat("fold 0 seed 0 batch", done, 3000)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"progress fold 0 seed 0 batch {done} of 3,000" for done in ("2", "3,000")]
    progress = Progress()
    assert all(map(progress.read, lines))
    assert progress.text == "fold 0 seed 0 batch 3,000 of 3,000"
