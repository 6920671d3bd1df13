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


@dataclasses.dataclass(frozen=True)
class ReuseMachine(Part):
    """Time, processes and the GPU; networks keep the precision that they were trained in."""

    precision = "auto"  # of MachineSettings
    max_hours: float = setting(11.0, "hours; a network starts if it can end", low=0.05, high=1000)
    num_workers: int = setting(0, "networks at a time; 0: one per GPU", low=0, high=64)
    require_gpu: bool = setting(True, "on Kaggle, stop without a GPU")


@dataclasses.dataclass(frozen=True)
class AllPatches(Part):
    """All patches, in no folds."""

    num_images, slide_map, seed = 0, "none", 0  # of DataSettings; nothing to choose here
    member_files = f"{'[0-9a-f]' * 10}_*fold*_seed*.npz"  # to resume; not the networks of the runs
    verify_ids: bool = setting(False, "check that every id is the sha1 of its pixels")


def list_ids(networks: str) -> list:
    """The build ids in a setting `networks`."""
    return [word.strip() for word in networks.split(",")] if networks.strip() else []
