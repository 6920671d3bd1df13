"""What a kernel in the sandbox cannot reach or leave behind: files, credentials, processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import SLUG, is_running

from kernel.folders import ROOT
from kernel.sandbox import sessions
from kernel.sandbox.sessions import Session

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SECRETS = ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "AWS_SECRET_ACCESS_KEY")
SECRETS += ("HTTP_PROXY", "https_proxy")

# Every attempt finds the competition as `root`, a file of it as `file`, a folder descriptor as
# `folder`; it ends with what the kernel must be told.
PROLOGUE = f"""
import mmap, os, pathlib, shutil, subprocess, sys
import numpy as np
root = pathlib.Path(os.environ["PCAM_INPUT"]) / "competitions" / {SLUG!r}
file = root / "train_labels.csv"
folder = None if os.name == "nt" else os.open(root, os.O_RDONLY)
"""
REFUSED = {
    "write": 'file.write_text("x")',
    "append": 'open(file, "a")',
    "bytes path": 'open(os.fsencode(file), "r+b")',
    "relative path": 'os.chdir(root); open("train_labels.csv", "w")',
    "folder and dots": 'open(root / "train" / ".." / "train_labels.csv", "w")',
    "chdir and dots": 'os.chdir(root / "train"); os.remove("../train_labels.csv")',
    "resolved path": 'file.resolve().write_text("x")',
    "real path removed": "os.remove(os.path.realpath(file))",
    "link to a file": 'os.symlink(file, "link"); open("link", "w")',
    "link to a folder": 'os.symlink(root, "link"); os.remove("link/train_labels.csv")',
    "hard link": 'os.link(file, "mine")',
    "new file": '(root / "new").touch()',
    "new folder": '(root / "new").mkdir()',
    "unlink": "file.unlink()",
    "rename": 'file.rename(root / "other")',
    "move out": 'os.rename(file, "mine")',
    "move a folder": 'os.rename(root, "mine")',
    "replace": 'open("mine", "w").close(); os.replace("mine", file)',
    "truncate": "os.truncate(file, 0)",
    "chmod": "os.chmod(file, 0o600)",
    "utime": "os.utime(file, (0, 0))",
    "rmtree": "shutil.rmtree(root)",
    "rmtree of the input": 'shutil.rmtree(os.environ["PCAM_INPUT"])',
    "rmtree of its real path": "shutil.rmtree(root.resolve())",
    "memmap": 'np.memmap(file, mode="r+")',
    "child": (
        'subprocess.run([sys.executable, "-c", "import sys; open(sys.argv[1], \'w\')", str(file)],'
        " check=True)"
    ),
}
REFUSED_BY_DESCRIPTOR = {  # not on Windows
    "open": 'os.open("train_labels.csv", os.O_WRONLY | os.O_TRUNC, dir_fd=folder)',
    "open from above": (
        f'os.open("competitions/{SLUG}/train_labels.csv", os.O_RDWR,'
        ' dir_fd=os.open(os.environ["PCAM_INPUT"], os.O_RDONLY))'
    ),
    "unlink": 'os.unlink("train_labels.csv", dir_fd=folder)',
    "rename": 'os.rename("train_labels.csv", "other", src_dir_fd=folder)',
    "mkdir": 'os.mkdir("new", dir_fd=folder)',
    "rmtree": 'shutil.rmtree("train", dir_fd=folder)',
    "fchdir": 'os.fchdir(folder); open("train_labels.csv", "w")',
    "chmod": "os.chmod(os.open(file, os.O_RDONLY), 0o600)",
}
DONE = {  # by other programs: done to the kernel's own tree
    "rm": 'subprocess.run(["rm", "-rf", str(root)], check=True); assert not file.exists()',
    "mv": 'subprocess.run(["mv", str(file), "mine"], check=True); assert not file.exists()',
}
DONE_TO_A_COPY = {  # but with a hard link to the caller's own file
    "truncate": 'subprocess.run(["truncate", "-s0", str(file)], check=True)',
    "shell": 'subprocess.run(["sh", "-c", ": > " + str(file)], check=True)',
}
BRANCHES = {"copy": 1 << 30, "hard links": 0}


def read_tree(folder):
    """Every file of a folder by name: its content, mode and time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.stat()
        content = path.read_bytes() if path.is_file() else None
        found[path.relative_to(folder)] = (content, state.st_mode, state.st_mtime_ns)
    return found


