"""Sessions: a pushed script in a process of its own, as on Kaggle."""

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import filelock

from pcam_kaggle.system.locks import PARENT

READ_ONLY = Path(__file__).parent / "read_only"
# What a kernel inherits of the environment: no home, no credential, no proxy.
KEPT_NAMES = {"PATH", "LANG", "TZ", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT"}
KEPT_PREFIXES = ("LC_", "TF_", "KERAS_BACKEND", "OMP_", "CUDA_", "XLA_", "LD_LIBRARY")


class Session:
    """One version of a kernel: queued, running or ended.

    Attributes:
        status: str, QUEUED, RUNNING, COMPLETE, ERROR or CANCEL_ACKNOWLEDGED.
        failure: str, why it ended in ERROR.
        log: list of dict with stream_name, time (seconds) and data.
        seconds: float, how long it ran.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        mounts: dict[str, Path],
        timeout: float | None = None,
        python: tuple = (sys.executable,),
    ):
        """Make its folders.

        Args:
            folder: Path, made here: input/, working/, temp/ and the script.
            source: str, the script.
            mounts: dict of a place under input/ to the folder that is linked there.
            timeout: float, seconds after which it is stopped, or None.
            python: the command that runs the script.
        """
        self.folder, self.timeout, self.python = folder, timeout, python
        self.status, self.failure, self.log = "QUEUED", "", []
        self.process = None
        # A kernel that sees this lock free ends: this process, which holds it, was killed.
        self.lock = filelock.FileLock(folder / "parent.lock", thread_local=False)
        self.ending = threading.Lock()
        for name in ("input", "working", "temp"):
            (folder / name).mkdir(parents=True)
        for place, target in mounts.items():
            link_folder(target, folder / "input" / place)
        (folder / "script.py").write_text(source, "utf-8", newline="\n")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.started, self.seconds = time.monotonic(), 0

    def run(self) -> None:
        """Run the script until it ends, is out of time or is stopped."""
        with self.ending:
            if self.status != "QUEUED":
                return
            self.status = "RUNNING"
            self.lock.acquire()
            self.process = subprocess.Popen(
                [*self.python, str(self.folder / "script.py")],
                cwd=self.folder / "working",
                env=self.make_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        pipes = {"stdout": self.process.stdout, "stderr": self.process.stderr}
        readers = [
            threading.Thread(target=self.read, args=item, daemon=True) for item in pipes.items()
        ]
        for reader in readers:
            reader.start()
        try:
            code = self.process.wait(self.timeout)
            failure = f"Your notebook failed with exit code {code}." if code else ""
        except subprocess.TimeoutExpired:
            kill_tree(self.process)
            failure = "Timeout Exceeded"
        for reader in readers:
            reader.join()
        self.lock.release()
        self.seconds = time.monotonic() - self.started
        with self.ending:
            if self.status == "RUNNING":
                self.failure = failure
                self.status = "ERROR" if failure else "COMPLETE"

    def read(self, name: str, pipe: IO[str]) -> None:
        """Record what the script prints, with the time of each line."""
        for line in pipe:
            seconds = round(time.monotonic() - self.started, 3)
            self.log.append({"stream_name": name, "time": seconds, "data": line})
        pipe.close()

    def stop(self) -> None:
        """Cancel the script, if it has not ended."""
        with self.ending:
            if self.status in ("QUEUED", "RUNNING"):
                self.status = "CANCEL_ACKNOWLEDGED"
            if self.process:
                kill_tree(self.process)
        if self.thread.is_alive():
            self.thread.join()

    def make_environment(self) -> dict[str, str]:
        """The script's environment: Kaggle's names, folders of its own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.upper() in KEPT_NAMES or name.upper().startswith(KEPT_PREFIXES)
        }
        home, temp = str(self.folder), str(self.folder / "temp")
        return {
            **kept,
            "HOME": home,
            "USERPROFILE": home,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temp),
            "KAGGLE_KERNEL_RUN_TYPE": "Batch",
            "PCAM_ALLOW_CPU": "1",
            PARENT: self.lock.lock_file,
            "PCAM_INPUT": str(self.folder / "input"),
            "PCAM_WORKING": str(self.folder / "working"),
            "PYTHONPATH": str(READ_ONLY),
            "PYTHONUNBUFFERED": "1",
            "PYTHONUTF8": "1",
            "MPLBACKEND": "agg",
        }


def link_folder(target: Path, place: Path) -> None:
    """Link a folder to a place, without copying it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if os.name == "nt":  # a junction needs no privilege, a symbolic link does
        import _winapi

        _winapi.CreateJunction(str(target.absolute()), str(place))
    else:
        place.symlink_to(target.absolute(), target_is_directory=True)


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process and all processes that it started."""
    if os.name == "nt":
        command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def utc_now() -> str:
    """The time as the service writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
