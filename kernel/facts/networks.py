"""What is known about each network: its family, its numbers of parameters, a sentence."""

import csv
import dataclasses
import functools
from pathlib import Path

NETWORKS = Path(__file__).with_name("networks.csv")


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of networks.csv; tests compare the counts with the built networks.

    Attributes:
        name: the setting `architecture`, or the name of a recipe's only network.
        family: "pretrained", "scratch", "course", or the recipe that has it.
        num_parameters: of the whole network.
        num_trainable: those that are trained.
        text: what it is.
    """

    name: str
    family: str
    num_parameters: int
    num_trainable: int
    text: str


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
            )
            for row in csv.DictReader(file)
        }
