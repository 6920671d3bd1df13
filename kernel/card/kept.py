"""The networks that a run kept: their files, and the facts that these hold."""

import dataclasses
import fnmatch
import json
import zipfile
from pathlib import Path

from pcam_kaggle.inference.kept_runs import NETWORKS
from pcam_kaggle.inference.networks import FACTS

from ..records import read_result

CONFIG = "config.json"  # in the archive of a network, beside FACTS


@dataclasses.dataclass(frozen=True)
class Kept:
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


def list_kept(run: Path) -> list[Path]:
    """The files of a run's networks, as run.json lists them; [] if it lists none."""
    listed = read_result(run).get("manifest") or {}
    return [run / name for name in sorted(fnmatch.filter(listed, NETWORKS))]


def read_kept(path: Path, fingerprint: str | None) -> Kept:
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
        return Kept(path, path.stat().st_size, is_head, needs)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a network that this run kept, with {FACTS}. Received: {error}. "
            f"Try: delete it; then python build.py output {path.parent.parent.name}"
        ) from error
