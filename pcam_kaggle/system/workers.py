"""Jobs in parallel processes, each with its devices."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cloudpickle
import joblib
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

SHARE = "PCAM_SHARE"  # set in a worker once it has its share of the machine


def run_jobs(
    work: Callable,
    shared: object,
    jobs: Iterable,
    num_workers: int,
    num_gpus: int,
    scratch: Path | str,
) -> Iterator:
    """Run jobs one after another in this process, or several at a time through joblib.

    With joblib's own backend each process gets its own GPU or cores. With another backend (Ray's
    or Dask's, set by joblib.parallel_config) the processes may be on other machines, and the
    backend assigns the devices.

    Args:
        work: function of `shared` and a job's arguments. A worker unpickles it, which loads
            Keras, only after its devices are chosen.
        shared: data that all jobs read; large arrays are passed as files.
        jobs: tuples of arguments, each drawn when a worker is free.
        num_workers: jobs at a time; 1 runs them in this process.
        num_gpus: number of GPUs of this machine.
        scratch: a folder that only this run uses.

    Yields:
        Results, in the order in which the jobs end.

    Raises:
        RuntimeError: a worker was killed.
        Exception: what a job raised, with the worker's traceback.
    """
    if num_workers == 1:
        for job in jobs:
            yield work(shared, *job)
        return
    payload = cloudpickle.dumps(work)
    backend, _ = joblib.parallel.get_active_backend()
    is_lazy = backend.supports_return_generator  # Ray returns all results at the end
    is_ours = type(backend).__name__ == "LokyBackend"
    share = (str(scratch), num_workers, num_gpus) if is_ours else None
    pool = joblib.Parallel(
        n_jobs=num_workers,
        pre_dispatch=num_workers,
        batch_size=1,
        return_as="generator_unordered" if is_lazy else "list",
    )
    call = joblib.delayed(run_in_worker)
    try:
        yield from pool(call(share, payload, shared, job) for job in jobs)
    except TerminatedWorkerError as error:
        raise RuntimeError(
            "a worker was killed, most likely for lack of memory; finished work is kept. "
            f"Received: num_workers={num_workers}. Try: num_workers=1 or a smaller batch_size"
        ) from error


def run_in_worker(share: tuple | None, payload: bytes, shared: object, job: tuple) -> object:
    """Take a share of the machine, then run a job.

    In a thread (Dask's), Python's random numbers, from which Keras draws initial weights,
    would be shared with other threads, so the job gets its own process.
    """
    if threading.current_thread() is not threading.main_thread():
        with ProcessPoolExecutor(max_workers=1) as pool:
            return pool.submit(run_in_worker, share, payload, shared, job).result()
    if share and SHARE not in os.environ:
        take_share(*share)
    logging.getLogger("tensorflow").setLevel("ERROR")  # as in the kernel's header
    return cloudpickle.loads(payload)(shared, *job)


def take_share(scratch: str, num_workers: int, num_gpus: int) -> None:
    """Give this process the next GPU, or the next of equal parts of the cores.

    This happens before Keras is loaded, which reads the devices once.
    """
    number = claim_number(Path(scratch)) % num_workers
    os.environ[SHARE] = str(number)
    if num_gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else [str(n) for n in range(num_gpus)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[number % num_gpus]
        return
    num_cores = max(1, os.cpu_count() // num_workers)
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        own = cores[number::num_workers] or cores
        os.sched_setaffinity(0, own)
        num_cores = len(own)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(num_cores)
    os.environ["TF_NUM_INTEROP_THREADS"] = str(num_cores)


def claim_number(scratch: Path) -> int:
    """Return the first number, from 0, that no other worker of this run has taken."""
    number = 0
    while True:
        try:
            (scratch / f"worker{number}").touch(exist_ok=False)
            return number
        except FileExistsError:
            number += 1
