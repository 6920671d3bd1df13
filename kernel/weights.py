"""Pretrained weights as a private Kaggle dataset, for kernels without internet."""

import hashlib
import os
import time
from pathlib import Path

from pcam_kaggle.config import ARCHITECTURES, unknown
from pcam_kaggle.recipes import list_variants

from .client import KaggleError, LostAnswer
from .runs import RUNS, locked, read_record, write_record

REGISTRY = "datasets.json"  # in runs/weights/: service -> weights file -> dataset
READY_SECONDS = 900  # how long Kaggle may take to unpack a dataset
HDF5 = b"\x89HDF\r\n\x1a\n"


def publish_weights(client, architecture, path=None, runs=RUNS, say=print):
    """Make a private dataset of a weights file, unless this very file is there.

    Later pushes of that architecture list the dataset among their inputs, and need no
    internet.

    Args:
        client: Client.
        architecture: str, one with pretrained weights.
        path: Path of the file; None for the one in Keras's cache.
        runs: Path of the folder of runs, where the dataset is noted down.
        say: function that prints a line.

    Returns:
        str, the dataset, as owner/slug.

    Raises:
        ValueError: an architecture without weights, no such file, no HDF5 file.
        KaggleError: what Kaggle refused.
    """
    path = find_weights(architecture, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    title = f"PCam {architecture.replace('_', ' ')} weights {digest}"
    slug = title.lower().replace(" ", "-")
    dataset = f"{client.username}/{slug}"
    with locked(runs, slug, say):
        if fetch_status(client, slug) is None:
            say(f"uploading {path} ({path.stat().st_size / 1e6:.0f} MB)")
            create_dataset(client, path, slug, title)
            wait_until_ready(client, slug)
    with locked(runs, REGISTRY, say):
        registry = read_record(runs / "weights", REGISTRY)
        registry.setdefault(client.service, {})[path.name] = dataset
        write_record(runs / "weights", REGISTRY, registry)
    return dataset


def find_datasets(config, service, runs=RUNS):
    """The datasets that a run of these settings takes its weights from, maybe none.

    Raises:
        ValueError: a file of this machine, which no dataset holds.
    """
    variants = list_variants(config)
    found = [find_dataset(variant, service, runs) for variant in variants]
    return list(dict.fromkeys(dataset for dataset in found if dataset))


def find_dataset(config, service, runs):
    """The dataset that holds the weights of one network, or None."""
    name = Path(config.weights).name
    if config.weights == "imagenet":
        name = ARCHITECTURES[config.architecture].pretrained_file
    dataset = read_record(runs / "weights", REGISTRY).get(service, {}).get(name)
    if dataset is None and Path(config.weights).is_file():
        raise ValueError(
            f"weights: {config.weights} is a file of this machine, which the kernel "
            f"does not see. First: python build.py weights {config.architecture} "
            f"{config.weights}"
        )
    if Path(config.weights).is_dir():
        raise ValueError(
            f"weights: {config.weights} is a folder of this machine, which the kernel "
            "does not see. Make a Kaggle model or dataset of it, list that in "
            "kernel-metadata.json (model_sources or dataset_sources), and give the "
            "folder's name from another place; or use weights=hf://OWNER/NAME"
        )
    return dataset


def find_weights(architecture, path):
    """The weights file given, else the one in Keras's cache."""
    known = {
        n: a.pretrained_file for n, a in ARCHITECTURES.items() if a.pretrained_file
    }
    if architecture not in known:
        raise ValueError(unknown("architecture with weights", architecture, known))
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = path or home / "models" / known[architecture]
    if not path.is_file():
        raise ValueError(
            f"weights: expected a file of {architecture}'s weights. Received: {path}, "
            "which is not there. Keras leaves one there when it downloads them; or "
            f"name one: python build.py weights {architecture} FILE"
        )
    with open(path, "rb") as file:
        if file.read(len(HDF5)) != HDF5:
            raise ValueError(f"weights: expected an HDF5 file. Received: {path}")
    return path


def create_dataset(client, path, slug, title):
    """Upload the file and make the dataset of it; a lost answer is looked up."""
    token = client.upload(
        path, "blobs", "start_blob_upload", type="DATASET", name=path.name
    )
    try:
        answer = client.call(
            "datasets",
            "create_dataset",
            owner_slug=client.username,
            slug=slug,
            title=title,
            license_name="other",
            is_private=True,
            files=[{"token": token}],
        )
    except LostAnswer:
        return  # the wait for it tells
    if answer.error:
        raise KaggleError(f"Kaggle refused the dataset: {answer.error}")


def wait_until_ready(client, slug):
    """Wait until Kaggle has unpacked the dataset."""
    until = time.monotonic() + READY_SECONDS
    while (status := fetch_status(client, slug)) != "READY":
        if status == "FAILED" or time.monotonic() > until:
            raise KaggleError(
                f"the dataset {client.username}/{slug} is not ready: "
                f"{status or 'not there'}. Look at it on kaggle.com/datasets; the same "
                "command goes on from here."
            )
        time.sleep(5 * client.pace)


def fetch_status(client, slug):
    """The name of a dataset's status, or None where there is no such dataset."""
    try:
        answer = client.call(
            "datasets",
            "get_dataset_status",
            owner_slug=client.username,
            dataset_slug=slug,
        )
    except KaggleError as error:
        if error.status in (403, 404):
            return None
        raise
    return answer.status.name
