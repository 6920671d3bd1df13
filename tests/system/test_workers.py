"""Several jobs at once: the same results, errors by name, devices of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import find_survivors, is_running, run_python
from joblib.externals.loky import get_reusable_executor, process_executor

import pcam_kaggle.system.workers as workers_module
from kernel.bundle.page import bundle_kernel
from kernel.folders import ROOT
from pcam_kaggle.system.workers import run_jobs, take_share

GROWN = []
SMALL = {"num_folds": 2, "epochs": 2, "batch_size": 8, "num_workers": 2}


def square(shared, number):
    return os.getpid(), float(shared[number] ** 2)


def fail(shared, number):
    raise FloatingPointError(f"job {number} has no number")


def die(shared, number):
    os.kill(os.getpid(), signal.SIGKILL)


def say_gpu(shared):
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


def grow(shared, folder):
    """This worker's slot and the living workers that have it too; loky then replaces it."""
    process_executor._MEMORY_LEAK_CHECK_DELAY, process_executor._MAX_MEMORY_LEAK_SIZE = 0, 1e6
    GROWN.append(np.ones(1_000_000))
    slot = os.environ["CUDA_VISIBLE_DEVICES"]
    (folder / f"slot{slot}-{os.getpid()}").touch()
    others = {int(path.name.split("-")[1]) for path in folder.glob(f"slot{slot}-*")}
    sharing = [pid for pid in others - {os.getpid()} if is_running(pid)]
    return os.getpid(), slot, sharing


def run_page(tmp_path, competition, overrides):
    """The page of the demo in a process of its own, whose functions reach workers by value."""
    script, out = tmp_path / "kernel.py", tmp_path / "out"
    script.write_text(bundle_kernel("demo", overrides).source, "utf-8", newline="\n")
    return run_python([script], competition, out), out


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_job_is_done_once(num_workers, tmp_path):
    shared = np.arange(6)
    jobs = ((number,) for number in range(6))
    results = list(run_jobs(square, shared, jobs, num_workers, (), tmp_path))
    assert sorted(value for _, value in results) == [0, 1, 4, 9, 16, 25]
    assert (os.getpid() in {pid for pid, _ in results}) == (num_workers == 1)


def test_a_job_is_drawn_when_a_worker_is_free_for_it(tmp_path):
    drawn = []

    def draw():
        for number in range(3):
            drawn.append(number)
            yield (number,)

    results = run_jobs(square, np.arange(6), draw(), 1, (), tmp_path)
    for number in range(3):
        assert next(results)[1] == number**2
        assert drawn == list(range(number + 1))


def test_an_error_in_a_worker_comes_back_with_its_traceback(tmp_path):
    with pytest.raises(FloatingPointError, match="job 0 has no number") as error:
        list(run_jobs(fail, None, iter([(0,)]), 2, (), tmp_path))
    assert "in fail" in str(error.value.__cause__)


def refuse(*share):
    raise PermissionError("no cores")


