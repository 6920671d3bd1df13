"""Measure decoding from a folder whose files take a while to open, as on Kaggle's mount.

    python tests/bench/decode.py [--files 20480] [--latency 0 5] [--rounds 3] [ROOT ...]

Writes as many TIFFs as asked to a temporary folder (27.8 kB each) and decodes them with
`load_images` of every ROOT, a checkout of this repository (this one if none is given), in turn.
The latency, in ms, is a sleep in every `open`, `os.open` and `os.stat` of a TIFF, which a
sitecustomize adds in all processes. Prints the best rate of the rounds as a Markdown table; with
--stat also the time that the cache takes to find the files unchanged.
"""

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
import builtins, io, os, time

def slow_down(real):
    def call(path, *args, **kwargs):
        if str(path).endswith(".tif"):
            time.sleep({seconds})
        return real(path, *args, **kwargs)
    return call

os.stat = slow_down(os.stat)
io.open = builtins.open = slow_down(io.open)
"""
DECODE = """
import os, sys, tempfile, time
import pandas as pd
from pcam_kaggle.data.decode import load_images

folder = sys.argv[1]
paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
table = pd.DataFrame({"path": paths, "id": [os.path.basename(p)[:-4] for p in paths]})
with tempfile.TemporaryDirectory() as scratch:
    start = time.perf_counter()
    images = load_images(table, scratch)
    print("RATE", len(images) / (time.perf_counter() - start))
    del images
"""
CACHE = """
import os, sys, tempfile, time
import pandas as pd
from pcam_kaggle.data.cache import load_cached

folder = sys.argv[1]
paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
table = pd.DataFrame({"path": paths, "id": [os.path.basename(p)[:-4] for p in paths]})
with tempfile.TemporaryDirectory() as scratch:
    load_cached(table, folder=scratch)
    start = time.perf_counter()
    load_cached(table, folder=scratch)
    print("RATE", len(table) / (time.perf_counter() - start))
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("roots", nargs="*", type=Path, default=[ROOT])
    parser.add_argument("--files", type=int, default=20_480)
    parser.add_argument("--latency", type=float, nargs="+", default=[0, 5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stat", action="store_true")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {given.files:,} files\n")
    print("| work | latency | checkout | files/s, best | all rounds |\n|---|---|---|---|---|")
    jobs = [("decode", DECODE)] + [("check the cache", CACHE)] * given.stat
    with tempfile.TemporaryDirectory() as scratch:
        images = write_images(Path(scratch, "images"), given.files)
        for latency in given.latency:
            for name, code in jobs:
                rates = {root: [] for root in given.roots}
                for _ in range(given.rounds):
                    for root in given.roots:
                        rates[root].append(measure(code, root, images, latency, scratch))
                for root, found in rates.items():
                    listed = " ".join(f"{rate:,.0f}" for rate in found)
                    print(f"| {name} | {latency:g} ms | {root} | {max(found):,.0f} | {listed} |")


def write_images(folder, count):
    """Write TIFFs of noise, named by the sha1 of their pixels."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for _ in range(count):
        pixels = random.integers(0, 256, (96, 96, 3), "uint8")
        name = hashlib.sha1(pixels.tobytes()).hexdigest()
        Image.fromarray(pixels).save(folder / f"{name}.tif")
    return folder


def measure(code, root, images, latency, scratch):
    """The rate of one process, and of those that it starts, with every open slowed down."""
    slow = Path(scratch, f"slow{latency:g}")
    slow.mkdir(exist_ok=True)
    text = SLOW.format(seconds=latency / 1000) if latency else ""
    (slow / "sitecustomize.py").write_text(text, "utf-8")
    result = subprocess.run(
        [sys.executable, "-c", code, str(images)],
        cwd=root,  # stands first in sys.path
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(slow), str(root.resolve())])},
        capture_output=True,
        text=True,
    )
    rates = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("RATE")]
    if result.returncode or not rates:
        sys.exit(result.stdout + result.stderr)
    return float(rates[0])


if __name__ == "__main__":
    main()
