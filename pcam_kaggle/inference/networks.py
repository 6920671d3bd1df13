"""Trained networks, kept as files."""

import json
import zipfile
from pathlib import Path

from ..system.files import write_beside

FACTS = "pcam.json"  # in Keras's own archive, beside the architecture and the weights


def save_network(path: Path, network: object, facts: dict) -> None:
    """Write a network in Keras's format, and the facts about it as JSON in the same file.

    `keras.saving.load_model` reads it; our layers are found by their registered names.

    Args:
        path: the file, .keras.
        network: its layers are Keras's and those of models/.
        facts: what `predict` needs to know, and which network it is.

    Raises:
        OSError: as `write_beside`.
    """
    path.parent.mkdir(exist_ok=True)
    with write_beside(path) as partial:
        network.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(FACTS, json.dumps({"schema": 1, **facts}, indent=2))
