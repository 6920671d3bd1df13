"""Jobs in parallel processes, each with its devices."""

import faulthandler
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cloudpickle
import filelock
import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from .locks import end_with_holder, take_lock

PARENT_LOCK = "parent.lock"  # in scratch, held by the process that waits for the workers
IDLE_SECONDS = 7 * 24 * 3600  # longer than any network: a worker may wait for the others


def run_jobs(
    work: Callable,
    shared: object,
    jobs: Iterable,
    num_workers: int,
    gpus: tuple,
    scratch: Path | str,
) -> Iterator:
    """Run jobs one after another in this process, or several at a time through joblib.

    With joblib's own backend each process has a GPU or cores of its own, and ends with the last
    job or with this process. With another backend (Ray's or Dask's, set by
    joblib.parallel_config) the processes may be on other machines, and the backend assigns the
    devices.

    Args:
        work: function of `shared` and a job's arguments. A worker unpickles it, which loads
            Keras, only after its devices are chosen.
        shared: data that all jobs read; large arrays are passed as files.
        jobs: tuples of arguments, each drawn when a worker is free.
        num_workers: jobs at a time; 1 runs them in this process if it has the GPU.
        gpus: Device.gpus, the GPUs that are hidden from this process.
        scratch: a folder that only this call uses.

    Yields:
        Results, in the order in which the jobs end.

    Raises:
        RuntimeError: a worker was killed or could not start.
        Exception: what a job raised, with the worker's traceback.
    """
    if num_workers == 1 and not gpus:
        for job in jobs:
            yield work(shared, *job)
        return
    payload = cloudpickle.dumps(work)
    backend, _ = joblib.parallel.get_active_backend()
    is_lazy = backend.supports_return_generator  # Ray returns all results at the end
    is_ours = joblib_starts_workers()
    num_slots = max(2, num_workers)  # with n_jobs=1 joblib starts no process
    own = {  # a worker that never gets a job must end with this process too
        "idle_worker_timeout": IDLE_SECONDS,
        "initializer": start_worker,
        "initargs": (str(scratch), num_slots, gpus),
    }
    pool = joblib.Parallel(
        n_jobs=num_slots,
        pre_dispatch=num_workers,
        batch_size=1,
        return_as="generator_unordered" if is_lazy else "list",
        **(own if is_ours else {}),
    )
    call = joblib.delayed(run_in_worker)
    with filelock.FileLock(Path(scratch) / PARENT_LOCK, thread_local=False):
        try:
            yield from pool(call(payload, shared, job) for job in jobs)
        except TerminatedWorkerError as error:
            raise RuntimeError(
                "a worker was killed, most likely for lack of memory, or could not start, for the "
                "reason printed above; finished work is kept. "
                f"Received: num_workers={num_workers}. Try: num_workers=1 or a smaller batch_size"
            ) from error
        finally:
            if is_ours:  # the memory of its workers is needed next
                get_reusable_executor(reuse=True).shutdown()


def joblib_starts_workers() -> bool:
    """Whether joblib itself starts the worker processes, on this machine."""
    return type(joblib.parallel.get_active_backend()[0]).__name__ == "LokyBackend"


def run_in_worker(payload: bytes, shared: object, job: tuple) -> object:
    """Run a job.

    In a thread (Dask's), Python's random numbers, from which Keras draws initial weights,
    would be shared with other threads, so the job gets its own process.
    """
    if threading.current_thread() is not threading.main_thread():
        with ProcessPoolExecutor(max_workers=1) as pool:
            return pool.submit(run_in_worker, payload, shared, job).result()
    logging.getLogger("tensorflow").setLevel("ERROR")  # as in the kernel's header
    return cloudpickle.loads(payload)(shared, *job)


def start_worker(scratch: str, num_slots: int, gpus: tuple) -> None:
    """Take a share of the machine for this process, and tie its life to the parent's."""
    end_with_holder(Path(scratch) / PARENT_LOCK)
    if hasattr(faulthandler, "register"):  # not on Windows
        faulthandler.register(signal.SIGUSR1)  # for `watch_progress`
    take_share(take_slot(Path(scratch), num_slots), num_slots, gpus)


def take_slot(scratch: Path, num_slots: int) -> int:
    """Return the first slot that no living worker holds; wait for one.

    loky replaces workers that idle or grow: a new one may start before the old one has ended.
    """
    while True:
        for slot in range(num_slots):
            if take_lock(scratch / f"slot{slot}.lock"):
                return slot
        time.sleep(0.1)


def take_share(slot: int, num_slots: int, gpus: tuple) -> None:
    """Give this process the slot's GPU, or its part of the cores.

    This happens before Keras touches a device, when it reads them once.
    """
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        if num_slots > len(gpus):  # two workers on a GPU: neither may take all of its memory
            os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
            os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        return
    num_cores = max(1, os.cpu_count() // num_slots)
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        own = cores[slot::num_slots] or cores
        os.sched_setaffinity(0, own)
        num_cores = len(own)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(num_cores)
    os.environ["TF_NUM_INTEROP_THREADS"] = str(num_cores)