def test_a_worker_that_cannot_start_is_not_said_to_lack_memory_only(tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "start_worker", refuse)
    with pytest.raises(RuntimeError, match="or could not start, for the reason printed above"):
        list(run_jobs(square, np.arange(6), iter([(0,)]), 2, (), tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_worker_is_said(tmp_path):
    with pytest.raises(RuntimeError, match="a worker was killed.*num_workers=1"):
        list(run_jobs(die, None, iter([(0,), (1,)]), 2, (), tmp_path))


@pytest.mark.parametrize("slot, gpu", [(0, "4"), (1, "7"), (2, "4")])
def test_a_slot_has_a_gpu(slot, gpu, monkeypatch):
    names = ("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE")
    for name in names:
        monkeypatch.setenv(name, "")
    take_share(slot, num_slots=2, gpus=("4", "7"))
    assert [os.environ[name] for name in names] == [gpu, "", ""]
    take_share(slot, num_slots=3, gpus=("4", "7"))
    assert [os.environ[name] for name in names] == [gpu, "true", "false"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call")
def test_each_slot_has_cores_that_no_other_has(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(name, "")
    cores, taken = os.sched_getaffinity(0), []
    try:
        for slot in range(2):
            os.sched_setaffinity(0, cores)
            take_share(slot, num_slots=2, gpus=())
            taken.append(os.sched_getaffinity(0))
            assert os.environ["TF_NUM_INTRAOP_THREADS"] == str(len(taken[-1]))
    finally:
        os.sched_setaffinity(0, cores)
    if len(cores) > 1:
        assert taken[0] | taken[1] == cores and not taken[0] & taken[1]


def test_one_job_on_a_hidden_gpu_runs_in_a_worker(tmp_path):
    ((pid, gpu),) = run_jobs(say_gpu, None, iter([()]), 1, ("GPU-1", "GPU-2"), tmp_path)
    assert pid != os.getpid() and gpu in ("GPU-1", "GPU-2")
    assert os.environ.get("CUDA_VISIBLE_DEVICES") not in ("GPU-1", "GPU-2")


def test_workers_end_with_the_last_job(tmp_path):
    pids = set()
    for pid, _ in run_jobs(square, np.arange(6), iter([(0,), (1,)]), 2, (), tmp_path):
        pids.add(pid)
        longest_network = 12 * 3600
        assert get_reusable_executor(reuse=True)._timeout > longest_network
    assert pids and not any(map(is_running, pids))


WITH_ONE_JOB = """
import time
from pcam_kaggle.system.workers import run_jobs

def work(shared):
    kill_parent(os.getppid())
    time.sleep(3600)

list(run_jobs(work, None, [()], 2, (), "."))  # the other worker never gets a job
"""


@pytest.mark.skipif(os.name == "nt", reason="the command lines differ")
def test_workers_with_and_without_a_job_end_with_their_parent(tmp_path):
    assert find_survivors(WITH_ONE_JOB, tmp_path) == (2, [])


TAKE_SLOT = """
from pathlib import Path
from pcam_kaggle.system.workers import take_slot
print("asks", flush=True)
print(take_slot(Path(), 2), flush=True)
input()
"""


def test_a_killed_worker_frees_its_slot_and_no_other(tmp_path):
    def start():
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", TAKE_SLOT]
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)
        assert worker.stdout.readline() == "asks\n"
        return worker

    workers = {}
    for _ in range(2):
        worker = start()
        workers[worker.stdout.readline()] = worker
    assert set(workers) == {"0\n", "1\n"}
    for slot in ("1\n", "0\n", "0\n"):
        waiting = start()  # both slots are held
        workers[slot].kill()
        assert waiting.stdout.readline() == slot
        workers[slot].communicate()
        workers[slot] = waiting
        assert all(worker.poll() is None for worker in workers.values())
    for worker in workers.values():
        worker.communicate("\n")


def test_workers_that_loky_replaces_never_share_a_slot(tmp_path):
    jobs = ((tmp_path,) for _ in range(10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib warns of each replacement
        results = list(run_jobs(grow, None, jobs, 2, ("0", "1"), tmp_path))
    assert len({pid for pid, *_ in results}) > 2  # some were replaced
    assert [sharing for *_, sharing in results if sharing] == []
    assert {slot for _, slot, _ in results} <= {"0", "1"}


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
        line = re.compile(rf"^fold {fold} seed {fold} epoch  \d/2  loss .* s$", re.M)
        assert len(line.findall(result.stdout)) == 2


@pytest.mark.slow
def test_a_fold_that_diverges_in_a_worker_ends_the_run_by_name(competition, tmp_path):
    rates = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 10.0}
    diverging = {**SMALL, **rates, "weight_decay": 1.0, "epochs": 300}
    result, out = run_page(tmp_path, competition, diverging)
    assert result.returncode == 1
    assert re.search(r"FloatingPointError: fold \d seed \d, epoch \d+", result.stderr)
    assert not (out / "submission.csv").exists()
