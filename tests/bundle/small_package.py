"""A small package with every folder that a page has, free to be damaged."""

import itertools

from kernel.bundle.page import bundle_kernel
from kernel.folders import PACKAGE

FILES = {
    "recipes/plain.py": '''
"""One small network: seconds on a laptop.

A network of one layer is trained
on one fold.
"""

from ..augmentation.flips import flip_patches
from ..augmentation.settings import FlipSettings
from ..data.run import Run
from ..inference.submission import write_submission
from ..methods.finetune import Finetune
from ..models.net import build_net
from ..training.settings import TrainingSettings

# The differences.
SETTINGS = {
    "flips": ("left", "up"),
    "epochs": 3,
}


def parts():
    """The settings that `main` reads, by part."""
    return {"training": TrainingSettings, "flips": FlipSettings}


def main(run: Run):
    """Fit, predict, write."""
    method = Finetune(build_net())
    method.fit(flip_patches(run), run.settings.training.epochs)
    write_submission(method.predict(run))
''',
    "recipes/shared.py": '''
"""A recipe with a shared program."""

from ..methods.course import main, parts

SETTINGS = {"weights": "imagenet"}
''',
    "recipes/search.py": '''
"""A study of the shared program."""

from ..methods.course import main, parts

SETTINGS = {"architecture": "small"}


def space():
    """What is tried."""
    return {
        "network": {
            "small": {"architecture": "small", "epochs": 2},
            "large": {"architecture": "large", "weights": "imagenet"},
        },
        "epochs": (1, 2),
    }
''',
    "recipes/look.py": '''
"""Tables, without a network."""

import csv

from ..training.settings import TrainingSettings

SETTINGS = {}


def parts():
    """The settings that `main` reads, by part."""
    return {"training": TrainingSettings}


def main(run):
    """Write a table."""
    csv.writer(run.output).writerow([run.settings.training.epochs])
''',
    "methods/course.py": '''
"""The program that several recipes share."""

from ..data.run import Run
from ..inference.submission import write_submission
from ..models.net import NETS
from ..models.settings import NetSettings
from ..training.settings import TrainingSettings


def parts():
    """The settings that `main` reads, by part."""
    return {"network": NetSettings, "training": TrainingSettings}


def main(run: Run):
    """Build and write."""
    write_submission(NETS[run.settings.network.architecture]())
''',
    "methods/finetune.py": '''
"""Fine-tuning as a method."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from ..inference.views import average_views
from ..training.loop import run_loop


@dataclasses.dataclass(frozen=True)
class Finetune:
    """A method."""

    network: Callable

    def fit(self, patches: np.ndarray, epochs: int):
        """Fit."""
        run_loop(self.network, patches, epochs, keras.optimizers.Adam())

    def predict(self, patches: np.ndarray) -> np.ndarray:
        """Predict."""
        return average_views(self.network, patches)
''',
    "models/net.py": '''
"""The network."""

import keras
from keras import layers

from .block import add_block
from .settings import NetSettings


def build_net(settings: NetSettings | None = None):
    """A network."""
    inputs = keras.Input((96, 96, 3))
    return keras.Model(inputs, layers.Flatten()(add_block(inputs)))


NETS = {"small": build_net, "large": build_net}
''',
    "models/block.py": '''
"""A block of the network."""

from keras import layers


def add_block(x):
    """Add a block."""
    return layers.Dense(1)(x)
''',
    "models/settings.py": '''
"""Which network."""

import dataclasses

from ..system.settings import Part, setting
from ..training.settings import SIZES


@dataclasses.dataclass(frozen=True)
class NetSettings(Part):
    """A network."""

    architecture: str = setting("small", "the network", ("small", "large"))
    weights: str = setting("none", "first weights: imagenet, none, or a file")
    size: int = setting(max(SIZES), "side in pixels", low=1)
''',
    "augmentation/flips.py": '''
"""Flips."""

import numpy as np

from ..data.run import Run


def flip_patches(run: Run) -> np.ndarray:
    """Flip."""
    return np.flip(run.patches, 1)
''',
    "augmentation/settings.py": '''
"""Which flips."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class FlipSettings(Part):
    """Flips."""

    flips: tuple = setting(
        (), "axes to flip", ("left", "up", "both", "neither"), kind="names"
    )
    share: float = setting(
        0.5,
        "share of the patches that are flipped at random in every epoch of the run",
        low=0,
        high=1,
    )
''',
    "inference/views.py": '''
"""Views of a patch, and their average."""

import numpy as np


def average_views(network, patches: np.ndarray) -> np.ndarray:
    """Average."""
    return network(patches)
''',
    "inference/submission.py": '''
"""The submission."""

import csv
import sys


def write_submission(predictions):
    """Write."""
    csv.writer(sys.stdout).writerows(predictions)
''',
    "training/loop.py": '''
"""The loop."""

from tqdm import tqdm

from ..system.clock import tell


def run_loop(network, patches, epochs, optimizer):
    """Run."""
    for _ in tqdm(range(epochs)):
        network.fit(patches)
        tell("an epoch")
''',
    "training/settings.py": '''
"""How to train."""

import dataclasses

from ..system.settings import Part, setting

SIZES = (96, 128)


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Part):
    """Training."""

    epochs: int = setting(1, "passes over the patches", low=1)
''',
    "data/run.py": '''
"""A run and its folder."""

import dataclasses
import sys
from pathlib import Path

from ..system.settings import Settings, compose


@dataclasses.dataclass
class Run:
    """A run."""

    settings: Settings
    output: object
    patches: object = None


def open_run(name, parts, changes, overrides=None, build_id="", code_id=""):
    """Open."""
    Path(name).is_dir()
    return Run(compose(parts, changes, overrides), sys.stdout)
''',
    "system/clock.py": '''
"""The clock."""

import datetime


def tell(what: str):
    """Tell the time."""
    print(datetime.datetime.now(), what)
''',
}
COUNTER = itertools.count()


def write_package(tmp_path, monkeypatch):
    """Write the small package; Path of its folder, importable by a name of its own."""
    folder = tmp_path / f"small_{next(COUNTER)}"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.lstrip("\n"), "utf-8")
    settings = (PACKAGE / "system" / "settings.py").read_text("utf-8")
    (folder / "system" / "settings.py").write_text(settings, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def bundle(package, name="plain", overrides=None):
    """A page of the small package."""
    return bundle_kernel(name, overrides, package, lambda name: "Not measured yet.")


def append(path, text):
    """Add lines to a source; the number of the first."""
    number = len(path.read_text("utf-8").splitlines()) + 1
    path.write_text(path.read_text("utf-8") + text + "\n", "utf-8")
    return number


def insert(path, text):
    """Put a line below the docstring of a source; its number."""
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([lines[0], text, *lines[1:], ""]), "utf-8")
    return 2
