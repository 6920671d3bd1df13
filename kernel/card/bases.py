"""What the networks of a run started from, and the license of that."""

import dataclasses

from pcam_kaggle.models.transformer_settings import find_address

from ..facts.foundation import read_foundation
from ..facts.networks import load_networks
from ..report.checks import escape
from ..report.methods import gather_settings, name_weights

APPLICATIONS = "https://keras.io/api/applications/"


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


def find_bases(settings: dict, architectures: list[str]) -> list[Base]:
    """The weights that a run's networks start from, each once.

    Args:
        settings: of run.json, as they are there.
        architectures: the methods of a run of several, or the network of a run of one.
    """
    if "members" in settings:
        own = [(name, gather_settings(settings, name)) for name in architectures]
    else:
        own = [(name, settings) for name in architectures]
    found = [find_base(one.get("architecture", name), one) for name, one in own]
    return list(dict.fromkeys(found))


def find_base(architecture: str, settings: dict) -> Base:
    """The weights that one network starts from."""
    weights = settings.get("weights", "none")
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
