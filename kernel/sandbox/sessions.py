"""Sessions: a pushed script or notebook in a process of its own, as on Kaggle.

It runs as the user, without a security boundary: it can read what the user can,
`/proc` included, and reach the network. It is guarded against mistakes only: the input is a
copy, or hard links that Python refuses to write to, and neither its process nor that
process's parent has credentials in its environment.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import filelock

from pcam_kaggle.system.locks import PARENT

ALIVE = ("QUEUED", "RUNNING")  # not the commands' own: they are tested against this server
INSIDE = Path(__file__).parent / "inside"  # what is on the path of a kernel's Python
COPY_LIMIT = 2 << 30  # bytes of a source; the files of a larger one are linked
PATIENCE = 2  # seconds that what the script has started may write on after its end
# The parent of the script, so that no parent of it but the sandbox has an environment to hide.
LAUNCH = "import subprocess, sys; code = subprocess.call(sys.argv[1:]); "
LAUNCH += "sys.exit(code if code >= 0 else 128 - code)"
# What a kernel inherits of the environment: no home, no credential, no proxy.
NAMES = {"PATH", "LANG", "TZ", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT"}
NAMES |= {"PROCESSOR_ARCHITECTURE", "PROCESSOR_IDENTIFIER"}  # what Windows says of the CPU
PREFIXES = ("LC_", "TF_", "KERAS_BACKEND", "OMP_", "CUDA_", "XLA_", "LD_LIBRARY")


@dataclasses.dataclass(eq=False)
class Session:
    """One version of a kernel: queued, running or ended.

    Args:
        folder: Path, made here: input/, working/, temp/ and the script.
        source: str, the script, or the notebook as JSON.
        mounts: dict of a place under input/ to the folder that the script finds there.
        timeout: float, seconds after which it is stopped, or None.
        python: the command that runs the script.
        copy_limit: int, bytes up to which a folder is copied; the files of a larger one are
            hard links: the script can remove them from its input only, but a program that it
            starts could still change the content of the caller's own.
        ended: function that is called at its end.
        is_notebook: whether it is a notebook. Executed, it is left in working/ under the names
            that Kaggle gives it: __notebook__.ipynb and __results__.html.
    """

    folder: Path
    source: dataclasses.InitVar[str]
    mounts: dict[str, Path]
    timeout: float | None = None
    python: tuple = (sys.executable,)
    copy_limit: int = COPY_LIMIT
    ended: Callable[[], object] = lambda: None
    is_notebook: bool = False
    status: str = "QUEUED"  # then RUNNING; at last COMPLETE, ERROR or CANCEL_ACKNOWLEDGED
    failure: str = ""  # why it ended in ERROR
    log: list[dict] = dataclasses.field(default_factory=list)  # stream_name, time (s), data
    seconds: float = 0  # how long it ran
    process: subprocess.Popen | None = None

    def __post_init__(self, source: str):
        # A kernel that sees this lock free ends: this process, which holds it, was killed.
        self.lock = filelock.FileLock(self.folder / "parent.lock", thread_local=False)
        self.ending = threading.Lock()
        for name in ("input", "working", "temp"):
            (self.folder / name).mkdir(parents=True)
        self.script = self.folder / ("notebook.ipynb" if self.is_notebook else "script.py")
        self.script.write_text(source, "utf-8", newline="\n")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.started = time.monotonic()

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
            if self.status in ALIVE:
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
            (shutil.copyfile if is_small else link_file)(path, copied)

    def run_script(self) -> str:
        """Run the script; what failed, or "" if it ended well."""
        with self.ending:
            if self.status != "QUEUED":
                return ""
            self.status = "RUNNING"
            self.lock.acquire()
            self.started = time.monotonic()  # of the log's clock: the copies are made
            words = [*self.python, *[str(INSIDE / "execute.py")] * self.is_notebook]
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCH, *words, str(self.script)],
                cwd=self.folder / "working",
                env=self.make_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        names = ("stdout", "stderr")
        readers = [threading.Thread(target=self.read, args=[n], daemon=True) for n in names]
        for reader in readers:
            reader.start()
        try:
            code = self.process.wait(self.timeout)
            failure = f"Your notebook failed with exit code {code}." if code else ""
            join_readers(readers)
        except subprocess.TimeoutExpired:
            failure = "Timeout Exceeded"
        self.kill()
        join_readers(readers)
        self.lock.release()
        self.seconds = time.monotonic() - self.started
        return failure

    def read(self, name: str) -> None:
        """Record what the script prints, with the time of each line."""
        with getattr(self.process, name) as pipe:
            for line in pipe:
                seconds = round(time.monotonic() - self.started, 3)
                self.log.append({"stream_name": name, "time": seconds, "data": line})

    def stop(self) -> None:
        """Cancel the script, if it has not ended."""
        with self.ending:
            if self.status in ALIVE:
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
        kept = [n for n in os.environ if n.upper() in NAMES or n.upper().startswith(PREFIXES)]
        return {
            **{name: os.environ[name] for name in kept},
            **dict.fromkeys(("HOME", "USERPROFILE"), str(self.folder)),
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.folder / "temp")),
            "KAGGLE_KERNEL_RUN_TYPE": "Batch",
            **dict.fromkeys(("PCAM_ALLOW_CPU", "PYTHONUNBUFFERED", "PYTHONUTF8"), "1"),
            PARENT: self.lock.lock_file,
            "PCAM_INPUT": str(self.folder / "input"),
            "PCAM_WORKING": str(self.folder / "working"),
            "PYTHONPATH": str(INSIDE),
            "MPLBACKEND": "agg",
        }


def join_readers(readers: list[threading.Thread]) -> None:
    """Wait for what is left to read, but not for a process that nobody could end."""
    until = time.monotonic() + PATIENCE
    for reader in readers:
        reader.join(max(0, until - time.monotonic()))


def list_files(folder: Path) -> list[Path]:
    """All files below a folder, also through links to folders."""
    tree = os.walk(folder, followlinks=True)
    paths = [Path(root, name) for root, _, names in tree for name in names]
    return [path for path in paths if path.is_file()]


def link_file(path: Path, place: Path) -> None:
    """Make a hard link, or a copy where there can be none, as on another disk."""
    try:
        os.link(path.resolve() if path.is_symlink() else path, place)
    except OSError:
        shutil.copyfile(path, place)
