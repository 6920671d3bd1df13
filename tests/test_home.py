"""`train` here: resumed, broken off, of an exploration and of a study."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

import filelock
import pandas as pd
import pytest
from conftest import TESTS, TINY, read_rows, run_python, write_rows

import build
from kernel.bundle.metadata import write_kernel
from kernel.folders import ROOT
from kernel.home import drafted, remove_empty
from pcam_kaggle.system.provenance import compute_build_id

BUILD = ROOT / "build.py"
WORDS = [f"{name}={value}" for name, value in TINY.items()]


def run_build(*words):
    """One command in this process; its exit code."""
    return build.main([str(word) for word in words])


def test_train_runs_the_built_file_keeps_its_results_and_resumes(
    competition, tmp_path, home, capfd
):
    script, _ = write_kernel("demo")
    pushed = script.read_bytes()
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text("broken")  # credentials are not read
    out = tmp_path / "out"
    words = ["train", "demo", "--data", competition.parents[1], "--out", out, *WORDS]
    out.mkdir()
    (out / "keras.py").write_text("raise SystemExit(7)")  # which must not run
    interrupt(words, out)
    assert run_build(*words, "--resume") == 0
    text = capfd.readouterr().out
    assert "fold 0 seed 0 was finished before" in text and f"results   {out}" in text
    run = json.loads((out / "run.json").read_text())
    assert run["edited"] is False and run["settings"]["epochs"] == TINY["epochs"]
    assert len(read_rows(out / "submission.csv")) == 16
    assert "python build.py predict RUN" in (out / "MODEL_CARD.md").read_text("utf-8")
    built = out / f"pcam-demo-{run['build_id']}.py"
    assert compute_build_id(built.read_text("utf-8")) == run["build_id"]
    assert script.read_bytes() == pushed

    # A second stage: one of its folds at another size.
    words = ["train", "demo", "--data", competition, "--out", tmp_path / "second"]
    words += ["num_folds=2", "batch_size=8", "epochs=1", "tta=none", "input_size=32"]
    with pytest.raises(SystemExit):
        run_build(*words, f"weights={out}", "seed=1")
    assert "Expected: seed=0. Received: seed=1" in capfd.readouterr().err
    assert run_build(*words, f"weights={out}", "folds=1") == 0
    assert f"from the networks of build {run['build_id']}, in {out}" in capfd.readouterr().out
    settings = json.loads((tmp_path / "second" / "run.json").read_text())["settings"]
    assert settings["weights"] == run["build_id"] and settings["input_size"] == 32
    with pytest.raises(SystemExit):
        run_build(*words, f"weights={tmp_path / 'second'}")
    assert "second kept no network of fold 0" in capfd.readouterr().err


def interrupt(words, out):
    """Press Ctrl-C in the terminal of a `train` once the first network is finished."""
    with subprocess.Popen(
        [sys.executable, BUILD, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(TESTS / "guard")},
    ) as process:
        for _ in process.stdout:
            if (out / "folds" / "fold0_seed0.npz").exists():
                break
        if os.name == "nt":  # where Ctrl-C would end the test
            return process.kill()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that runs in it
        text, error = process.communicate()
    assert process.returncode == 130 and "Traceback" not in text + error
    (last,) = error.splitlines()
    assert last.startswith(f"build.py: interrupted; kept in {out}: 1 finished network")
    assert last.endswith(f". To continue: python build.py {shlex.join(map(str, words))}")


def test_train_without_data_fails_before_the_kernel_starts(tmp_path, capsys):
    out = tmp_path / "out"
    assert run_build("train", "demo", "--data", tmp_path, "--out", out) == 1
    error = capsys.readouterr().err
    assert "competition data not found" in error and "build.py download" in error
    assert not out.exists()


def test_a_training_that_its_kernel_refuses_leaves_no_folder(competition, tmp_path, capfd):
    out = tmp_path / "new" / "out"
    words = ["train", "demo", "num_folds=100", "--data", competition.parents[1], "--out", out]
    assert run_build(*words) == 1
    assert "the kernel" in capfd.readouterr().err and not out.exists()
    out.mkdir(parents=True)
    assert run_build(*words) == 1
    assert out.exists()  # which was there before
    (script,) = out.glob("*.py")
    with filelock.FileLock(out / ".lock"):  # a kernel of another command
        remove_empty(out, script)
        assert script.exists()
    remove_empty(out, script)
    assert not out.exists()


def test_a_kernel_prints_names_that_the_terminal_lacks(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("print('a \u56e2')", "utf-8")
    code = f"""
import pathlib, sys
sys.path.insert(0, {str(ROOT)!r})
from kernel.home import run_script
from kernel.terminal import safe_output
with safe_output():
    run_script(*map(pathlib.Path, sys.argv[1:]))
