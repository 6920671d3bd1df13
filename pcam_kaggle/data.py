"""The table of labels, and TIFFs decoded once into one uint8 array."""

import dataclasses
import hashlib
import io
import os
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

IMAGE_SHAPE = (96, 96, 3)
BITS_PER_SAMPLE = 258  # a TIFF tag; Pillow would cut 16 bits to 8 without a word
FILES_PER_TASK = 512
PROCESSES_FROM = 20_000  # files; below, threads: starting processes takes 2 s


@dataclasses.dataclass(frozen=True)
class Patches:
    """What the networks of a run learn from and predict.

    `images` and `test_images` are uint8 arrays (n, 96, 96, 3), or the float16 features
    (n, dim) of a foundation model; `labels` an int array (n,) of 0 and 1.
    """

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray


def load_labels(folder):
    """The training images and their labels, joined on the id as the seed does.

    Args:
        folder: Path, the competition folder.

    Returns:
        DataFrame with columns path (str), id (str), label (int), ordered by id.

    Raises:
        ValueError: duplicate ids, labels other than 0 and 1, an image without a label
            or a label without an image; counts them all and names the first ten.
    """
    source = Path(folder) / "train_labels.csv"
    labels = read_ids(source)
    wrong = labels.loc[~labels["label"].isin(["0", "1"])]
    if len(wrong):
        shown = [f"{row.label!r} for {row.id}" for row in wrong.itertuples()]
        raise ValueError(
            f"{source}: expected labels 0 and 1. Received: {summarise(shown, 'others')}"
        )
    images = list_images(Path(folder) / "train")
    check_same_ids(source, labels["id"], images["id"])
    table = images.merge(labels, on="id", how="left")
    return table.astype({"label": int})


def load_sample(folder):
    """sample_submission.csv (columns id, label) and the test images in its order.

    Returns:
        DataFrame with columns path (str), id (str), ordered as the sample is.

    Raises:
        ValueError: an empty test folder, or ids that are not those of the images.
    """
    source = Path(folder) / "sample_submission.csv"
    sample = read_ids(source)
    images = list_images(Path(folder) / "test")
    check_same_ids(source, sample["id"], images["id"])
    return sample[["id"]].merge(images, on="id", how="left")[["path", "id"]]


def load_images(table, scratch, verify_ids=False, progress="images"):
    """Decode every image of a table once, in parallel.

    Args:
        table: DataFrame with columns path and id, n rows.
        scratch: Path, a folder for the file behind a shared array, <progress>.npy. It
            must outlive the array. None where there are few images.
        verify_ids: bool, also check that every id is the sha1 of the pixels.
        progress: str, the label of the progress bar.

    Returns:
        uint8 array (n, 96, 96, 3), RGB, in the table's order. From 20,000 files (553
        MB) on several processes fill it, and it is memory-mapped.

    Raises:
        ValueError: files that are no 96x96 8-bit RGB TIFF or whose pixels are not
            their id's; counts them all and names the first ten. None is skipped.
    """
    shape = (len(table), *IMAGE_SHAPE)
    if len(table) < PROCESSES_FROM:
        backend = "threading"
        images = target = np.empty(shape, np.uint8)
    else:
        backend, target = "loky", Path(scratch) / f"{progress}.npy"
        images = np.lib.format.open_memmap(target, "w+", np.uint8, shape)
    paths, ids = table["path"].tolist(), table["id"].tolist()
    tasks = [slice(i, i + FILES_PER_TASK) for i in range(0, len(paths), FILES_PER_TASK)]
    pool = joblib.Parallel(
        n_jobs=os.cpu_count(), backend=backend, return_as="generator_unordered"
    )
    work = joblib.delayed(decode_files)
    results = pool(
        work(target, task.start, paths[task], ids[task], verify_ids) for task in tasks
    )
    wrong = []
    # disable=None: no bar in a log, where every step of it would be a line.
    with tqdm(
        total=len(paths), desc=progress, unit="file", mininterval=5, disable=None
    ) as bar:
        for num_files, problems in results:
            wrong += problems
            bar.update(num_files)
    if wrong:
        raise ValueError(
            "expected 96x96 RGB TIFF images of 8 bits per channel. Received: "
            + summarise(sorted(wrong), "others")
        )
    return images


def decode_files(target, start, paths, ids, verify_ids):
    """Decode some files into an array or the file behind it.

    Returns:
        Their number and a list of what is wrong with any of them.
    """
    if isinstance(target, Path):
        target = np.lib.format.open_memmap(target, "r+")
    problems = []
    for offset, (path, patch_id) in enumerate(zip(paths, ids)):
        try:
            target[start + offset] = decode_tiff(path, patch_id if verify_ids else None)
        except UnidentifiedImageError:
            problems.append(f"{path}: not a TIFF")
        except (OSError, ValueError, SyntaxError, KeyError) as error:
            problems.append(f"{path}: {error}")
    return len(paths), problems


def decode_tiff(path, verify_id=None):
    """The pixels of one file: uint8 (96, 96, 3). Reading it whole is 1.8 x as fast."""
    with Image.open(io.BytesIO(Path(path).read_bytes()), formats=("TIFF",)) as image:
        size = f"{image.width}x{image.height}"
        bits = tuple(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))
        if (size, image.mode, bits) != ("96x96", "RGB", (8, 8, 8)):
            raise ValueError(f"{size} {image.mode}, bits per channel {bits}")
        pixels = np.asarray(image)
    if verify_id is not None:
        digest = hashlib.sha1(pixels.tobytes()).hexdigest()
        if digest != verify_id:
            raise ValueError(f"sha1 of the pixels is {digest}, not the id")
    return pixels


def list_images(folder):
    """The .tif files of a folder: DataFrame with columns path and id, ordered by id."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".tif"))
    if not names:
        raise ValueError(f"{folder}: expected .tif images. Received: none")
    paths = [os.path.join(folder, name) for name in names]
    return pd.DataFrame({"path": paths, "id": [name[:-4] for name in names]})


def read_ids(source):
    """A CSV with columns id and label, as text, each id once."""
    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    if list(table.columns) != ["id", "label"]:
        raise ValueError(
            f"{source}: expected columns id,label. Received: {','.join(table.columns)}"
        )
    twice = table.loc[table["id"].duplicated(), "id"]
    if len(twice):
        raise ValueError(
            f"{source}: expected each id once. Received: {summarise(twice, 'again')}"
        )
    return table


def check_same_ids(source, listed, on_disk):
    """Refuse ids without an image and images without an id."""
    listed, on_disk = set(listed), set(on_disk)
    problems = {
        "ids without an image": sorted(listed - on_disk),
        "images without an id": sorted(on_disk - listed),
    }
    texts = [summarise(ids, problem) for problem, ids in problems.items() if ids]
    if texts:
        raise ValueError(
            f"{source}: expected the ids of the images beside it. Received: "
            + "\nand ".join(texts)
        )


def summarise(items, what):
    """How many there are of something, and the first ten, a line each."""
    items = list(items)
    shown = items[:10] + ["..."] * (len(items) > 10)
    return "\n  ".join([f"{len(items)} {what}", *shown])
