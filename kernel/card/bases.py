"""What the networks of a run started from, and the license of that."""

import dataclasses
import re
from pathlib import Path

from pcam_kaggle.models.transformer_settings import find_address

from ..bundle.recipes import compose_settings, read_recipe
from ..facts.foundation import read_foundation
from ..facts.networks import load_networks
from ..records import PushRecord, read_record, read_result
from ..report.checks import escape
from ..report.methods import gather_settings, name_weights
from ..runs import find_folder

APPLICATIONS = "https://keras.io/api/applications/"
LICENSES = {"": "MIT", "MIT": "MIT", "Apache-2.0": "Apache 2.0"}  # Kaggle's, by kernel/facts


@dataclasses.dataclass(frozen=True)
class Base:
    """The weights that a network starts from.

    Attributes:
        text: what they are, and their license as far as it is known.
        license: its name in kernel/facts, "" for random weights, None if it is not known.
        address: of the model, "" if there is none.
    """

    text: str
    license: str | None
    address: str = ""


def find_bases(settings: dict, architectures: list[str], runs: Path) -> list[Base]:
    """The weights that a run's networks start from, each once.

    Args:
        settings: of run.json, as they are there.
        architectures: the methods of a run of several, or the network of a run of one.
        runs: Path of the folder of runs, in which the first stage of a second one is found.
    """
    if "members" in settings:
        own = [(name, gather_settings(settings, name)) for name in architectures]
    else:
        own = [(name, settings) for name in architectures]
    found = [find_base(one.get("architecture", name), one, runs) for name, one in own]
    return list(dict.fromkeys(found))


def find_base(architecture: str, settings: dict, runs: Path, later: tuple = ()) -> Base:
    """The weights that one network starts from, back to its first stage.

    Args:
        architecture: the network's name.
        settings: of its run.
        runs: as for `find_bases`.
        later: the builds of later stages.
    """
    weights = settings.get("weights", "none")
    if re.fullmatch("[0-9a-f]{10}", weights):
        first = {} if weights in later else find_settings(weights, runs)
        stage = f"the networks of build {weights}"
        if not first:
            text = f"{stage}, whose run is not here: origin and license are not recorded"
            return Base(text, None)
        base = find_base(architecture, first, runs, (*later, weights))
        return dataclasses.replace(base, text=f"{stage}, which started from {base.text}")
    if weights == "none":
        return Base("random weights: nothing was inherited", "")
    if weights == "imagenet":
        known = load_networks().get(architecture)
        name = known.text if known else escape(architecture)
        return Base(
            f"the ImageNet weights that Keras provides for {name}: their license is not recorded "
            f"here, see [Keras Applications]({APPLICATIONS}) and the terms of ImageNet",
            None,
        )
    for row in read_foundation():
        if find_address(weights) == row.weights:
            place = row.weights.removeprefix("hf://")
            address = f"https://huggingface.co/{place}"
            text = f"[{place}]({address}), pretrained on {row.pretraining}: {row.license}"
            return Base(text, row.license, address)
    name = escape(name_weights(settings))
    return Base(f"{name}: origin and license are not recorded here", None)


def find_settings(build_id: str, runs: Path) -> dict:
    """All settings of a build's run; {} if it is not among the runs, or of another version."""
    try:
        folder = find_folder(build_id, runs)
        result, push = read_result(folder), read_record(folder, PushRecord)
        if result.get("build_id") == build_id:
            return result["settings"] or {}
        is_pushed = push is not None and push.build_id == build_id  # its output is not here
        return compose_settings(read_recipe(push.recipe), push.settings).flat() if is_pushed else {}
    except (OSError, ValueError):
        return {}


def find_license(bases: list[Base]) -> str:
    """Kaggle's name of the one license of all weights; "", which the client refuses, else."""
    found = {LICENSES.get(base.license, "") for base in bases}
    return found.pop() if len(found) == 1 else ""


def describe_licenses(bases: list[Base]) -> str:
    """The licenses of all weights, where `find_license` has no name."""
    names = {LICENSES.get(base.license, base.license) or "not known" for base in bases}
    if len(names) > 1:
        return f"several ({', '.join(sorted(names))})"
    (name,) = names
    return name if name == "not known" else f"{name}, which Kaggle has no name for"
