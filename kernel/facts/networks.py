"""What is known about each network: its family, its numbers of parameters, its stages."""

import csv
import dataclasses
import functools
from pathlib import Path

NETWORKS = Path(__file__).with_name("networks.csv")
STAGES = Path(__file__).with_name("stages.csv")


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of networks.csv; tests compare the counts with the built networks.

    Attributes:
        name: the setting `architecture`, or the name of a recipe's only network.
        family: "pretrained", "scratch", "course", or the recipe that has it.
        num_parameters: of the whole network.
        num_trainable: those that are trained.
        text: what it is.
        modules: tuple of the modules on a page that build it, such as "models/small.py".
        about: its strengths and weaknesses with any weights, in two to four sentences.
        imagenet: what ImageNet weights give it, "" if that is nothing special.
        random: the same of random weights.
    """

    name: str
    family: str
    num_parameters: int
    num_trainable: int
    text: str
    modules: tuple
    about: str
    imagenet: str
    random: str


@dataclasses.dataclass(frozen=True)
class Stage:
    """A row of stages.csv: the layers of a network whose maps have one stride, or its head.

    tests/fixtures/make_stages.py makes the table from the built networks.

    Attributes:
        network: the network's name.
        stride: pixels of the network's input from one place of a map to the next; 0 for the head.
        side: of the map at an input of 96 pixels, 0 for the head.
        channels: of the widest map.
        layers: how many of each kind, as text.
        num_parameters: of all its layers.
        receptive_field: side, in pixels of the network's input, of what a place of its last map
            sees; that of the largest path, without squeeze-and-excitation; 0 for the head.
    """

    network: str
    stride: int
    side: int
    channels: int
    layers: str
    num_parameters: int
    receptive_field: int


@functools.cache
def load_networks() -> dict[str, Network]:
    """The networks by name, in the order of the file."""
    with open(NETWORKS, encoding="utf-8", newline="") as file:
        return {
            row["network"]: Network(
                row["network"],
                row["family"],
                int(row["parameters"]),
                int(row["trainable"]),
                row["text"],
                tuple(row["modules"].split()),
                row["about"],
                row["imagenet"],
                row["random"],
            )
            for row in csv.DictReader(file)
        }


@functools.cache
def load_stages() -> dict[str, list[Stage]]:
    """The stages of the convolutional networks by name; transformers have none."""
    stages = {}
    with open(STAGES, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            numbers = ("stride", "side", "channels", "parameters", "receptive_field")
            stride, side, channels, parameters, field = (int(row[name] or 0) for name in numbers)
            stage = Stage(row["network"], stride, side, channels, row["layers"], parameters, field)
            stages.setdefault(row["network"], []).append(stage)
    return stages
