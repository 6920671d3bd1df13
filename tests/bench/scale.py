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
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from speed import NUM_TURNS, best_seconds, print_table, rate_rows  # noqa: E402

from kernel.bundle.recipes import compose_settings, parse_words, read_recipe  # noqa: E402

BUILDERS = {"demo": "small", "fast": "pretrained", "scratch": "scratch"}  # of models/


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    parser.add_argument("--recipe", default="demo", choices=BUILDERS)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--data", type=Path, help="size: the competition's folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 50_000, 220_025])
    parser.add_argument("--csv", type=Path, help="write the table here too")
    args = parser.parse_intermixed_args()
    rows = MEASURES[args.what](args)
    print_table(rows)
    if args.csv:
        with open(args.csv, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def read_settings(args, **more):
    """The recipe's settings with the overrides, and others."""
    recipe = read_recipe(args.recipe)
    return compose_settings(recipe, {**parse_words(recipe, args.overrides), **more})


def make_method(args):
    """The recipe's method."""
    import importlib

    from pcam_kaggle.augmentation.flips import augment_patches
    from pcam_kaggle.methods.finetune import Finetune

    settings, name = read_settings(args), BUILDERS[args.recipe]
    module = importlib.import_module(f"pcam_kaggle.models.{name}")
    return Finetune(
        getattr(module, f"build_{name}"),
        augment_patches,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
        tta=settings.prediction.tta,
    )


def draw_patches(num_images):
    """Patches of random pixels, and labels that can be learned from them."""
    import numpy as np

    from pcam_kaggle.data.run import Patches

    random = np.random.default_rng(0)
    labels = np.arange(num_images) % 2
    images = random.integers(0, 200, (num_images, 96, 96, 3), dtype=np.uint8)
    images += (50 * labels).astype("uint8")[:, None, None, None]
    return Patches(images, labels, images[: num_images // 8], images)


def measure_feeding(args):
    """Training images/s through the real pipeline, and on a batch that lies ready."""
    import keras
    import numpy as np
    import tensorflow as tf

    from pcam_kaggle.data.batches import Batches

    method, patches = make_method(args), draw_patches(args.images)
    size = method.training.batch_size
    batches = Batches(patches.images, np.arange(args.images), size, patches.labels, 0)

    class EpochClock(keras.callbacks.Callback):
        """Seconds of each epoch."""

        def on_train_begin(self, logs=None):
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.started)

    keras.utils.set_random_seed(0)
    network, model = method.compile(num_steps=10 * len(batches), seed=0)
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
        (f"training {network.name}", name, f"{count / took:,.0f} images/s", f"{first / took:.3f}")
        for name, took in seconds.items()
    ]


def measure_prediction(args):
    """Patches/s with the views in one pass, and with a pass over the data for each."""
    import keras

    from pcam_kaggle.inference.predict import predict
    from pcam_kaggle.inference.views import test_time_views

    method, images = make_method(args), draw_patches(args.images).images
    network, tta = method.build(), method.tta
    network.compile()

    def loop():
        for view in test_time_views(images.astype("float32"), tta):
            network.predict(keras.ops.convert_to_numpy(view), batch_size=96, verbose=0)

    ways = {
        "a pass for each view, as the notebook predicts": loop,
        "ours, all views in one pass": lambda: predict(network, images, None, tta),
    }
    return rate_rows(f"predicting, {network.name}, tta={tta}", "patches/s", ways, len(images))


def measure_workers(args):
    """Two folds by one worker on one core, and by two workers on a core each."""
    import numpy as np

    from pcam_kaggle.data.run import Run
    from pcam_kaggle.system.clock import Clock
    from pcam_kaggle.system.device import Device
    from pcam_kaggle.training.members import fit_members

    method, patches = make_method(args), draw_patches(args.images)
    settings = read_settings(args, num_folds=4, folds=(0, 1))
    folds = np.arange(args.images) // 2 % 4
    core, *_ = cores = sorted(os.sched_getaffinity(0))
    seconds, rates = {}, {}
    for num_workers in (1, 2):
        # One worker of two has a core; so has one alone.
        os.sched_setaffinity(0, {core} if num_workers == 1 else cores)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(
                recipe=args.recipe,
                settings=settings,
                competition=None,
                output=Path(folder),
                data=folder,
                clock=Clock(),
                build_id="bench",
                code="bench",
                edited=False,
                fingerprint="bench",
            )
            device = Device("float32", num_gpus=0, num_workers=num_workers, text="CPU")
            started = time.perf_counter()
            *_, ensemble = fit_members(method, patches, folds, run, device)
            seconds[num_workers] = time.perf_counter() - started
            epochs = [member.history["train_seconds"][1:].mean() for member in ensemble.members]
            # An epoch's rate, start and compilation left out, times the networks at once.
            rates[num_workers] = num_workers / np.mean(epochs)
    what = f"two folds, recipe {args.recipe}, {settings.training.epochs} epochs"
    rows = [("what", "workers", "seconds", "times one worker", "epochs alone")]
    return rows + [
        (what, str(n), f"{took:.1f}", f"{seconds[1] / took:.2f}", f"{rates[n] / rates[1]:.2f}")
        for n, took in seconds.items()
    ]


def measure_resume(args):
    """Seconds of a network with a checkpoint after every epoch, and without."""
    import numpy as np

    from pcam_kaggle.data.folds import split_fold
    from pcam_kaggle.training.checkpoint import Checkpoint

    method, patches = make_method(args), draw_patches(args.images)
    split = split_fold(np.arange(args.images) // 2 % 4, fold=0, seed=0, name="fold 0 seed 0")

    def kept():
        with tempfile.TemporaryDirectory() as folder:
            method.fit(patches, split, Checkpoint(Path(folder) / "c.npz", "bench"))

    ways = {"without": lambda: method.fit(patches, split), "with a checkpoint": kept}
    seconds = best_seconds(ways, NUM_TURNS)
    rows = [("what", "way", "seconds", "overhead")]
    return rows + [
        (
            f"{method.training.epochs} epochs of the recipe {args.recipe}",
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

    from pcam_kaggle.data.cache import load_cached
    from pcam_kaggle.data.competition import load_labels
    from pcam_kaggle.system.clock import measure_peak
    from pcam_kaggle.system.paths import find_data

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

    from pcam_kaggle.inference.predict import predict

    method = make_method(args)
    network = method.build()
    rows = [("patches", "views each", "own memory, GiB", "seconds")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        shape = (max(args.sizes), 96, 96, 3)
        np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
        images = np.load(path, mmap_mode="r")
        for size in args.sizes:
            started = time.perf_counter()
            predict(network, images, np.arange(size), method.tta)
            seconds = time.perf_counter() - started
            status = Path("/proc/self/status").read_text("utf-8").split()
            own = int(status[status.index("RssAnon:") + 1]) / 2**20
            rows.append((f"{size:,}", method.tta, f"{own:.2f}", f"{seconds:.0f}"))
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
