"""A kernel's session under limits: its processes, memory, log and files (Linux)."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import filelock
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from pcam_kaggle.inference.submission import check_submission  # noqa: E402

POLL = 0.2  # seconds between two looks at the submission
MEASURE_EVERY = 5  # looks between two measurements of memory and disk
GRACE = 30  # seconds that workers may outlive a parent that was killed
ENDINGS = ("timeout", "parent", "worker")
SHARED_MEMORY = Path("/dev/shm")

# Imported by every Python process of a session: opening or asking for an image takes longer.
SLOW_MOUNT = """\
import os, sys, time

SECONDS = float(os.environ["BENCH_LATENCY_MS"]) / 1000
ask = os.stat

def is_image(path):
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).endswith(".tif")

def wait(event, arguments):
    if event == "open" and is_image(arguments[0]):
        time.sleep(SECONDS)

def stat(path, *args, **kwargs):
    if is_image(path):
        time.sleep(SECONDS)
    return ask(path, *args, **kwargs)

sys.addaudithook(wait)
os.stat = stat
"""


class Session:
    """A run of a kernel's script as on Kaggle, in a session of processes of its own.

    Args:
        script: Path of the script.
        inputs: Path of the folder that stands for /kaggle/input.
        output: Path of the folder that stands for /kaggle/working.
        folder: Path of a folder for its home, temporary files, cache and log.
        memory: GiB of anonymous and shared memory above which it is killed.
        disk: GB of output above which it is killed.
        seconds: after which it is killed.
        latency: milliseconds added to every opening of an image.
    """

    def __init__(
        self, script, inputs, output, folder, memory=18.0, disk=20.0, seconds=43_200, latency=0.0
    ):
        self.script, self.inputs, self.output, self.folder = script, inputs, output, folder
        self.limits = {"memory": memory, "disk": disk, "seconds": seconds}
        self.latency = latency
        self.log, self.peaks, self.died_of = [], {}, ""
        self.watch = OutputWatch(inputs, output)
        self.output.mkdir(parents=True, exist_ok=True)

    def start(self):
        """Start the script."""
        for name in ("home", "temp", "site"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("home", "temp", "site", "cache"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "cache").chmod(0o700)
        if self.latency:
            (self.folder / "site" / "sitecustomize.py").write_text(SLOW_MOUNT, "utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(self.script)],
            cwd=self.output,
            env=self.make_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self.started, self.num_looks = time.monotonic(), 0
        self.watch.started = self.started
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        return self

    def make_environment(self):
        """The names that a kernel needs; no credentials, no proxy."""
        kept = {n: v for n, v in os.environ.items() if n in ("PATH", "LANG", "LD_LIBRARY_PATH")}
        temp = str(self.folder / "temp")
        return {
            **kept,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temp),
            "HOME": str(self.folder / "home"),
            "KAGGLE_KERNEL_RUN_TYPE": "Batch",
            "PCAM_ALLOW_CPU": "1",
            "PCAM_CACHE": str(self.folder / "cache"),
            "PCAM_INPUT": str(self.inputs),
            "PCAM_WORKING": str(self.output),
            "PYTHONPATH": str(self.folder / "site"),
            "PYTHONUNBUFFERED": "1",
            "BENCH_LATENCY_MS": str(self.latency),
            "MPLBACKEND": "agg",
        }

    def read(self):
        """Keep the log's lines, with their times."""
        with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"--- {self.output}\n")
            for line in self.process.stdout:
                now = time.monotonic() - self.started
                self.log.append((now, line.rstrip("\n")))
                file.write(f"{now:8.1f} {line}")
                file.flush()

    def run(self, until=None):
        """Watch it until it ends, breaks a limit, or `until(self)` is true.

        Returns:
            Whether it still runs.
        """
        while self.process.poll() is None:
            if until and until(self):
                return True
            self.look()
            if self.died_of:
                self.end_all()
            time.sleep(POLL)
        self.look()
        self.seconds = time.monotonic() - self.started
        return False

    def look(self):
        """Check the submission; now and then measure memory and disk, and keep the peaks."""
        self.watch.look()
        if self.num_looks % MEASURE_EVERY == 0:
            found = measure_memory(self.list_processes(), self.process.pid)
            found["output"] = measure_folder(self.output)
            found["temporary"] = sum(measure_folder(self.folder / n) for n in ("temp", "cache"))
            for name, value in found.items():
                self.peaks[name] = max(value, self.peaks.get(name, 0))
            over = {
                "memory": found["counted"] / 2**30,
                "disk": found["output"] / 1e9,
                "seconds": time.monotonic() - self.started,
            }
            broken = [name for name, value in over.items() if value > self.limits[name]]
            self.died_of = ", ".join(f"{n} {over[n]:.1f} > {self.limits[n]:g}" for n in broken)
        self.num_looks += 1

    def list_processes(self):
        """The ids of its processes that live, also of those whose parent has died."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                stat = Path("/proc", name, "stat").read_text("utf-8", "replace")
            except OSError:
                continue
            state, _, _, session = stat.rpartition(")")[2].split()[:4]
            if int(session) == self.process.pid and state not in "ZX":
                found.append(int(name))
        return found

    def list_workers(self):
        """The ids of the processes that train."""
        return [
            number
            for number in self.list_processes()
            if number != self.process.pid and is_worker(number)
        ]

    def end(self, ending, random):
        """End it in one of three ways, and wait for what happens.

        Args:
            ending: "timeout" (all processes are killed, as when a Kaggle session ends), "parent"
                or "worker" (only that one is).
            random: random.Random, which chooses the worker.

        Returns:
            dict with `ending` ("parent" for "worker" where there was none), `left` (processes
            that had to be killed) and `seconds` until all had ended.
        """
        killed, workers = time.monotonic(), self.list_workers()
        ending = "parent" if ending == "worker" and not workers else ending
        if ending == "timeout":
            self.end_all()
        elif ending == "parent":
            kill(self.process.pid)
        else:
            kill(random.choice(workers))
            self.run()
        self.process.wait()
        gone = time.monotonic()
        while self.list_processes() and time.monotonic() < gone + GRACE:
            time.sleep(POLL)
            self.watch.look()
        left = len(self.list_processes())
        seconds = time.monotonic() - killed
        self.close()
        return {"ending": ending, "left": left, "seconds": seconds}

    def end_all(self):
        """Kill all its processes."""
        while found := self.list_processes():
            for number in found:
                kill(number)
            time.sleep(0.05)
        self.process.wait()

    def close(self):
        """Kill what is left, remove its shared memory, and read the log to its end."""
        self.end_all()
        self.reader.join(10)
        for path in SHARED_MEMORY.glob(f"joblib_memmapping_folder_{self.process.pid}_*"):
            shutil.rmtree(path, ignore_errors=True)
        self.seconds = time.monotonic() - self.started


class OutputWatch:
    """Looks at a session's output, whether its submission is valid at every moment.

    `first_network` and `first_valid` are the seconds after which a network was finished and a
    valid submission with a run.json stood; `invalid` lists what was wrong later on.
    """

    def __init__(self, inputs, output):
        sample = next(inputs.glob("competitions/*/sample_submission.csv"))
        self.ids = pd.read_csv(sample, dtype={"id": str})["id"].tolist()
        self.output, self.started = output, time.monotonic()
        self.first_network = self.first_valid = None
        self.num_looks, self.num_versions, self.invalid, self.known = 0, 0, [], {}

    def look(self):
        """Look once."""
        now = time.monotonic() - self.started
        if self.first_network is None and list_networks(self.output):
            self.first_network = now
        problems = [
            self.check("submission.csv", self.check_rows),
            self.check("run.json", check_record),
        ]
        problem = "; ".join(filter(None, problems))
        if self.first_valid is None:
            self.first_valid = None if problem else now
            return
        self.num_looks += 1
        if problem:
            self.invalid.append(f"{now:.1f} s: {problem}")

    def check(self, name, judge):
        """What is wrong with a file, or ""; it is read again only when it has changed."""
        path = self.output / name
        try:
            status = path.stat()
            key = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self.known.get(name, (None,))[0] != key:
                self.known[name] = (key, judge(path))
                self.num_versions += name == "submission.csv"
            return self.known[name][1]
        except FileNotFoundError:
            return f"no {name}"

    def check_rows(self, path):
        """What is wrong with a submission."""
        try:
            check_submission(pd.read_csv(path, dtype={"id": str}), self.ids)
        except ValueError as error:
            return str(error).splitlines()[0]
        return ""


def check_record(path):
    """What is wrong with a run.json."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        return f"run.json: {error}"
    return "" if isinstance(record, dict) else "run.json is not an object"


