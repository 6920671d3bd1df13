"""Kept networks, checked and read again."""

import importlib.util
import zipfile
from pathlib import Path

import keras

from ..models.dihedral import GroupAveragePooling2D, GroupConv2D, GroupPooling, LiftingConv2D
from ..system.device import list_gpus
from ..system.files import DISK_FULL
from .kept_runs import first_line, read_facts


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
        OSError: the disk is full.
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
        if getattr(error, "errno", None) in DISK_FULL:  # Keras unpacks large weights
            raise
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


def list_layers(network: keras.Model) -> list:
    """List the network, its layers, and those within them."""
    return list(network._flatten_layers())
