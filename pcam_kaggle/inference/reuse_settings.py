"""Settings of recipes that use the networks of finished runs."""

import dataclasses

from ..system.settings import Part, setting


@dataclasses.dataclass(frozen=True)
class KeptSettings(Part):
    """The finished runs whose networks are used."""

    networks: str = setting("", "build ids of finished runs among the inputs, with commas between")

    def check(self):
        ids = list_ids(self.networks)
        if self.networks and not (all(ids) and len(set(ids)) == len(ids)):
            raise ValueError(
                "networks: expected build ids with commas between, each once. "
                f"Received: networks={self.networks!r}"
            )


@dataclasses.dataclass(frozen=True)
class FrozenSettings(KeptSettings):
    """The finished runs, and the frozen model on whose features their heads were trained."""

    weights: str = setting("none", "frozen model, as in recipe midnight; none: the one of the run")


@dataclasses.dataclass(frozen=True)
class InferSettings(FrozenSettings):
    """The finished runs, their views and what is submitted."""

    tta: str = setting("run", "test-time views", ("run", "none", "flip", "dihedral"))
    labels: str = setting("probability", "hard: 0 or 1, which costs AUC", ("probability", "hard"))


def list_ids(networks: str) -> list:
    """The build ids in a setting `networks`."""
    return [word.strip() for word in networks.split(",")] if networks.strip() else []
