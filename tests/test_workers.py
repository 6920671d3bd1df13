"""Networks trained at once: the same results, errors by name, nothing finished lost."""

import os
import re
import signal

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, run_python
from pcam_kaggle.workers import claim_number, run_jobs, take_share

from kernel.bundle import bundle_kernel


def square(shared, number):
    return os.getpid(), float(shared[number] ** 2)


def fail(shared, number):
    raise FloatingPointError(f"job {number} has no number")


def die(shared, number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_job_is_done_once(num_workers, tmp_path):
    shared = np.arange(6)
    jobs = ((number,) for number in range(6))
    results = list(run_jobs(square, shared, jobs, num_workers, 0, tmp_path))
    assert sorted(value for _, value in results) == [0, 1, 4, 9, 16, 25]
    assert (os.getpid() in {pid for pid, _ in results}) == (num_workers == 1)


def test_an_error_in_a_worker_comes_back_with_its_traceback(tmp_path):
    with pytest.raises(FloatingPointError, match="job 0 has no number") as error:
        list(run_jobs(fail, None, iter([(0,)]), 2, 0, tmp_path))
    assert "in fail" in str(error.value.__cause__)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_worker_is_said(tmp_path):
    with pytest.raises(RuntimeError, match="a worker was killed.*num_workers=1"):
        list(run_jobs(die, None, iter([(0,), (1,)]), 2, 0, tmp_path))


def test_each_worker_takes_a_gpu_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setenv("PCAM_SHARE", "")
    taken = []
    for _ in range(2):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
        take_share(str(tmp_path), num_workers=2, num_gpus=2)
        taken.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == ["4", "7"]
    assert claim_number(tmp_path) == 2


def test_two_workers_write_what_one_writes(competition, tmp_path):
    """The flat kernel, whose functions reach the workers by value."""
    data, outputs = tmp_path / "input", []
    for num_workers in (1, 2):
        kernel = bundle_kernel("demo", {**TINY, "num_workers": num_workers})
        script = tmp_path / f"kernel{num_workers}.py"
        script.write_text(kernel.source, "utf-8", newline="\n")
        out = tmp_path / f"out{num_workers}"
        # One thread, as each of two workers has on two cores.
        threads = {"TF_NUM_INTRAOP_THREADS": 1, "TF_NUM_INTEROP_THREADS": 1}
        result = run_python([script], data, out, **threads)
        assert result.returncode == 0, result.stderr
        outputs.append((out, result.stdout))
    for name in ("submission.csv", "oof.csv"):
        one, two = (pd.read_csv(out / name) for out, _ in outputs)
        assert one["id"].equals(two["id"])
        assert np.allclose(*(table.iloc[:, -1] for table in (one, two)), atol=1e-4)
    one, two = (text for _, text in outputs)
    for fold in (0, 1):
        line = re.compile(rf"^fold {fold} seed {fold} epoch  \d/2 \| loss .* s$", re.M)
        assert len(line.findall(one)) == len(line.findall(two)) == 2


def test_a_fold_that_fails_in_a_worker_ends_the_run_by_name(competition, tmp_path):
    settings = {"num_workers": 2, "optimizer": "sgd", "schedule": "constant"}
    settings |= {"learning_rate": 10.0, "weight_decay": 1.0, "epochs": 300}
    kernel = bundle_kernel("demo", {**TINY, **settings})
    script = tmp_path / "kernel.py"
    script.write_text(kernel.source, "utf-8", newline="\n")
    result = run_python([script], tmp_path / "input", tmp_path / "out")
    assert result.returncode == 1
    assert re.search(r"FloatingPointError: fold \d seed \d, epoch \d+", result.stderr)
    assert not (tmp_path / "out" / "submission.csv").exists()