@pytest.fixture
def attempt(tmp_path, competition):
    """A function that lets a kernel try something: whether it was refused; our files stay."""

    def run_code(code, branch):
        before = read_tree(competition)
        session = Session(
            tmp_path / "session",
            PROLOGUE + code,
            {f"competitions/{SLUG}": competition},
            copy_limit=BRANCHES[branch],
        )
        session.run()
        assert read_tree(competition) == before
        text = "".join(entry["data"] for entry in session.log)
        assert session.status == "COMPLETE" or "Read-only file system" in text, text
        return session.status == "ERROR"

    return run_code


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_the_input_is_read_only_and_the_caller_s_files_stay(attempt, code, branch):
    assert attempt(code, branch)


@LINUX
@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("code", REFUSED_BY_DESCRIPTOR.values(), ids=REFUSED_BY_DESCRIPTOR)
def test_a_descriptor_of_a_folder_opens_no_way_in(attempt, code, branch):
    assert attempt(code, branch)


@pytest.mark.skipif(os.name == "nt", reason="Unix programs")
@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("code", DONE.values(), ids=DONE)
def test_what_other_programs_remove_is_the_kernel_s_own(attempt, code, branch):
    assert not attempt(code, branch)


@pytest.mark.skipif(os.name == "nt", reason="Unix programs")
@pytest.mark.parametrize("code", DONE_TO_A_COPY.values(), ids=DONE_TO_A_COPY)
def test_what_other_programs_write_is_a_copy(attempt, code):
    assert not attempt(code, "copy")


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_kernel_reads_its_input_and_links_to_it(attempt, branch):
    code = (
        "assert len(list((root / 'train').iterdir())) == 51\n"
        "assert file.read_text().startswith('id,label')\n"
        "assert np.memmap(file, mode='r')[0] == ord('i')\n"
        "os.symlink(root, 'link')\n"
        "shutil.copy('link/train_labels.csv', 'mine')\n"
        "open('mine', 'a').close()\n"
        "os.remove('link')\n"
        "os.makedirs('a/b')\n"
        "shutil.rmtree('a')\n"
    )
    assert not attempt(code, branch)


