"""Locks end with their holder, and processes with the one that started them."""

import os
import signal
import socket
import subprocess
import sys

import filelock
import pytest

from kernel.folders import ROOT
from pcam_kaggle.system.locks import end_with_holder, hold_lock, take_lock

HOLD = """
from pathlib import Path
from pcam_kaggle.system.locks import hold_lock
hold_lock(Path("lock"))
print("held", flush=True)
input()
"""
# Connects to the port that it is given; the connection closes when the process has ended.
KERNEL = """
import os, socket, sys, threading
sys.path.insert(0, {root!r})
from pcam_kaggle.system.locks import PARENT, end_with_holder
line = socket.create_connection(("127.0.0.1", {port}))
end_with_holder(os.environ[PARENT])
line.sendall(b"ready")
threading.Event().wait()
"""
RUN_SCRIPT = """
import sys
from pathlib import Path
from kernel.home import run_script
run_script(Path("script.py"), Path(), Path())
"""
SANDBOX = """
from pathlib import Path
from kernel.sandbox.sessions import Session
Session(Path("session").absolute(), Path("script.py").read_text("utf-8"), {}).run()
"""
WORKERS = """
import socket, threading
from pcam_kaggle.system.workers import run_jobs
def wait(port, number):
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(b"ready")
    threading.Event().wait()
list(run_jobs(wait, {port}, [(0,), (1,)], 2, (), "."))
"""


def start(code, folder):
    """Python in a folder, with pipes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, text=True, **pipes
    )


@pytest.fixture
def server():
    """A socket that processes connect to, to show that they live."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_lock_is_held_until_its_process_ends(tmp_path):
    holder = start(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=r"in use.*Expected: one run.*Received.*lock\. Try: wait"):
        hold_lock(tmp_path / "lock")
    holder.kill()
    holder.communicate()
    hold_lock(tmp_path / "lock")
    hold_lock(tmp_path / "lock")  # this process has it
    assert not take_lock(tmp_path / "lock")
    other = start(HOLD, tmp_path)
    assert other.communicate()[0] == "" and other.returncode == 1


def test_a_lock_outlives_every_reference_and_exit_handler(tmp_path):
    code = (
        "import atexit, gc\n"
        "from pathlib import Path\n"
        "from pcam_kaggle.system.locks import take_lock\n"
        "@atexit.register\n"
        "def wait():\n"
        "    print('exits', flush=True)\n"
        "    input()\n"
        "take_lock(Path('lock'))\n"
        "gc.collect()\n"
    )
    holder = start(code, tmp_path)
    assert holder.stdout.readline() == "exits\n"
    with pytest.raises(filelock.Timeout):
        filelock.FileLock(tmp_path / "lock").acquire(timeout=0)
    holder.communicate("\n")
    with filelock.FileLock(tmp_path / "lock").acquire(timeout=0):
        pass


def test_without_a_lock_a_process_ends_with_nobody():
    end_with_holder(None)


@pytest.mark.parametrize("stop", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("parent, children", [(RUN_SCRIPT, 1), (SANDBOX, 1), (WORKERS, 2)])
def test_processes_end_with_the_one_that_started_them(parent, children, stop, server, tmp_path):
    port = server.getsockname()[1]
    code = KERNEL.format(root=str(ROOT), port=port)
    (tmp_path / "script.py").write_text(code, "utf-8")
    process = start(parent.replace("{port}", str(port)), tmp_path)
    lines = [server.accept()[0] for _ in range(children)]
    assert {line.recv(5) for line in lines} == {b"ready"}
    if os.name == "nt":
        process.kill()
    else:
        process.send_signal(getattr(signal, stop))
    for line in lines:
        with line:
            assert line.recv(1) == b""  # arrives when the child has ended
    process.communicate()
