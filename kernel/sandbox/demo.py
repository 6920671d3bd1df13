"""The demo's competition: the shipped patches, and a sandbox to compete in."""

import datetime
import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pcam_kaggle.system.paths import COMPETITION

from .judge import read_teams
from .server import Sandbox

SHIPPED = Path(__file__).parent / "patches"
DEADLINE = datetime.datetime(2019, 3, 30, 23, 59)  # that of the competition


def open_demo(folder: Path) -> Sandbox:
    """A sandbox on the shipped patches with the real final boards; data/ and sandbox/ are new."""
    shutil.rmtree(folder / "sandbox", ignore_errors=True)
    solution = lay_out_demo(folder / "data")
    teams = read_teams(SHIPPED / "final_boards.csv")
    data = folder / "data" / "input"
    return Sandbox(data, solution, folder / "sandbox", teams, DEADLINE)


def lay_out_demo(folder: Path) -> pd.DataFrame:
    """Write the shipped patches to input/competitions/<slug>/ in an emptied folder, as on Kaggle.

    Returns:
        The solution, a DataFrame of id, label and Usage, which is kept in memory only, out of
        the kernel's sight.
    """
    if folder.exists():
        shutil.rmtree(folder)
    root = folder / "input" / "competitions" / COMPETITION
    shipped = pd.read_csv(SHIPPED / "labels.csv", index_col="file")["label"]
    labels = {"train": {}, "test": {}}
    for split, split_labels in labels.items():
        (root / split).mkdir(parents=True)
        for archive in sorted(SHIPPED.glob(f"{split}_*.zip")):
            with zipfile.ZipFile(archive) as patches:
                for name in patches.namelist():
                    pixels = np.asarray(Image.open(patches.open(name)).convert("RGB"))
                    patch_id = hashlib.sha1(pixels.tobytes()).hexdigest()
                    Image.fromarray(pixels).save(root / split / f"{patch_id}.tif")
                    split_labels[patch_id] = int(shipped[name])
    train = pd.DataFrame(labels["train"].items(), columns=["id", "label"])
    test = pd.DataFrame(sorted(labels["test"].items()), columns=["id", "label"])
    sample = test.assign(label=0)
    train.to_csv(root / "train_labels.csv", index=False, lineterminator="\n")
    sample.to_csv(root / "sample_submission.csv", index=False, lineterminator="\n")
    return test.assign(Usage=["Private" if i % 2 else "Public" for i in range(len(test))])
