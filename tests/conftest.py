"""The genuine Kaggle TIFFs as a competition, kernels run for real, and a sandbox."""

import csv
import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).parent
runpy.run_path(TESTS / "guard" / "sitecustomize.py")  # nothing but 127.0.0.1 from here

FIXTURES = TESTS / "fixtures"
SLUG = "histopathologic-cancer-detection"
NUM_TRAIN = 51  # of the 67 genuine TIFFs; the rest is the test folder

KILL_PARENT = """
import os, psutil

def kill_parent(pid):
    parent = psutil.Process(pid)
    workers = [p.pid for p in parent.children() if "loky" in p.cmdline()[2]]
    print(*workers, flush=True)
    parent.kill()
"""

# Settings of the recipe demo that train in seconds, with every stage of a real run.
TINY = {"num_folds": 2, "epochs": 2, "batch_size": 8, "tta": "flip"}


class Drawn:
    """The figures that a test has written, in order."""

    def __init__(self):
        self.figures = []

    def check_frame(self):
        """Nothing of the last figure is cut at its frame."""
        figure = self.figures[-1]
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, box


@pytest.fixture
def drawn(monkeypatch):
    """Keeps the figures that are written."""
    from matplotlib.figure import Figure

    kept, write = Drawn(), Figure.savefig

    def savefig(figure, *args, **options):
        write(figure, *args, **options)
        kept.figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept


@pytest.fixture(scope="session")
def genuine():
    """(name, bytes, label) of the 67 genuine Kaggle TIFFs, by name."""
    with open(FIXTURES / "kaggle_tifs_labels.csv", encoding="utf-8", newline="") as f:
        labels = {row["id"]: int(row["label"]) for row in csv.DictReader(f)}
    with zipfile.ZipFile(FIXTURES / "kaggle_tifs.zip") as archive:
        names = sorted(archive.namelist())
        return [(name, archive.read(name), labels[name[:-4]]) for name in names]


@pytest.fixture
def competition(tmp_path, genuine):
    """A competition folder of its own for every test, free to be damaged."""
    return lay_out(tmp_path, genuine)


@pytest.fixture(scope="session")
def shared_competition(tmp_path_factory, genuine):
    """A competition folder that tests share: read it, change nothing."""
    return lay_out(tmp_path_factory.mktemp("shared"), genuine)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, shared_competition):
    """The folder of a finished run of the recipe demo, of two networks: copy it."""
    from pcam_kaggle.recipes import run_recipe

    output = tmp_path_factory.mktemp("finished") / "pcam-demo-0123456789-home"
    run_recipe("demo", TINY, data=shared_competition, output=output)
    return output


def lay_out(folder, genuine):
    """The genuine TIFFs as Kaggle lays the competition out."""
    root = folder / "input" / "competitions" / SLUG
    for part, files in (("train", genuine[:NUM_TRAIN]), ("test", genuine[NUM_TRAIN:])):
        (root / part).mkdir(parents=True)
        for name, content, _ in files:
            (root / part / name).write_bytes(content)
    write_rows(
        root / "train_labels.csv", [(name[:-4], label) for name, _, label in genuine[:NUM_TRAIN]]
    )
    # Not in the order of the files, as on Kaggle.
    test_ids = sorted((name[:-4] for name, *_ in genuine[NUM_TRAIN:]), reverse=True)
    write_rows(root / "sample_submission.csv", [(patch_id, 0) for patch_id in test_ids])
    return root


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of its own, without credentials, here and in child processes."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.startswith(("KAGGLE_", "XDG_", "VERBOSE")) or "PROXY" in name.upper():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    return home


@pytest.fixture
def solution(tmp_path, genuine):
    """The labels of the competition's test images, half of each class in each part."""
    rows = sorted((label, name[:-4]) for name, _, label in genuine[NUM_TRAIN:])
    parts = ("Public", "Private")
    path = tmp_path / "solution.csv"
    solution = [(i, label, parts[n % 2]) for n, (label, i) in enumerate(rows)]
    write_rows(path, solution, ("id", "label", "Usage"))
    return path


@pytest.fixture
def open_sandbox(tmp_path, competition, solution, home, monkeypatch):
    """A function that opens a sandbox on the genuine TIFFs and points us there.

    Kernels are not trained but stubbed, in the mode given; the rest is as it is.
    """
    from kernel.remote import push, transport, versions
    from kernel.sandbox.server import Sandbox

    monkeypatch.setattr(transport, "BACK_OFF", 0.01)
    monkeypatch.setattr(transport, "PATIENCE", 3)
    monkeypatch.setattr(transport, "TIMEOUT", (5, 2))
    monkeypatch.setattr(push, "DIST", tmp_path / "dist")
    monkeypatch.setattr(versions, "SHOW_SECONDS", 50)  # a second, at the pace of the sandbox
    opened = []

    def open_one(mode="ok", **options):
        python = (sys.executable, str(TESTS / "stub.py"), mode)
        options = {"folder": tmp_path / "sandbox", "python": python, **options}
        sandbox = Sandbox(competition, solution, **options)
        opened.append(sandbox)
        for name, value in sandbox.environment().items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return sandbox

    yield open_one
    for sandbox in opened:
        sandbox.close()


@pytest.fixture
def sandbox(open_sandbox):
    """A sandbox whose kernels end well."""
    return open_sandbox()


def write_rows(path, rows, header=("id", "label")):
    """Write a CSV."""
    lines = [",".join(map(str, row)) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def read_rows(path):
    """A CSV's rows as lists of text, without the header."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def run_python(arguments, data=None, out=None, **environment):
    """Run Python in a process of its own, as a user does; its CompletedProcess."""
    folders = {"PCAM_INPUT": data, "PCAM_WORKING": out, **environment}
    given = {name: str(value) for name, value in folders.items() if value is not None}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(TESTS / "guard"),
            **given,
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def is_running(pid):
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def find_survivors(script, folder):
    """Run a script that kills itself: how many processes it had, and which outlive it by 60 s.

    `kill_parent(pid)` of the script kills a process and prints the loky workers that it had.
    """
    with open(folder / "pids", "w") as out:
        environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
        command = [sys.executable, "-c", KILL_PARENT + script]
        subprocess.run(command, cwd=folder, env=environment, stdout=out)
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    _, alive = psutil.wait_procs([psutil.Process(p) for p in pids if is_running(p)], timeout=60)
    for worker in alive:
        worker.kill()
    return len(pids), alive
