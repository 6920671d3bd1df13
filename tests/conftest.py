"""The genuine Kaggle TIFFs as a competition folder, and kernels run for real."""

import csv
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"
SLUG = "histopathologic-cancer-detection"
NUM_TRAIN = 51  # of the 67 genuine TIFFs; the rest is the test folder

# A network small enough to train in a second, with every stage of a real run.
TINY = {
    "architecture": "small_cnn",
    "num_folds": 2,
    "epochs": 2,
    "batch_size": 8,
    "tta": "flip",
}


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
    root = tmp_path / "input" / "competitions" / SLUG
    for part, files in (("train", genuine[:NUM_TRAIN]), ("test", genuine[NUM_TRAIN:])):
        (root / part).mkdir(parents=True)
        for name, content, _ in files:
            (root / part / name).write_bytes(content)
    write_rows(
        root / "train_labels.csv",
        [(name[:-4], label) for name, _, label in genuine[:NUM_TRAIN]],
    )
    # Not in the order of the files, as on Kaggle.
    test_ids = sorted((name[:-4] for name, *_ in genuine[NUM_TRAIN:]), reverse=True)
    write_rows(root / "sample_submission.csv", [(patch_id, 0) for patch_id in test_ids])
    return root


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
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **given},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