def list_networks(output):
    """The names of the finished networks of a run's folds."""
    return sorted(path.stem for path in (output / "folds").glob("fold*_seed*.npz"))


def is_worker(number):
    """Whether a process is one of loky's workers."""
    try:
        words = Path("/proc", str(number), "cmdline").read_bytes()
    except OSError:
        return False
    return b"loky" in words and b"resource_tracker" not in words


def kill(number):
    """Kill a process at once, if it still lives."""
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return


def measure_memory(processes, parent):
    """Memory of some processes in bytes: dict with four sums.

    `counted` is anonymous and shared memory, `shared` the latter, `largest` the anonymous memory
    of one process, and `file` pages of files, which the system can take back.

    Pages that several processes share count once; where processes of other sessions share them
    too, as those of libraries, in part. Shared memory also counts where no process has mapped
    it, as the files of joblib.
    """
    sums, largest = dict.fromkeys(("Pss_Anon", "Pss_Shmem", "Pss_File"), 0), 0
    for number in processes:
        try:
            lines = Path("/proc", str(number), "smaps_rollup").read_text("utf-8").splitlines()
        except OSError:  # it has ended
            continue
        for line in lines[1:]:
            name, value = line.split()[:2]
            if name[:-1] in sums:
                sums[name[:-1]] += 1024 * int(value)
            if name == "Pss_Anon:":
                largest = max(largest, 1024 * int(value))
    folders = SHARED_MEMORY.glob(f"joblib_memmapping_folder_{parent}_*")
    shared = max(sums["Pss_Shmem"], sum(map(measure_folder, folders)))
    counted = sums["Pss_Anon"] + shared
    return {"counted": counted, "shared": shared, "largest": largest, "file": sums["Pss_File"]}


