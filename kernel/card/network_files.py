"""The networks that a run kept: their files, and the facts that these hold."""

import dataclasses
import json
import zipfile
from pathlib import Path

from pcam_kaggle.inference.networks import FACTS

CONFIG = "config.json"  # in the archive of a network, beside FACTS


@dataclasses.dataclass(frozen=True)
class NetworkFile:
    """A network that a run kept.

    Attributes:
        path: its file.
        size: bytes.
        is_head: whether it takes the features of a frozen transformer, not pixels.
        needs: the package besides Keras that has its layers, "" for none.
    """

    path: Path
    size: int
    is_head: bool
    needs: str


def read_network_file(path: Path, fingerprint: str | None) -> NetworkFile:
    """What a network's file says about it, without loading the network.

    Args:
        path: the file.
        fingerprint: of its run, as in run.json.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or not one that this run kept.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            facts, config = json.loads(archive.read(FACTS)), archive.read(CONFIG)
        if facts["fingerprint"] != fingerprint:
            raise ValueError(f"one of another run, fingerprint {facts['fingerprint']}")
        is_head = bool(facts["backbone"])
        needs = "pcam_kaggle" if is_head or b'"pcam_kaggle>' in config else ""
        needs = needs or "keras_hub" * (b'"keras_hub' in config)
        return NetworkFile(path, path.stat().st_size, is_head, needs)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a network that this run kept, with {FACTS}. Received: {error}. "
            f"Try: delete it; then python build.py output {path.parent.parent.name}"
        ) from error
