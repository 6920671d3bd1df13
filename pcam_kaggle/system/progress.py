"""A batch run that makes no progress ends itself."""

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

PROGRESS = "PCAM_PROGRESS"  # the file that `beat` touches
SECONDS = "PCAM_SECONDS"  # between two lines of `beat`, if not 30
SAID = {"at": time.monotonic()}  # the last line


def beat(what: str = "", done: int = 0, total: int = 0) -> None:
    """Note that the run makes progress; print every 30 s how far it is."""
    if PROGRESS in os.environ:
        Path(os.environ[PROGRESS]).touch()
    now = time.monotonic()
    if done <= 1:
        SAID["at"] = now
    elif now - SAID["at"] >= float(os.environ.get(SECONDS, 30)):
        SAID["at"] = now
        print(f"progress {what} {done:,} of {total:,}", flush=True)


def watch_progress(output: Path, seconds: float = 1200) -> None:
    """End a batch run on Kaggle once nothing has called `beat` for `seconds`.

    Such a run would use up GPU hours. The stacks of all threads are printed, and the exit code
    is 0 if a finished network has left a submission.

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
    """End the run's processes once it makes no progress, by a clock that nobody sets."""
    path, run_json = Path(os.environ[PROGRESS]), output / "run.json"
    last, since = 0.0, time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(min(10, seconds / 10))
        if path.stat().st_mtime != last:
            last, since = path.stat().st_mtime, time.monotonic()
    faulthandler.dump_traceback_later(60, exit=True)  # even if what follows hangs, too
    text = f"no progress for {seconds:.0f} s; the run ended itself and keeps what is finished"
    is_finished, workers = run_json.exists(), multiprocessing.active_children()
    try:
        if is_finished:
            record = read_json(run_json)
            write_json(run_json, {**record, "warnings": [*record.get("warnings", []), text]})
        print(text, flush=True)
        faulthandler.dump_traceback(sys.__stderr__)
        for worker in workers if hasattr(signal, "SIGUSR1") else ():
            os.kill(worker.pid, signal.SIGUSR1)  # `start_worker` has it print its stacks
            time.sleep(1)
    finally:
        for worker in workers:
            worker.terminate()
        os._exit(0 if is_finished and (output / "submission.csv").exists() else 1)
