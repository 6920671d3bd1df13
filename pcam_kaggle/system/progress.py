"""A batch run that makes no progress ends itself."""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from .files import read_json, write_json

PROGRESS = "PCAM_PROGRESS"  # the file whose modification time is that of the last progress


def beat() -> None:
    """Note that the run makes progress: cheap, from any of its processes."""
    if PROGRESS in os.environ:
        Path(os.environ[PROGRESS]).touch()


def watch_progress(output: Path, seconds: float = 1200) -> None:
    """End a batch run on Kaggle once nothing has called `beat` for so long.

    Such a run would use up the session's GPU hours. The stacks of all threads are printed, and
    the exit code is 0 if a finished network has left a submission.

    Args:
        output: the run's folder.
        seconds: the longest silence; loading and compiling a network takes minutes.
    """
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") != "Batch":
        return
    descriptor, os.environ[PROGRESS] = tempfile.mkstemp(prefix="pcam-progress-")
    os.close(descriptor)
    threading.Thread(target=wait_for_silence, args=(output, seconds), daemon=True).start()


def wait_for_silence(output: Path, seconds: float) -> None:
    """Sleep while the run makes progress, then end its processes."""
    path = Path(os.environ[PROGRESS])
    while (left := path.stat().st_mtime + seconds - time.time()) > 0:
        time.sleep(left)
    is_finished = all((output / name).exists() for name in ("run.json", "submission.csv"))
    workers = multiprocessing.active_children()
    try:
        report_hang(output / "run.json", workers, f"no progress for {seconds:.0f} s")
    finally:
        for worker in workers:
            with contextlib.suppress(OSError):  # it has ended
                os.kill(worker.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        os._exit(0 if is_finished else 1)


def report_hang(run_json: Path, workers: list, text: str) -> None:
    """Print the stacks of all threads, also of workers except on Windows; add a warning."""
    text += "; the run ended itself and keeps what is finished"
    print(text, flush=True)
    faulthandler.dump_traceback(sys.__stderr__)
    for worker in workers:
        if hasattr(signal, "SIGUSR1"):  # `start_worker` sets its handler
            os.kill(worker.pid, signal.SIGUSR1)
            time.sleep(1)
    if run_json.exists():
        record = read_json(run_json)
        write_json(run_json, {**record, "warnings": [*record.get("warnings", []), text]})
