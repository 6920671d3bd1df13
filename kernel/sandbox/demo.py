"""The demo's competition: the shipped patches, and a sandbox to compete in."""

import contextlib
import datetime
import hashlib
import itertools
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pcam_kaggle.system.files import PARTIAL, hash_file, short_hash
from pcam_kaggle.system.paths import COMPETITION

from ..bundle.page import bundle_kernel
from ..runs import list_records
from .judge import read_teams
from .server import Sandbox

SHIPPED = Path(__file__).parent / "patches"
MARK = "shipped.txt"  # beside a demo's data: the hash of what it was made of
DEADLINE = datetime.datetime(2019, 3, 30, 23, 59)  # that of the competition


def is_same_demo(folder: Path, recipe: str, overrides: dict) -> bool:
    """Whether the latest demo in a folder is of this recipe and these settings, the same build and
    the same patches.

    It may be finished or interrupted.
    """
    pushed, mark = list_records(folder), folder / "data" / MARK
    if not pushed or not (folder / "sandbox" / "state.json").is_file():
        return False
    if not mark.is_file() or mark.read_text("utf-8") != hash_shipped():
        return False
    record = pushed[-1][1]
    if (record.recipe, record.settings) != (recipe, json.loads(json.dumps(overrides))):
        return False
    own = {} if record.max_hours is None else {"max_hours": record.max_hours}
    return bundle_kernel(recipe, {**overrides, **own}).build_id == record.build_id


def was_interrupted(sandbox: Sandbox) -> bool:
    """Whether the latest version of a kernel did not end well, and has left networks."""
    kernels = sandbox.service.state["kernels"].values()
    ended = [kernel["versions"][-1]["status"] == "COMPLETE" for kernel in kernels]
    left = (sandbox.service.folder / "kernels").glob("*/*/v*/working/folds/*.npz")
    return not all(ended) and any(left)


def set_aside(folder: Path) -> Path | None:
    """Keep a demo of another build as demo-1, demo-2, ... if it has finished anything.

    It is kept without the patches, which are written again when it is reused.

    Returns:
        Where it is, or None where nothing was finished.

    Raises:
        ValueError: the folder is no demo's.
    """
    if (folder / "folds").exists() or (folder / "run.json").exists():
        raise ValueError(
            f"{folder} has a run that no demo made. Expected: a demo's folder, or none. Try: move "
            "that run elsewhere"
        )
    networks = folder.glob("sandbox/kernels/*/*/v*/working/folds/fold*.npz")
    earlier = None
    if any(networks) or any(folder.glob("*/run.json")):
        numbered = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(1))
        earlier = next(path for path in numbered if not path.exists())
        with contextlib.suppress(FileNotFoundError):  # the patches: 39 MB
            shutil.rmtree((folder / "data" / "input").rename(folder / "data" / f"{PARTIAL}input"))
        folder.rename(earlier)
    shutil.rmtree(folder, ignore_errors=True)
    return earlier


def open_demo(folder: Path) -> Sandbox:
    """A sandbox on the shipped patches with the real final boards; it resumes an earlier one."""
    solution = lay_out_demo(folder / "data")
    teams = read_teams(SHIPPED / "final_boards.csv")
    data = folder / "data" / "input"
    return Sandbox(data, solution, folder / "sandbox", teams, DEADLINE)


def lay_out_demo(folder: Path) -> pd.DataFrame:
    """Write the shipped patches to input/competitions/<slug>/, as on Kaggle, unless they are there.

    Returns:
        The solution, a DataFrame of id, label and Usage, which is kept in memory only, out of
        the kernel's sight.
    """
    is_there = (folder / "input").exists()
    patches = {
        split: read_patches(split) for split in (["test"] if is_there else ["train", "test"])
    }
    shipped = pd.read_csv(SHIPPED / "labels.csv", index_col="file")["label"]
    tables = {}
    for split, found in patches.items():
        rows = [(patch_id, int(shipped[name])) for patch_id, (name, _) in found.items()]
        tables[split] = pd.DataFrame(rows, columns=["id", "label"])
    test = tables["test"].sort_values("id", ignore_index=True)
    if not is_there:
        print(f"data    writes {len(test) + len(tables['train']):,} patches", flush=True)
        partial = folder.with_name(f"{PARTIAL}{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)  # of a demo that was killed
        root = partial / "input" / "competitions" / COMPETITION
        for split, found in patches.items():
            (root / split).mkdir(parents=True)
            for patch_id, (_, pixels) in found.items():
                Image.fromarray(pixels).save(root / split / f"{patch_id}.tif")
        sample = test.assign(label=0)
        (partial / MARK).write_text(hash_shipped(), "utf-8")
        tables["train"].to_csv(root / "train_labels.csv", index=False, lineterminator="\n")
        sample.to_csv(root / "sample_submission.csv", index=False, lineterminator="\n")
        shutil.rmtree(folder, ignore_errors=True)  # of a demo that was set aside
        partial.rename(folder)
    return test.assign(Usage=["Private" if i % 2 else "Public" for i in range(len(test))])


def hash_shipped() -> str:
    """A hash of the patches, the labels and the boards that a demo is made of."""
    files = sorted(SHIPPED.glob("[!.]*"))
    return short_hash("".join(f"{path.name} {hash_file(path)}\n" for path in files))


def read_patches(split: str) -> dict[str, tuple[str, np.ndarray]]:
    """The name and the pixels of the shipped patches of a split, by id."""
    patches = {}
    for path in sorted(SHIPPED.glob(f"{split}_*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                pixels = np.asarray(Image.open(archive.open(name)).convert("RGB"))
                patches[hashlib.sha1(pixels.tobytes()).hexdigest()] = (name, pixels)
    return patches
