"""A competition of the real size, made of copies of few real patches."""

import concurrent.futures
import csv
import hashlib
import io
import json
import multiprocessing
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from pcam_kaggle.system.paths import COMPETITION  # noqa: E402

NUM_TRAIN, NUM_TEST = 220_025, 57_458  # of the competition
POSITIVE = 89_117 / 220_025
TEST_SOURCES = 0.2  # share of the patches whose copies are test patches
FILES_PER_TASK = 2_000
NUM_CHECKED = 4_000  # copies among which near-duplicates are counted


def lay_out(folder, patches, num_train=NUM_TRAIN, num_test=NUM_TEST, seed=0):
    """Write the competition once; a later call with the same arguments uses it again.

    Args:
        folder: Path, empty, or what an earlier call wrote: competitions/<slug>/, and
            layout.json with the counts, the time and the near-duplicates found.
        patches: Path of a folder with archives train*.zip and train_labels.csv or labels.csv.
        num_train, num_test: numbers of patches to write.
        seed: random seed.

    Returns:
        dict, the content of layout.json.

    Raises:
        ValueError: the folder holds something else.
    """
    about = {"patches": str(patches), "train": num_train, "test": num_test, "seed": seed}
    note = folder / "layout.json"
    found = json.loads(note.read_text("utf-8")) if note.exists() else {}
    if about.items() <= found.items() and found.get("complete"):
        return found
    if folder.exists() and any(folder.iterdir()) and not about.items() <= found.items():
        raise ValueError(
            f"{folder}: expected an empty folder, or an earlier layout with {about}. Received: "
            f"{found or 'other files'}. Try: another --data"
        )
    root = folder / "competitions" / COMPETITION
    for split in ("train", "test"):
        (root / split).mkdir(parents=True, exist_ok=True)
        for left in (root / split).iterdir():  # of a layout that was interrupted
            left.unlink()
    note.write_text(json.dumps({**about, "complete": False}), "utf-8")
    pixels, labels = read_sources(patches)
    num_sources = write_splits(root, folder / "sources.npy", pixels, labels, about)
    (folder / "sources.npy").unlink()
    found = {**about, "complete": True, "sources": num_sources}
    found |= count_twins(pixels, labels, num_train, seed)
    note.write_text(json.dumps(found), "utf-8")
    return found


def read_sources(patches):
    """The pixels uint8 (n, 96, 96, 3) and labels (n,) of the training archives."""
    table = next(p for n in ("train_labels.csv", "labels.csv") if (p := patches / n).exists())
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = {Path(row.get("id") or row["file"]).stem: int(row["label"]) for row in rows}
    pixels, found = [], []
    for archive in sorted(patches.glob("train*.zip")):
        with zipfile.ZipFile(archive) as pool:
            for name in sorted(pool.namelist()):
                image = Image.open(io.BytesIO(pool.read(name))).convert("RGB")
                pixels.append(np.asarray(image))
                found.append(labels[Path(name).stem])
    order = np.random.default_rng(0).permutation(len(found))
    return np.stack(pixels)[order], np.array(found)[order]


def write_splits(root, scratch, pixels, labels, about):
    """Write both splits and their tables with two processes; the number of sources."""
    np.save(scratch, pixels)
    tasks, num_test_sources = [], round(TEST_SOURCES * len(labels))
    for split, places in (
        ("train", np.arange(num_test_sources, len(labels))),
        ("test", np.arange(num_test_sources)),
    ):
        copies = plan_copies(labels, places, about[split])
        tasks += [
            (root / split, scratch, copies[start : start + FILES_PER_TASK], about["seed"])
            for start in range(0, len(copies), FILES_PER_TASK)
        ]
    written = {"train": [], "test": []}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        for number, (split, rows) in enumerate(pool.map(write_copies, *zip(*tasks)), 1):
            written[split] += rows
            if number % 20 == 0:
                print(f"layout   {sum(map(len, written.values())):,} patches", flush=True)
    write_csv(root / "train_labels.csv", sorted(written["train"]))
    write_csv(root / "sample_submission.csv", [(i, 0) for i, _ in sorted(written["test"])])
    return len(labels)


def plan_copies(labels, places, count):
    """Which source, which of its copies and which label each patch has: int array (count, 3)."""
    num_positive = round(POSITIVE * count)
    parts = []
    for label, number in ((1, num_positive), (0, count - num_positive)):
        own = places[labels[places] == label]
        positions = np.arange(number)
        source, copy = own[positions % len(own)], positions // len(own)
        parts.append(np.stack([source, copy, np.full(number, label)], axis=1))
    return np.concatenate(parts)


def write_copies(folder, scratch, copies, seed):
    """Write some copies as <sha1 of the pixels>.tif; the split and rows of id and label."""
    pixels, rows = np.load(scratch, mmap_mode="r"), []
    for source, copy, label in copies.tolist():
        patch = change_patch(pixels[source], copy, np.random.default_rng((seed, source, copy)))
        patch_id = hashlib.sha1(patch.tobytes()).hexdigest()
        Image.fromarray(patch).save(folder / f"{patch_id}.tif")
        rows.append((patch_id, label))
    return folder.name, rows


def change_patch(patch, copy, random):
    """Turn a patch into a copy that is no near-duplicate of it or of its other copies.

    Copies differ in their symmetry; from the ninth on the patch is also rolled by another
    distance. All get a gain per channel of up to 8 % and noise of up to 4 levels.

    Args:
        patch: uint8 array (96, 96, 3).
        copy: int from 0, the number of the copy.
        random: numpy Generator.
    """
    shift = copy // 8
    shift = (37 * shift % 96 + random.integers(5), 53 * shift % 96 + random.integers(5))
    patch = np.roll(np.rot90(patch, copy % 4), shift, axis=(0, 1))
    patch = patch[:, ::-1] if copy % 8 >= 4 else patch
    noise = random.integers(-4, 5, patch.shape, dtype=np.int8)
    gain = random.uniform(0.92, 1.08, 3).astype("float32")
    return np.ascontiguousarray(np.clip(patch * gain + noise, 0, 255).astype("uint8"))


def count_twins(pixels, labels, num_train, seed):
    """Count near-duplicates among all copies of as many sources as make NUM_CHECKED."""
    from pcam_kaggle.analysis.patches import find_twins, measure_patches

    places = np.arange(round(TEST_SOURCES * len(labels)), len(labels))
    copies = plan_copies(labels, places, num_train)
    copies = copies[np.argsort(copies[:, 0], kind="stable")][:NUM_CHECKED]
    changed = [
        change_patch(pixels[source], copy, np.random.default_rng((seed, source, copy)))
        for source, copy, _ in copies.tolist()
    ]
    changed = np.stack(changed)
    return {"checked": len(changed), "twins": len(find_twins(changed, measure_patches(changed)))}


def write_csv(path, rows):
    """Write rows of id and label as Kaggle does."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("id", "label"), *rows])
