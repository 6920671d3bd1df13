"""Measure our speed beside the course notebook's and plain Pillow's, as ratios in one run.

    python tests/bench/speed.py startup
    python tests/bench/speed.py data --data DIR        DIR: the competition's folder

Prints a Markdown table; --csv FILE also writes it as CSV. Each figure is the best of
three turns that alternate between the ways, so that a busy machine spares none.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUM_TURNS = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("startup", "data"))
    parser.add_argument("--data", type=Path, help="the competition's folder")
    parser.add_argument("--copies", type=int, default=1, help="decode each file so often")
    parser.add_argument("--csv", type=Path, help="write the table here too")
    args = parser.parse_args()
    if args.what == "startup":
        rows = measure_startup()
    else:
        rows = measure_decoding(args.data, args.copies) + measure_batches(args.data)
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    print_table(rows)
    if args.csv:
        with open(args.csv, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def measure_startup():
    """Seconds of each home command, and how many times `python -c pass` that is."""
    ways = {
        "python -c pass": ["-c", "pass"],
        "build.py --help": ["build.py", "--help"],
        "build.py list": ["build.py", "list"],
        "build.py build demo": ["build.py", "build", "demo"],
    }
    runs = {name: lambda words=words: run_python(words) for name, words in ways.items()}
    seconds = best_seconds(runs, num_turns=10)
    plain = seconds["python -c pass"]
    rows = [("command", "milliseconds", "times `python -c pass`")]
    return rows + [(name, f"{1000 * s:.0f}", f"{s / plain:.1f}") for name, s in seconds.items()]


def run_python(words):
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)


def measure_decoding(data, copies):
    """Files/s of ours and of the peers' ways to read the training images."""
    import concurrent.futures

    import numpy as np
    import pandas as pd
    import tensorflow as tf
    from keras.src.legacy.preprocessing.image import ImageDataGenerator
    from PIL import Image

    from pcam_kaggle.data.competition import load_labels
    from pcam_kaggle.data.decode import load_images
    from pcam_kaggle.system.paths import find_data

    table = pd.concat([load_labels(find_data(data))] * copies, ignore_index=True)
    paths = table["path"].tolist()

    def ours():
        with tempfile.TemporaryDirectory() as scratch:
            load_images(table, scratch)

    def verified():
        with tempfile.TemporaryDirectory() as scratch:
            load_images(table, scratch, verify_ids=True)

    def plain():
        images = np.empty((len(paths), 96, 96, 3), np.uint8)
        for i, path in enumerate(paths):
            images[i] = np.asarray(Image.open(path))

    def notebook_generator():
        read_by_generator(ImageDataGenerator(), table)

    def decode(path):
        image = tf.numpy_function(read_pixels, [path], tf.uint8)
        return tf.ensure_shape(image, (96, 96, 3))

    def tf_data():
        dataset = tf.data.Dataset.from_tensor_slices(paths)
        dataset = dataset.map(decode, tf.data.AUTOTUNE).batch(96)
        for _ in dataset.prefetch(tf.data.AUTOTUNE):
            pass

    def worker_pool():
        parts = [paths[i : i + 96] for i in range(0, len(paths), 96)]
        with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(read_batch, parts):
                pass

    ways = {
        "Pillow loop": plain,
        "the notebook's ImageDataGenerator": notebook_generator,
        "tf.data, Pillow in numpy_function": tf_data,
        "batches by worker processes, as PyTorch's DataLoader": worker_pool,
        "ours": ours,
        "ours, verify_ids=true": verified,
    }
    return rate_rows(f"decoding {len(table):,} files", "files/s", ways, len(table))


def read_by_generator(generator, table):
    """All images of a table through the notebook's generator, in batches of 96."""
    flow = generator.flow_from_dataframe(
        table.astype({"label": str}),
        x_col="path",
        y_col="label",
        target_size=(96, 96),
        class_mode="binary",
        batch_size=96,
        validate_filenames=False,
    )
    for i in range(len(flow)):
        flow[i]


def read_pixels(path):
    """A file's pixels by plain Pillow."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path))


def read_batch(paths):
    """The pixels of some files, in one array."""
    import numpy as np

    return np.stack([read_pixels(path) for path in paths])


def measure_batches(data):
    """Images/s of augmented batches of 96: ours on the device, the notebook's generator."""
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from pcam_kaggle.augmentation.affine import RandomAffine
    from pcam_kaggle.augmentation.flips import RandomViews
    from pcam_kaggle.data.batches import Batches
    from pcam_kaggle.data.competition import load_labels
    from pcam_kaggle.data.decode import load_images
    from pcam_kaggle.system.paths import find_data

    table = load_labels(find_data(data)).head(9600)
    images = load_images(table, tempfile.gettempdir())

    def make_model(layer):
        inputs = keras.Input((96, 96, 3), dtype="uint8")
        views = layer(inputs, training=True)
        model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(views))
        model.predict(images[:96], verbose=0)  # traced before the clock starts
        return model

    layers = {"affine": RandomAffine(0), "dihedral": RandomViews("dihedral", 0)}
    models = {policy: make_model(layer) for policy, layer in layers.items()}
    generator = ImageDataGenerator(
        rescale=1 / 255,
        vertical_flip=True,
        horizontal_flip=True,
        rotation_range=90,
        zoom_range=0.2,
        width_shift_range=0.1,
        height_shift_range=0.1,
        shear_range=0.05,
        channel_shift_range=0.1,
    )

    def from_files():
        read_by_generator(generator, table)

    def from_array():
        flow = generator.flow(images, table["label"], batch_size=96)
        for i in range(len(flow)):
            flow[i]

    def ours(policy):
        models[policy].predict(Batches(images, range(len(images)), 96), verbose=0)

    ways = {
        "the notebook's generator, from files": from_files,
        "the notebook's generator, from an array": from_array,
        "ours (affine), on the device": lambda: ours("affine"),
        "ours (dihedral), on the device": lambda: ours("dihedral"),
    }
    return rate_rows("augmented batches of 96", "images/s", ways, len(table))[1:]


def rate_rows(title, unit, ways, count):
    """Rows of a table of speeds and their ratio to the first way."""
    seconds = best_seconds(ways, NUM_TURNS)
    first = next(iter(seconds.values()))
    rows = [("what", "way", "per second", "times the first")]
    return rows + [
        (title, name, f"{count / s:,.0f} {unit}", f"{first / s:.2f}") for name, s in seconds.items()
    ]


def best_seconds(ways, num_turns):
    """The shortest time of each way, in turns."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(num_turns):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def print_table(rows):
    """Rows as Markdown, the first as its head."""
    head, *body = rows
    for row in (head, ["---"] * len(head), *body):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
