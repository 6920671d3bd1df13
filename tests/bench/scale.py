"""Measure what surrounds a training step: feeding, views, workers, checkpoints, size.

    python tests/bench/scale.py feed [--recipe NAME] [name=value ...]
    python tests/bench/scale.py predict | workers | resume
    python tests/bench/scale.py memory tta=dihedral --sizes 2000 57458
    python tests/bench/scale.py size --data DIR [--sizes 1000 10000 50000 220025]

Each compares ways of one piece of work in one run, on images drawn at random, with the
recipe's network, and prints a Markdown table; --csv FILE also writes it as CSV.
"""

import argparse
import csv
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pcam_kaggle.config import parse_overrides  # noqa: E402
from speed import NUM_TURNS, best_seconds, print_table, rate_rows  # noqa: E402

from pcam_kaggle.recipes import get_config  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--data", type=Path, help="size: the competition's folder")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 50_000, 220_025]
    )
    parser.add_argument("--csv", type=Path, help="write the table here too")
    args = parser.parse_intermixed_args()
    args.config = get_config(args.recipe, parse_overrides(args.overrides))
    rows = MEASURES[args.what](args)
    print_table(rows)
    if args.csv:
        with open(args.csv, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def draw_patches(num_images):
    """Images, labels that can be learned from them, and three folds."""
    import numpy as np

    from pcam_kaggle.data import Patches

    random = np.random.default_rng(0)
    labels = np.arange(num_images) % 2
    images = random.integers(0, 200, (num_images, 96, 96, 3), dtype=np.uint8)
    images += (50 * labels).astype("uint8")[:, None, None, None]
    return Patches(images, labels, images[: num_images // 8])


def measure_feeding(args):
    """Training images/s through the real pipeline, and on a batch that lies ready."""
    import keras
    import numpy as np
    import tensorflow as tf
    from pcam_kaggle.batches import Batches
    from pcam_kaggle.train import compile_model

    config, patches = args.config, draw_patches(args.images)
    batches = Batches(
        patches.images, np.arange(args.images), config.batch_size, patches.labels, 0
    )

    class EpochClock(keras.callbacks.Callback):
        """Seconds of each epoch."""

        def on_train_begin(self, logs=None):
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.begun)

    keras.utils.set_random_seed(0)
    model, _ = compile_model(config, num_steps=10 * len(batches), seed=0)
    ready = tf.data.Dataset.from_tensors(batches[0]).repeat(len(batches))
    ways = {"a batch that lies ready": ready, "the real pipeline": batches}
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(NUM_TURNS):
        for name, source in ways.items():
            clock = EpochClock()
            model.fit(source, epochs=3, shuffle=False, callbacks=[clock], verbose=0)
            # The first epoch also starts the pipeline.
            seconds[name] = min(seconds[name], *clock.seconds[1:])
    count, first = len(batches) * batches.batch_size, seconds["a batch that lies ready"]
    rows = [("what", "way", "per second", "times the first")]
    return rows + [
        (
            f"training {config.architecture}",
            name,
            f"{count / took:,.0f} images/s",
            f"{first / took:.3f}",
        )
        for name, took in seconds.items()
    ]


def measure_prediction(args):
    """Patches/s with the views in one pass, and with a pass over the data for each."""
    import keras
    from pcam_kaggle.augment import test_time_views
    from pcam_kaggle.prediction import predict
    from pcam_kaggle.train import build_network

    config, images = args.config, draw_patches(args.images).images
    network = build_network(config)
    network.compile()

    def seed_loop():
        for view in test_time_views(images.astype("float32"), config.tta):
            network.predict(keras.ops.convert_to_numpy(view), batch_size=96, verbose=0)

    ways = {
        "a pass for each view, as the seed predicts": seed_loop,
        "ours, all views in one pass": lambda: predict(
            network, images, None, config.tta
        ),
    }
    title = f"predicting, {config.architecture}, tta={config.tta}"
    return rate_rows(title, "patches/s", ways, len(images))


def measure_workers(args):
    """Two folds by one worker on one core, and by two workers on a core each."""
    import numpy as np
    from pcam_kaggle.budget import Budget
    from pcam_kaggle.jobs import Session, train_members

    config = dataclasses.replace(args.config, num_folds=4, folds=(0, 1))
    patches = draw_patches(args.images)
    folds = np.arange(args.images) // 2 % 4
    core, *_ = cores = sorted(os.sched_getaffinity(0))
    seconds, stages = {}, {}
    for num_workers in (1, 2):
        # One worker of two has a core; so has one alone.
        os.sched_setaffinity(0, {core} if num_workers == 1 else cores)
        with tempfile.TemporaryDirectory() as folder:
            session = Session(
                output=Path(folder),
                scratch=Path(folder),
                fingerprint="bench",
                policy="float32",
                budget=Budget(11),
                num_workers=num_workers,
                num_gpus=0,
            )
            started = time.perf_counter()
            members, _ = train_members(config, patches, folds, session)
            seconds[num_workers] = time.perf_counter() - started
            stages[num_workers] = [m["history"]["train_seconds"][1:] for m in members]
    rows = [("what", "workers", "seconds", "times one worker", "epochs alone")]
    for number, took in seconds.items():
        # An epoch's rate, start and compilation left out, times the networks at once.
        rate = number / np.mean([part.mean() for part in stages[number]])
        first = 1 / np.mean([part.mean() for part in stages[1]])
        rows.append(
            (
                f"two folds, {config.architecture}, {config.epochs} epochs",
                str(number),
                f"{took:.1f}",
                f"{seconds[1] / took:.2f}",
                f"{rate / first:.2f}",
            )
        )
    return rows


def measure_resume(args):
    """Seconds of a network with a checkpoint after every epoch, and without."""
    import numpy as np
    from pcam_kaggle.checkpoint import Checkpoint
    from pcam_kaggle.train import train_fold

    config, patches = args.config, draw_patches(args.images)
    folds = np.arange(args.images) // 2 % 4
    given = (config, patches.images, patches.labels, folds, 0, 0)

    def kept():
        with tempfile.TemporaryDirectory() as folder:
            train_fold(*given, Checkpoint(Path(folder) / "c.npz", "bench"))

    ways = {"without": lambda: train_fold(*given), "with a checkpoint": kept}
    seconds = best_seconds(ways, NUM_TURNS)
    rows = [("what", "way", "seconds", "overhead")]
    return rows + [
        (
            f"{config.epochs} epochs of {config.architecture}",
            name,
            f"{took:.2f}",
            f"{100 * (took / seconds['without'] - 1):+.1f} %",
        )
        for name, took in seconds.items()
    ]


def measure_size(args):
    """Decoding into the cache, opening it again, and memory, against the size."""
    import joblib
    import pandas as pd
    from pcam_kaggle.cache import load_cached
    from pcam_kaggle.paths import find_data
    from pcam_kaggle.stages import measure_peak

    from pcam_kaggle.data import load_labels

    table = load_labels(find_data(args.data))
    rows = [("files", "decode, s", "files/s", "open again, s", "peak GiB")]
    for size in args.sizes:
        copies = pd.concat([table] * -(-size // len(table)), ignore_index=True)
        with tempfile.TemporaryDirectory() as folder:
            seconds = []
            for _ in range(2):
                started = time.perf_counter()
                images = load_cached(copies.head(size), folder=folder)
                seconds.append(time.perf_counter() - started)
            reopened = f"{seconds[1]:.2f}" if list(Path(folder).iterdir()) else ""
            del images
        joblib.externals.loky.get_reusable_executor().shutdown()
        first = seconds[0]
        figures = (f"{first:.1f}", f"{size / first:,.0f}", reopened)
        rows.append((f"{size:,}", *figures, f"{measure_peak():.1f}"))
    return rows


def measure_memory(args):
    """Memory of predictions from a mapped file, against the number of patches (Linux).

    The process's own; the pages of the file, which the system takes back, are left out.
    """
    import numpy as np
    from pcam_kaggle.prediction import predict
    from pcam_kaggle.train import build_network

    network = build_network(args.config)
    rows = [("patches", "views each", "own memory, GiB", "seconds")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        shape = (max(args.sizes), 96, 96, 3)
        np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
        images = np.load(path, mmap_mode="r")
        for size in args.sizes:
            started = time.perf_counter()
            predict(network, images, np.arange(size), args.config.tta)
            seconds = time.perf_counter() - started
            status = Path("/proc/self/status").read_text("utf-8").split()
            own = int(status[status.index("RssAnon:") + 1]) / 2**20
            figures = (f"{size:,}", args.config.tta, f"{own:.2f}", f"{seconds:.0f}")
            rows.append(figures)
        del images
    return rows


MEASURES = {
    "memory": measure_memory,
    "feed": measure_feeding,
    "predict": measure_prediction,
    "workers": measure_workers,
    "resume": measure_resume,
    "size": measure_size,
}

if __name__ == "__main__":
    main()