def test_files_on_another_disk_are_copied(attempt, monkeypatch):
    def refuse(*arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert not attempt("file.read_text()", "hard links")


def test_folders_that_are_links_are_followed(attempt, competition, tmp_path):
    if os.name == "nt":
        pytest.skip("needs a privilege on Windows")
    (competition / "train").rename(tmp_path / "elsewhere")
    (competition / "train").symlink_to(tmp_path / "elsewhere")
    assert not attempt("assert len(list((root / 'train').iterdir())) == 51", "hard links")
    assert len(list((tmp_path / "elsewhere").iterdir())) == 51


def test_the_competition_s_copy_is_gone_after_the_run(attempt, tmp_path):
    attempt("", "copy")
    assert not (tmp_path / "session" / "input" / "competitions").exists()


SEARCH = """
import json, os
found = {"own": dict(os.environ)}
pid, chain = os.getpid(), []
while True:
    with open(f"/proc/{pid}/stat") as file:
        pid = int(file.read().rpartition(")")[2].split()[1])
    chain.append(pid)
    if pid == SANDBOX or pid <= 1:
        break
found["environments"] = [open(f"/proc/{p}/environ").read() for p in ("self", *chain[:-1])]
found["commands"] = [open(f"/proc/{p}/cmdline").read() for p in ("self", *chain[:-1])]
found["descriptors"] = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                        if os.path.exists(f"/proc/self/fd/{n}")]
found["last"] = chain[-1]
with open("found.json", "w") as file:
    json.dump(found, file)
"""
RUN_SEARCH = """
import os
from pathlib import Path
from kernel.sandbox import sessions
from kernel.sandbox.sessions import Session
text = Path("search.py").read_text().replace("SANDBOX", str(os.getpid()))
session = Session(Path("session").absolute(), text, {})
session.run()
print(os.getpid(), session.status, session.log)
"""


@LINUX
def test_no_credential_is_in_a_kernel_s_process_or_in_its_parents_but_the_sandbox(tmp_path):
    (tmp_path / "search.py").write_text(SEARCH)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(SECRETS, "secret123")}
    result = subprocess.run(
        [sys.executable, "-c", RUN_SEARCH],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "COMPLETE" in result.stdout, (result.stdout, result.stderr)
    found = json.loads((tmp_path / "session" / "working" / "found.json").read_text())
    assert found["last"] == int(result.stdout.split()[0])  # the chain reached the sandbox
    assert len(found["environments"]) == 2 and all(found["environments"])  # it and its parent
    assert "secret123" not in json.dumps(found)
    assert not set(SECRETS) & set(found["own"])
    inherited = [name for name in found["descriptors"] if name.startswith("/")]
    assert set(inherited) <= {"/dev/null"}


LEAVE = """
import os, subprocess, sys, time
code = "import time; time.sleep(99)"
for options in ({}, {"start_new_session": True}):
    child = subprocess.Popen([sys.executable, "-c", code], stdout=OUT, **options)
    print(child.pid, flush=True)
print("ready", flush=True)
"""


@LINUX
@pytest.mark.parametrize("end", ["at its end", "out of time", "stopped"])
def test_no_process_outlives_its_kernel(tmp_path, end):
    text = LEAVE.replace("OUT", "None" if end == "at its end" else "subprocess.DEVNULL")
    text += "" if end == "at its end" else "time.sleep(99)\n"
    timeout = 3 if end == "out of time" else None
    session = Session(tmp_path / "session", text, {}, timeout)
    session.thread.start()
    while len(session.log) < 3:
        assert session.thread.is_alive(), session.log
        time.sleep(0.01)
    if end == "stopped":
        session.stop()
    session.thread.join()
    expected = {"at its end": "COMPLETE", "out of time": "ERROR", "stopped": "CANCEL_ACKNOWLEDGED"}
    assert session.status == expected[end]
    assert session.failure == ("Timeout Exceeded" if end == "out of time" else "")
    for entry in session.log[:2]:
        pid = int(entry["data"])
        until = time.monotonic() + 10  # a signal takes a moment to arrive
        while is_running(pid):
            assert time.monotonic() < until
            time.sleep(0.01)


@LINUX
def test_a_process_that_nobody_ends_does_not_keep_its_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "PATIENCE", 0.1)
    code = "import os, subprocess\n"
    code += "child = subprocess.Popen(['sleep', '99'], env={}, start_new_session=True)\n"
    code += "print(child.pid, flush=True)\nos.wait()\n"
    session = Session(tmp_path / "session", code, {}, timeout=3)
    session.run()
    assert session.failure == "Timeout Exceeded"
    pid = int(session.log[0]["data"])
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_session_that_is_stopped_while_it_is_queued_runs_nothing(tmp_path, competition):
    session = Session(tmp_path / "session", "open('ran', 'w')", {"competitions/x": competition})
    session.stop()
    session.run()
    assert session.status == "CANCEL_ACKNOWLEDGED"
    assert list((session.folder / "working").iterdir()) == []


def test_an_input_that_cannot_be_copied_ends_the_session_in_error(tmp_path, competition):
    session = Session(tmp_path / "session", "print()", {"competitions/x": competition})
    (session.folder / "input" / "competitions").write_text("in the way")
    session.run()
    assert session.status == "ERROR" and "could not start" in session.failure