"""
    ascii_only = {"PYTHONUTF8": 0, "PYTHONCOERCECLOCALE": 0, "LC_ALL": "C"}  # Windows has cp1252
    result = run_python(["-c", code, script, tmp_path, tmp_path], **ascii_only)
    assert (result.stdout, result.stderr) == ("a ?\n", "")


def test_a_kernel_that_fails_fails_the_command(competition, tmp_path, capfd):
    min((competition / "test").iterdir()).write_bytes(b"no image")
    out = tmp_path / "out"
    words = ["train", "demo", "--data", competition, "--out", out, *WORDS]
    assert run_build(*words) == 1
    error = capfd.readouterr().err
    assert "not a TIFF" in error
    assert error.strip().splitlines()[-1].endswith("failed, exit code 1")
    assert not out.exists()  # nothing was computed


def test_an_output_that_cannot_be_written_is_named(competition, tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert run_build("train", "demo", "--data", competition, "--out", out) == 1
    assert "cannot write to the output folder" in capsys.readouterr().err


def test_explore_runs_here_in_a_folder_of_its_own(competition, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    slides = tmp_path / "slides.csv"
    labels = pd.read_csv(competition / "train_labels.csv")
    rows = [(patch_id, f"s{n % 5}") for n, patch_id in enumerate(labels["id"])]
    write_rows(slides, rows, ("id", "slide"))
    words = ["train", "explore", f"slide_map={slides}", "--data", competition]
    assert run_build(*words) == 0
    text, out = capfd.readouterr().out, tmp_path / "runs" / "explore"
    for line in ("51 patches of 96x96x3", "16 patches", "slides ", f"results   {out}"):
        assert line in text
    table = pd.read_csv(out / "patches.csv", dtype={"hash": str, "id": str})
    assert len(table) == 51 and table["hash"].str.fullmatch("[0-9a-f]{16}").all()
    assert table.set_index("id")["label"].to_dict() == (labels.set_index("id")["label"].to_dict())
    summary = json.loads((out / "exploration.json").read_text())
    assert summary["test"]["patches"] == 16 and summary["slides"]["slides"] == 5
    run = json.loads((out / "run.json").read_text())
    assert run["recipe"] == "explore" and run["schema"] == 3
    pictures = [path.name for path in out.glob("data_*.png")]
    assert set(run["files"]) == {"exploration.json", "patches.csv", *pictures}
    assert len(run["files"]) == 8
    # A repetition that fails keeps it.
    kept = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".py"}
    min((competition / "train").iterdir()).write_bytes(b"no image")
    assert run_build("train", "explore", "--data", competition) == 1
    left = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".py"}
    assert left == kept
    assert run_build("runs") == 0
    assert "explore  finished" in capfd.readouterr().out
    (out / ".new").mkdir()  # as a command that was killed leaves it
    (out / ".new" / "partial").touch()
    with drafted(out, tmp_path / "runs") as draft:
        assert not any(draft.iterdir()) and (out / "patches.csv").exists()
        (draft / "run.json").write_text("{}")
    assert (out / "run.json").read_text() == "{}" and not (out / "patches.csv").exists()
    assert not (out / ".new").exists()


def test_an_exploration_and_a_training_never_share_a_folder(competition, tmp_path, capfd):
    out = tmp_path / "out"
    out.mkdir()
    run = {"recipe": "explore", "fingerprint": "explored", "files": {}}
    (out / "run.json").write_text(json.dumps(run))
    words = ["--data", competition, "--out", out]
    assert run_build("train", "demo", *WORDS, *words) == 1
    assert "is from another run" in capfd.readouterr().err
    assert json.loads((out / "run.json").read_text()) == run
    (out / "run.json").write_text(json.dumps({**run, "recipe": "demo"}))
    assert run_build("train", "explore", *words) == 1
    assert "holds another run" in capfd.readouterr().err and (out / "run.json").exists()
    assert not list(out.glob("pcam-explore*"))
    run = {**run, "files": {"words.md": {"size": 1}, "..": {"size": 1}}}
    (out / "run.json").write_text(json.dumps(run))
    (out / "words.md").touch()  # the author's
    with drafted(out, tmp_path / "runs") as draft:
        (draft / "run.json").write_text(json.dumps(run))
    assert (out / "words.md").exists()
    with (
        filelock.FileLock(out / ".lock"),  # of a training
        pytest.raises(ValueError, match="holds another run"),
        drafted(out, tmp_path / "runs"),
    ):
        raise AssertionError("the folder is used")


def test_a_folder_without_test_images_is_refused(competition, tmp_path, capfd):
    words = ["train", "explore", "--data", competition, "--out", tmp_path / "explore"]
    shutil.rmtree(competition / "test")
    assert run_build(*words) == 1
    assert "it lacks test" in capfd.readouterr().err
    assert not (tmp_path / "explore").exists()


@pytest.mark.slow
def test_a_study_at_home_is_resumed_by_the_same_command(competition, tmp_path):
    words = ["train", "demo_study", "--data", competition, "--out", tmp_path / "study"]
    words += ["epochs=1", "num_folds=2", "folds=0"]
    for num_trials in (1, 2):
        result = run_python([BUILD, *words, f"trials={num_trials}"])
        assert result.returncode == 0, result.stderr
        trials = pd.read_csv(tmp_path / "study" / "study.csv")
        assert trials["number"].tolist() == list(range(num_trials))
    assert "trial 0:" not in result.stdout and "trial 1: AUC" in result.stdout
