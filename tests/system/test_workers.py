"""Several jobs at once: the same results, errors by name, devices of their own."""

import json
import os
import re
import signal

import numpy as np
import pandas as pd
import pytest
from conftest import run_python

from kernel.bundle.page import bundle_kernel
from pcam_kaggle.system.workers import claim_number, run_in_worker, run_jobs, take_share

SMALL = {"num_folds": 2, "epochs": 2, "batch_size": 8, "num_workers": 2}


def square(shared, number):
    return os.getpid(), float(shared[number] ** 2)


def fail(shared, number):
    raise FloatingPointError(f"job {number} has no number")


def die(shared, number):
    os.kill(os.getpid(), signal.SIGKILL)


def run_page(tmp_path, competition, overrides):
    """The page of the demo in a process of its own, whose functions reach workers by value."""
    script, out = tmp_path / "kernel.py", tmp_path / "out"
    script.write_text(bundle_kernel("demo", overrides).source, "utf-8", newline="\n")
    return run_python([script], competition, out), out


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_job_is_done_once(num_workers, tmp_path):
    shared = np.arange(6)
    jobs = ((number,) for number in range(6))
    results = list(run_jobs(square, shared, jobs, num_workers, 0, tmp_path))
    assert sorted(value for _, value in results) == [0, 1, 4, 9, 16, 25]
    assert (os.getpid() in {pid for pid, _ in results}) == (num_workers == 1)


def test_a_job_is_drawn_when_a_worker_is_free_for_it(tmp_path):
    drawn = []

    def draw():
        for number in range(3):
            drawn.append(number)
            yield (number,)

    results = run_jobs(square, np.arange(6), draw(), 1, 0, tmp_path)
    for number in range(3):
        assert next(results)[1] == number**2
        assert drawn == list(range(number + 1))


def test_an_error_in_a_worker_comes_back_with_its_traceback(tmp_path):
    with pytest.raises(FloatingPointError, match="job 0 has no number") as error:
        list(run_jobs(fail, None, iter([(0,)]), 2, 0, tmp_path))
    assert "in fail" in str(error.value.__cause__)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_worker_is_said(tmp_path):
    with pytest.raises(RuntimeError, match="a worker was killed.*num_workers=1"):
        list(run_jobs(die, None, iter([(0,), (1,)]), 2, 0, tmp_path))


def test_each_worker_takes_a_gpu_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PCAM_SHARE", "")
    taken = []
    for _ in range(2):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
        take_share(str(tmp_path), num_workers=2, num_gpus=2)
        taken.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == ["4", "7"]
    assert claim_number(tmp_path) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call")
def test_each_worker_takes_cores_that_no_other_has(tmp_path, monkeypatch):
    for name in ("PCAM_SHARE", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(name, "")
    cores, taken = os.sched_getaffinity(0), []
    try:
        for _ in range(2):
            os.sched_setaffinity(0, cores)
            take_share(str(tmp_path), num_workers=2, num_gpus=0)
            taken.append(os.sched_getaffinity(0))
            assert os.environ["TF_NUM_INTRAOP_THREADS"] == str(len(taken[-1]))
    finally:
        os.sched_setaffinity(0, cores)
    if len(cores) > 1:
        assert taken[0] | taken[1] == cores and not taken[0] & taken[1]


def test_a_worker_takes_its_share_once(tmp_path, monkeypatch):
    import cloudpickle

    monkeypatch.setenv("PCAM_SHARE", "0")  # it has one
    work = cloudpickle.dumps(square)
    _, value = run_in_worker((str(tmp_path), 2, 0), work, np.arange(6), (3,))
    assert value == 9 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_workers_of_a_page_write_what_the_package_writes_alone(competition, tmp_path):
    from pcam_kaggle.recipes import run_recipe

    alone = tmp_path / "alone"
    run = run_recipe("demo", {**SMALL, "num_workers": 1}, competition, alone)
    result, out = run_page(tmp_path, competition, SMALL)
    assert result.returncode == 0, result.stderr
    for name in ("submission.csv", "oof.csv"):
        one, two = (pd.read_csv(folder / name) for folder in (alone, out))
        assert one["id"].equals(two["id"])
        assert np.allclose(one.iloc[:, -1], two.iloc[:, -1], atol=1e-3)
    assert json.loads((out / "run.json").read_text())["not_trained"] == run["not_trained"] == []
    for fold in (0, 1):
        line = re.compile(rf"^fold {fold} seed {fold} epoch  \d/2 \| loss .* s$", re.M)
        assert len(line.findall(result.stdout)) == 2


@pytest.mark.slow
def test_a_fold_that_diverges_in_a_worker_ends_the_run_by_name(competition, tmp_path):
    rates = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 10.0}
    diverging = {**SMALL, **rates, "weight_decay": 1.0, "epochs": 300}
    result, out = run_page(tmp_path, competition, diverging)
    assert result.returncode == 1
    assert re.search(r"FloatingPointError: fold \d seed \d, epoch \d+", result.stderr)
    assert not (out / "submission.csv").exists()
