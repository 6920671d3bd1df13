"""The flat kernel in a process of its own: the same bytes as the package."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import TINY, run_python

from kernel.bundle import bundle_kernel
from pcam_kaggle.recipes import get_config

PACKAGE_RUN = """
import json, sys
from pcam_kaggle import get_config, run_experiment
run_experiment(get_config("demo", json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def kernel():
    return bundle_kernel("demo", TINY)


def test_the_kernel_and_the_package_write_the_same_submission(
    competition, tmp_path, kernel
):
    script = tmp_path / "kernel.py"
    script.write_text(kernel.source, "utf-8", newline="\n")
    data = tmp_path / "input"
    flat = run_python([script], data, tmp_path / "flat")
    package = run_python(["-c", PACKAGE_RUN, json.dumps(TINY)], data, tmp_path / "pack")
    assert flat.returncode == 0, flat.stderr
    assert package.returncode == 0, package.stderr
    for name in ("submission.csv", "oof.csv"):
        whole = (tmp_path / "flat" / name).read_bytes()
        assert whole == (tmp_path / "pack" / name).read_bytes()

    run = json.loads((tmp_path / "flat" / "run.json").read_text())
    assert run["build_id"] == kernel.build_id and run["edited"] is False
    settings = get_config(run["settings"])
    assert settings == get_config("demo", TINY)
    assert dataclasses.asdict(settings)["recipe"] == "demo"

    for text in (f"build {kernel.build_id}", "34,745 parameters", "51 train"):
        assert text in flat.stdout
    assert len(re.findall(r"^fold \d seed \d epoch", flat.stdout, re.M)) == 4
    assert f"out-of-fold AUC {run['oof_auc']:.4f}" in flat.stdout


def test_a_kernel_decodes_in_processes_from_many_files_on(
    competition, tmp_path, kernel
):
    """The functions of a script reach its worker processes, which start no kernel."""
    source = kernel.source.replace("PROCESSES_FROM = 20_000", "PROCESSES_FROM = 10")
    source = source.replace("OVERRIDES = {", 'OVERRIDES = {"folds": (0,), ')
    assert "PROCESSES_FROM = 10 " in source
    script = tmp_path / "kernel.py"
    script.write_text(source, "utf-8")
    cache = tmp_path / "cache"
    folders = (tmp_path / "input", tmp_path / "out")
    result = run_python([script], *folders, PCAM_CACHE=cache)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("recipe   demo") == 1
    assert len(list(cache.iterdir())) == 2
    assert (tmp_path / "out" / "submission.csv").exists()


@pytest.mark.parametrize("num_workers, num_kills", [(1, 2), (2, 1)])
def test_kills_at_any_moment_change_no_byte(
    competition, tmp_path, num_workers, num_kills
):
    settings = {**TINY, "epochs": 4, "stain_jitter": 0.05, "num_workers": num_workers}
    script, data = tmp_path / "kernel.py", tmp_path / "input"
    script.write_text(bundle_kernel("demo", settings).source, "utf-8", newline="\n")
    folders = {"PCAM_INPUT": str(data), "PCAM_WORKING": str(tmp_path / "killed")}
    random = np.random.default_rng()  # other moments every time
    # By the third line something is kept, by the fifth a fold is finished.
    moments = [*random.integers(3, 8, num_kills - 1).tolist(), 5]
    for moment in moments:
        with subprocess.Popen(
            [sys.executable, "-u", script],
            env={**os.environ, **folders},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            num_lines = 0
            for line in process.stdout:
                num_lines += "| loss " in line
                if num_lines == moment:  # or the run has ended before: as well
                    threading.Event().wait(random.uniform(0, 0.3))
                    kill_all(process)
                    break
    folds = tmp_path / "killed" / "folds"
    finished = {p: p.stat().st_mtime_ns for p in folds.glob("fold*.npz")}
    whole = run_python([script], data, tmp_path / "whole")
    again = run_python([script], data, tmp_path / "killed")
    assert again.returncode == whole.returncode == 0, (moments, again.stderr)
    assert "goes on after epoch" in again.stdout or finished
    assert again.stdout.count("finished before") == len(finished)
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    for name in ("submission.csv", "oof.csv"):
        killed, expected = (tmp_path / n / name for n in ("killed", "whole"))
        assert killed.read_bytes() == expected.read_bytes(), moments
    left = {path.name for path in folds.iterdir()}
    assert {name for name in left if "partial" not in name} == {
        "fold0_seed0.npz",
        "fold1_seed1.npz",
    }


def kill_all(process):
    """kill -9 of a process and of its workers."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def test_a_fork_with_a_line_changed_runs_and_says_so(competition, tmp_path, kernel):
    source = re.sub(
        r"^OVERRIDES = .*$", 'OVERRIDES = {"folds": (0,)}', kernel.source, flags=re.M
    )
    source = source.replace('"epochs": 25,', '"epochs": 1,')
    source = source.replace('"num_folds": 3,', '"num_folds": 2,')
    script = tmp_path / "fork.py"
    script.write_text(source, "utf-8", newline="\r\n")
    result = run_python([script], tmp_path / "input", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["build_id"] == kernel.build_id and run["edited"] is True
    assert (run["settings"]["epochs"], run["settings"]["folds"]) == (1, [0])
    assert "edited since" in result.stdout


def test_a_wrong_fork_fails_by_name_and_writes_nothing(competition, tmp_path, kernel):
    source = kernel.source.replace("OVERRIDES = {", 'OVERRIDES = {"epoch": 1, ')
    script = tmp_path / "fork.py"
    script.write_text(source, "utf-8")
    result = run_python([script], tmp_path / "input", tmp_path / "out")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ValueError: unknown setting 'epoch'. Did you mean 'epochs'?"
    )
    assert not (tmp_path / "out").exists()
