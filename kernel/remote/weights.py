"""Pretrained weights as a private Kaggle dataset, for kernels without internet."""

import os
from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.models.course_settings import VGG16_FILE
from pcam_kaggle.models.pretrained_settings import PRETRAINED
from pcam_kaggle.system.files import read_json, short_hash, write_json
from pcam_kaggle.system.settings import unknown

from ..bundle.recipes import Recipe, list_networks
from ..folders import RUNS
from ..locks import locked
from .client import Client
from .datasets import publish_files

REGISTRY = "datasets.json"  # in runs/weights/: service -> weights file -> dataset
PRETRAINED_FILES = {**PRETRAINED, "vgg16": VGG16_FILE}  # network: Keras's name of the file
HDF5 = b"\x89HDF\r\n\x1a\n"


def publish_weights(
    client: Client,
    architecture: str,
    path: Path | None = None,
    runs: Path = RUNS,
    say: Callable[[str], None] = print,
) -> str:
    """Make a private dataset of a weights file, unless the same file is there.

    Later pushes of that architecture list the dataset among their inputs, and need no
    internet.

    Args:
        client: Client.
        architecture: str, one with pretrained weights.
        path: Path of the file; None for the one in Keras's cache.
        runs: Path of the folder of runs, where the dataset is recorded.
        say: function that prints a line.

    Returns:
        str, the dataset, as owner/slug.

    Raises:
        ValueError: an architecture without weights, no such file, no HDF5 file.
        KaggleError: what Kaggle refused.
    """
    path = find_weights(architecture, path)
    digest = short_hash(path.read_bytes())[:8]
    title = f"PCam {architecture.replace('_', ' ')} weights {digest}"
    slug = title.lower().replace(" ", "-")
    with locked(runs, slug, say):
        dataset = publish_files(client, [path], slug, title, say)
    with locked(runs, REGISTRY, say):
        registry = read_registry(runs)
        known = registry.get(client.service, {})
        registry[client.service] = {**known, path.name: dataset}
        (runs / "weights").mkdir(parents=True, exist_ok=True)
        write_json(runs / "weights" / REGISTRY, registry)
    return dataset


def read_registry(runs: Path) -> dict[str, dict[str, str]]:
    """The datasets that were made: service, then weights file, to dataset."""
    path = runs / "weights" / REGISTRY
    return read_json(path) if path.exists() else {}


def find_datasets(
    recipe: Recipe, overrides: dict | None, service: str, runs: Path = RUNS
) -> list[str]:
    """The datasets that a run takes its weights from, in most cases none or one.

    Args:
        recipe: Recipe.
        overrides: dict of typed settings, or None.
        service: str, "Kaggle" or "sandbox".
        runs: Path of the folder of runs, where datasets are recorded.

    Raises:
        ValueError: a file of this machine, which no dataset holds.
    """
    known = read_registry(runs).get(service, {})
    found = [
        find_dataset(architecture, weights, known)
        for architecture, weights in list_networks(recipe, overrides)
    ]
    return list(dict.fromkeys(dataset for dataset in found if dataset))


def find_dataset(architecture: str, weights: str, known: dict[str, str]) -> str | None:
    """The dataset that holds the weights of one network, or None."""
    name = Path(weights).name
    if weights == "imagenet":
        name = PRETRAINED_FILES.get(architecture)
    dataset = known.get(name)
    if dataset is None and Path(weights).is_file():
        raise ValueError(
            f"weights: {weights} is a file of this machine, which the kernel does not "
            f"see. Try: python build.py weights {architecture} {weights}"
        )
    if Path(weights).is_dir():
        raise ValueError(
            f"weights: {weights} is a folder of this machine, which the kernel does "
            "not see. Try: make a Kaggle model or dataset of it, list that in "
            "kernel-metadata.json (model_sources or dataset_sources), and give the "
            "folder's name from another place; or use weights=hf://OWNER/NAME"
        )
    return dataset


def find_weights(architecture: str, path: Path | None) -> Path:
    """The weights file named, else the one in Keras's cache.

    Raises:
        ValueError: an architecture without weights, no such file, no HDF5 file.
    """
    if architecture not in PRETRAINED_FILES:
        raise ValueError(unknown("architecture with weights", architecture, PRETRAINED_FILES))
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = path or home / "models" / PRETRAINED_FILES[architecture]
    if not path.is_file():
        raise ValueError(
            f"weights: expected a file of {architecture}'s weights. Received: {path}, "
            "which is not there. Keras leaves one there when it downloads them. Try: "
            f"python build.py weights {architecture} FILE"
        )
    with open(path, "rb") as file:
        if file.read(len(HDF5)) != HDF5:
            raise ValueError(f"weights: expected an HDF5 file. Received: {path}")
    return path
