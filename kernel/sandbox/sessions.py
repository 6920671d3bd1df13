"""Sessions: a pushed script in a process of its own, as on Kaggle.

Its script runs as the user, without a security boundary: it can read what the user can,
`/proc` included, and reach the network. It is guarded against mistakes only: the input is a
copy, or hard links that Python refuses to write to, and neither its process nor that
process's parent has credentials in its environment.
"""

import contextlib
import datetime
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import filelock

from pcam_kaggle.system.locks import PARENT

READ_ONLY = Path(__file__).parent / "read_only"
COPY_LIMIT = 2 << 30  # bytes of a source; the files of a larger one are linked
PATIENCE = 2  # seconds that what the script has started may write on after its end
# The parent of the script, so that no parent of it but the sandbox has an environment to hide.
LAUNCH = "import subprocess, sys; code = subprocess.call(sys.argv[1:]); "
LAUNCH += "sys.exit(code if code >= 0 else 128 - code)"
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
        copy_limit: int = COPY_LIMIT,
        ended: Callable[[], object] = lambda: None,
    ):
        """Make its folders.

        Args:
            folder: Path, made here: input/, working/, temp/ and the script.
            source: str, the script.
            mounts: dict of a place under input/ to the folder that the script finds there.
            timeout: float, seconds after which it is stopped, or None.
            python: the command that runs the script.
            copy_limit: int, bytes up to which a folder is copied; the files of a larger one
                are hard links: the script can remove them from its input only, but a program
                that it starts could still change the content of the caller's own.
            ended: called once it has ended.
        """
        self.folder, self.timeout, self.python = folder, timeout, python
        self.mounts, self.copy_limit, self.ended = mounts, copy_limit, ended
        self.status, self.failure, self.log = "QUEUED", "", []
        self.process = None
        # A kernel that sees this lock free ends: this process, which holds it, was killed.
        self.lock = filelock.FileLock(folder / "parent.lock", thread_local=False)
        self.ending = threading.Lock()
        for name in ("input", "working", "temp"):
            (folder / name).mkdir(parents=True)
        (folder / "script.py").write_text(source, "utf-8", newline="\n")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.started, self.seconds = time.monotonic(), 0

    def run(self) -> None:
        """Run the script until it ends, is out of time or is stopped."""
        try:
            for place, source in self.mounts.items():
                self.mount(source, self.folder / "input" / place)
            failure = self.run_script()
        except OSError as error:  # a full disk
            failure = f"The session could not start: {error}"
        # The copy of the competition's data would fill the disk, run by run.
        shutil.rmtree(self.folder / "input" / "competitions", ignore_errors=True)
        with self.ending:
            if self.status in ("QUEUED", "RUNNING"):
                self.failure = failure
                self.status = "ERROR" if failure else "COMPLETE"
        self.ended()

    def mount(self, source: Path, place: Path) -> None:
        """Copy a folder, or link its files if they are more than `copy_limit` bytes."""
        files = list_files(source)
        is_small = sum(path.stat().st_size for path in files) <= self.copy_limit
        for folder in {source, *(path.parent for path in files)}:
            (place / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)
        for path in files:
            if self.status != "QUEUED":  # it was stopped
                return
            copied = place / path.relative_to(source)
            if is_small or not link_file(path, copied):
                shutil.copyfile(path, copied)

    def run_script(self) -> str:
        """Run the script; what failed, or "" if it ended well."""
        with self.ending:
            if self.status != "QUEUED":
                return ""
            self.status = "RUNNING"
            self.lock.acquire()
            script = str(self.folder / "script.py")
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCH, *self.python, script],
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
            for reader in readers:
                reader.join(PATIENCE / 2)
        except subprocess.TimeoutExpired:
            failure = "Timeout Exceeded"
        self.kill()
        for reader in readers:
            reader.join()
        self.lock.release()
        self.seconds = time.monotonic() - self.started
        return failure

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
                self.kill()
        if self.thread.is_alive():
            self.thread.join()

    def kill(self) -> None:
        """End the script and all that it started (outside Linux, in its process group)."""
        if self.process is None:
            return
        if os.name == "nt":
            command = ["taskkill", "/T", "/F", "/PID", str(self.process.pid)]
            subprocess.run(command, capture_output=True)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        mark = f"{PARENT}={self.lock.lock_file}\0".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # another user's, or ended since
                if mark in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
        self.process.wait()

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


def list_files(folder: Path) -> list[Path]:
    """All files below a folder, also through links to folders."""
    tree = os.walk(folder, followlinks=True)
    paths = [Path(root, name) for root, _, names in tree for name in names]
    return [path for path in paths if path.is_file()]


def link_file(path: Path, place: Path) -> bool:
    """Make a hard link; return False where there can be none, as on another disk."""
    try:
        os.link(path.resolve() if path.is_symlink() else path, place)
    except OSError:
        return False
    return True


def utc_now() -> str:
    """The time as the service writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