def measure_folder(folder):
    """The bytes that a folder's files take on the disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += 512 * os.lstat(os.path.join(place, name)).st_blocks
            except OSError:  # it was renamed
                continue
    return total


def find_broken(output):
    """The files of a run that cannot be read to their end, with the reason."""
    broken = []
    for path in sorted(output.rglob("*")):
        if not path.is_file() or path.name.startswith("partial-"):
            continue
        try:
            read_whole(path)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            broken.append(f"{path.relative_to(output)}: {error}")
    return broken


def read_whole(path):
    """Read a file as its name says; raise an error if it is damaged."""
    if path.suffix in (".npz", ".keras"):
        with zipfile.ZipFile(path) as archive:
            if name := archive.testzip():
                raise ValueError(f"{name} has another checksum")
    elif path.suffix == ".npy":
        np.load(path, mmap_mode="r")
    elif path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    elif path.suffix == ".csv":
        pd.read_csv(path)


def find_partial(output):
    """Names of files that were never finished."""
    return sorted(path.name for path in output.rglob("partial-*"))


def find_held(output):
    """Locks in a folder that cannot be taken although no process should hold them."""
    held = []
    for path in sorted(output.rglob("*lock*")):
        if not path.is_file():
            continue
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=1)
            lock.release()
        except filelock.Timeout:
            held.append(path.name)
    return held


def check_manifest(output):
    """What is wrong with the manifest of a finished run: list of text.

    Runs before schema 3 list names only.
    """
    files = json.loads((output / "run.json").read_text("utf-8")).get("files", {})
    if not isinstance(files, dict):
        return [f"no {name}" for name in files if not (output / name).exists()]
    wrong = []
    for name, about in files.items():
        path = output / name
        content = path.read_bytes() if path.is_file() else None
        if content is None:
            wrong.append(f"no {name}")
        elif (len(content), hashlib.sha256(content).hexdigest()) != (
            about["size"],
            about["sha256"],
        ):
            wrong.append(f"{name} is another file")
    return wrong
