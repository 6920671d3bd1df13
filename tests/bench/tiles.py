"""Measure `predict RUN IMAGE` beside Keras's plain loop over the same tiles, as a ratio in one run.

    python tests/bench/tiles.py [--side 20] [--networks 3] [--views none]

Stitches shipped patches with tissue to an image of SIDE x SIDE patches, nine tiles each, and
predicts it with random networks `small_cnn`. The plain loop decodes the image, cuts all tiles into
one array and calls `model.predict` of each network on each view of it. `predict` also looks for
glass, and writes the CSV, the map and the picture. Both load the networks and compile them.
Prints a Markdown table; each figure is the best of three turns, in which the ways alternate. On a
busy machine only CPU time can be compared.
"""

import argparse
import contextlib
import io
import logging
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from speed import NUM_TURNS, print_table  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=20, help="patches per side, up to 25")
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--views", choices=("none", "flip", "dihedral"), default="none")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as scratch:
        print_table(measure(args, Path(scratch)))


def measure(args, scratch):
    """Tiles/s and CPU seconds of both ways, start of the process excluded."""
    from pcam_kaggle.methods.predict_tiles import TilesRequest, predict_tiles

    logging.getLogger("tensorflow").setLevel("ERROR")  # not its advice on retracing
    networks, image = save_networks(args, scratch), stitch(args.side, scratch)
    rest = {"fingerprint": "bench", "tta": args.views, "average": "mean", "maps": None}
    out = scratch / "out" / "tiles.csv"
    request = TilesRequest(networks=networks, source=str(image), out=str(out), mpp=0.97, **rest)
    counts = []

    def ours():
        for path in out.parent.glob("*"):
            path.unlink()
        with contextlib.redirect_stderr(io.StringIO()):
            counts.append(predict_tiles(request))

    ways = {
        "`model.predict` on an array of all tiles": lambda: loop(networks, image, args.views),
        "`predict RUN IMAGE`": ours,
    }
    num_tiles = 9 * args.side**2
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(NUM_TURNS):
        for name, way in ways.items():
            started = time.perf_counter(), time.process_time()
            way()
            ended = time.perf_counter(), time.process_time()
            best[name] = [min(b, e - s) for b, e, s in zip(best[name], ended, started)]
    assert all(num_glass < 0.01 * num_tiles for _, num_glass in counts), counts
    (wall, cpu), *_ = best.values()
    title = f"{num_tiles:,} tiles, {args.networks} `small_cnn`, views {args.views}"
    head = ("what", "way", "tiles/s", "times the first", "CPU seconds", "times the first")
    return [head] + [
        (title, name, f"{num_tiles / w:,.0f}", f"{wall / w:.2f}", f"{c:.1f}", f"{c / cpu:.2f}")
        for name, (w, c) in best.items()
    ]


def save_networks(args, scratch):
    """Random networks, kept as a run keeps them."""
    import keras

    from pcam_kaggle.inference.networks import save_network
    from pcam_kaggle.models.settings import NetworkSettings
    from pcam_kaggle.models.small import build_small

    keras.utils.set_random_seed(0)
    facts = {"fingerprint": "bench", "tta": "none", "settings": {}, "backbone": None}
    paths = [scratch / "folds" / f"fold{n}_seed{n}.keras" for n in range(args.networks)]
    for path in paths:
        save_network(path, build_small(NetworkSettings()), facts)
    return dict.fromkeys(map(str, paths), "")


def stitch(side, scratch):
    """Write an image of shipped patches that are all tissue, side by side."""
    import numpy as np
    from PIL import Image

    from kernel.sandbox.demo import lay_out_demo
    from pcam_kaggle.analysis.tissue import find_tissue

    lay_out_demo(scratch / "data")
    paths = sorted((scratch / "data").rglob("*.tif"))
    patches = np.stack([np.asarray(Image.open(path)) for path in paths])
    order = np.argsort(-find_tissue(patches).mean(axis=(1, 2)), kind="stable")[: side**2]
    grid = patches[order].reshape(side, side, 96, 96, 3)
    pixels = grid.transpose(0, 2, 1, 3, 4).reshape(side * 96, side * 96, 3)
    Image.fromarray(pixels).save(scratch / "image.tif")
    return scratch / "image.tif"


def loop(networks, image, views):
    """The mean of the networks and views, as one writes it first."""
    import keras
    import numpy as np
    from PIL import Image

    from pcam_kaggle.inference.views import test_time_views

    with Image.open(image) as opened:
        pixels = np.pad(np.asarray(opened), ((32, 32), (32, 32), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (96, 96), axis=(0, 1))
    tiles = windows[::32, ::32].transpose(0, 1, 3, 4, 2).reshape(-1, 96, 96, 3)
    models = [keras.saving.load_model(path) for path in networks]
    found = [
        model.predict(keras.ops.convert_to_numpy(view), verbose=0)
        for view in test_time_views(tiles, views)
        for model in models
    ]
    return np.mean(found, axis=0)


if __name__ == "__main__":
    main()
