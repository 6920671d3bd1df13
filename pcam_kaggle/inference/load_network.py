"""Kept networks, checked and read again."""

import importlib.util
import json
import zipfile
from pathlib import Path

import keras

from ..models.dihedral import GroupAveragePooling2D, GroupConv2D, GroupPooling, LiftingConv2D
from ..system.device import list_gpus
from .networks import FACTS

FACTS_SCHEMA = 1  # of the facts


def load_network(path: Path, fingerprint: str | None = None) -> tuple:
    """Load what `save_network` wrote, in Keras's safe mode, without pickles.

    Without a GPU, layers that were trained in float16 or bfloat16 compute in float32: a CPU is
    slow in either, and the weights are float32 already.

    Args:
        path: the network's file.
        fingerprint: that of the run it has to be of, or None for any.

    Returns:
        The keras.Model and the dict of facts.

    Raises:
        ImportError: it has layers of keras-hub, which is not installed.
        ValueError: there is no such file, or it is damaged, not ours or of another run; names it.
    """
    facts = read_facts(path, fingerprint)
    with zipfile.ZipFile(path) as archive:
        needs_hub = b'"keras_hub' in archive.read("config.json")
    if needs_hub and not importlib.util.find_spec("keras_hub"):
        raise ImportError(
            f"{path} needs keras-hub, whose layers it has. "
            'Try: python -m pip install -e ".[foundation]"'
        )
    try:
        # By name as well: a worker of a page does not define them, which would register them.
        layers = (GroupAveragePooling2D, GroupConv2D, GroupPooling, LiftingConv2D)
        known = {f"pcam_kaggle>{layer.__name__}": layer for layer in layers}
        network = keras.saving.load_model(path, custom_objects=known, compile=False)
    except Exception as error:  # a damaged file raises errors of many classes
        raise ValueError(
            f"{path} cannot be loaded. Expected: a network of this version of pcam_kaggle and "
            f"Keras {keras.__version__} or older. Received: {first_line(error)}. Try: the version "
            "that trained it"
        ) from error
    if not list_gpus():
        for layer in list_layers(network):
            if layer.compute_dtype in ("float16", "bfloat16"):
                layer.dtype_policy = "float32"
    return network, facts


def read_facts(path: Path, fingerprint: str | None = None) -> dict:
    """Check every byte of a kept network and read the facts about it.

    Args:
        path, fingerprint: as for `load_network`.

    Raises:
        ValueError: as `load_network`.
    """
    if not path.is_file():
        raise ValueError(
            f"{path} is not there. Expected: a network that a run kept. "
            "Try: python build.py output, which fetches it"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            found = FACTS in archive.namelist()
            facts = json.loads(archive.read(FACTS)) if found and not damaged else {}
    except Exception as error:  # as above
        damaged, facts = first_line(error), {}
    if damaged:
        raise ValueError(
            f"{path} is damaged. Expected: a network that a run kept. Received: {damaged}. "
            "Try: delete it and fetch it again (python build.py output)"
        )
    if not isinstance(facts, dict) or facts.get("schema") != FACTS_SCHEMA:
        raise ValueError(
            f"{path} is not a network that this version kept. Expected: {FACTS} of schema "
            f"{FACTS_SCHEMA} in it. Received: {'another' if facts else 'none'}. Try: name a run's "
            "folder"
        )
    if fingerprint and facts["fingerprint"] != fingerprint:
        raise ValueError(
            f"{path} is of another run. Expected: fingerprint {fingerprint}, as in run.json. "
            f"Received: {facts['fingerprint']}. Try: fetch the output again"
        )
    return facts


def list_layers(network: keras.Model) -> list:
    """List the network, its layers, and those within them."""
    return list(network._flatten_layers())


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
