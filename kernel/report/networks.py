"""The networks of a report's runs: what is known of each, and what its training cost."""

import dataclasses

from ..facts.networks import Network, Stage, load_networks, load_stages
from .diagrams import PATCH, describe_input
from .methods import find_network, gather_settings, list_compared, name_weights
from .reading import ReportRun

ATTENTION = ("midnight", "vit")  # networks without stages


@dataclasses.dataclass(frozen=True)
class Shown:
    """A network of the report.

    Attributes:
        name: its name in networks.csv.
        known: its row there.
        run: the first run of the report that has it.
        settings: the run's settings as far as they concern this network.
    """

    name: str
    known: Network
    run: ReportRun
    settings: dict

    @property
    def picture(self) -> str:
        """The file of its diagram."""
        return f"network_{self.name}.png"

    @property
    def stages(self) -> list[Stage]:
        """Its stages; empty if it has none, or is not the network that this package builds."""
        counted = self.run.record.get("num_parameters") if is_alone(self.run) else None
        if counted not in (None, self.known.num_parameters):
            return []
        return load_stages().get(self.name, [])

    @property
    def crop(self) -> int:
        """Side of the part of the patch that the network gets, in pixels of the patch."""
        return self.settings.get("crop_size", PATCH)

    @property
    def size(self) -> int:
        """Side to which that part is resized, in pixels of the network's input."""
        return self.settings.get("input_size", PATCH) or PATCH

    @property
    def fields(self) -> list[tuple[int, float]]:
        """The stride of each stage, and its receptive field in pixels of the patch."""
        scale = self.crop / self.size
        return [(s.stride, s.receptive_field * scale) for s in self.stages if s.stride]


def is_alone(run: ReportRun) -> bool:
    """Whether a run has one network, whose counts and times are its own."""
    return not run.members and not list_compared(run)


def list_networks(runs: list) -> list[Shown]:
    """The known networks of the runs, each once."""
    networks, found = load_networks(), {}
    for run in runs:
        for name, settings in list_names(run).values():
            if name in networks and name not in found:
                found[name] = Shown(name, networks[name], run, settings)
    return list(found.values())


def list_names(run: ReportRun) -> dict[str, tuple[str, dict]]:
    """The networks of a run, each by its row in the table: its name and its settings."""
    if run.members:
        settings = {name: gather_settings(run.settings, name) for name in run.members}
        return {
            f"{run.recipe}: {member}": (own.get("architecture", member), own)
            for member, own in settings.items()
        }
    if compared := list_compared(run):
        return {label: (own["architecture"], own) for label, own in compared.items()}
    name = find_network(run)
    return {name or run.recipe: (name, run.shared)}


def make_rows(run: ReportRun) -> dict:
    """Rows of the table of networks: one for each network of a run, or for a run of an unknown."""
    rows, networks, alone = {}, load_networks(), is_alone(run)
    for label, (name, settings) in list_names(run).items():
        known = networks.get(name)
        counted = alone or (known and name not in ATTENTION)  # theirs depend on the weights
        counts = [known.num_parameters, known.num_trainable] if known and counted else [None] * 2
        if alone:
            own = (run.record.get("num_parameters"), run.record.get("num_trainable"))
            counts = [count if mine is None else mine for mine, count in zip(own, counts)]
        if counts[0] is None and known is None:
            continue
        texts = ["-" if count is None else f"{count:,}" for count in counts]
        row = dict(zip(("parameters", "trained"), texts))
        if "weights" in settings:
            row["starts from"] = name_weights(settings)
        if "input_size" in settings:
            row["input"] = describe_input(settings.get("crop_size", PATCH), settings["input_size"])
        rows[label] = {**row, **measure_cost(run, label)}
    return rows


def measure_cost(run: ReportRun, label: str) -> dict:
    """What the training of a network cost, as cells of the table; {} if that is unknown.

    Args:
        run: ReportRun.
        label: the network's row in the table, for a study its name in the search space.
    """
    if run.study is not None:
        trials = run.study
        if not is_alone(run):
            chosen = [c for c, choices in run.space.items() if label in choices and c in trials]
            trials = trials[trials[chosen[0]] == label] if chosen else trials[:0]
        if {"seconds", "epochs_trained"} <= set(trials) and trials["epochs_trained"].sum() > 0:
            epoch = trials["seconds"].sum() / trials["epochs_trained"].sum()
            return {"seconds an epoch": f"{epoch:.1f}"}
        return {}
    stage = run.record.get("stages", {}).get("train")
    if not stage or not is_alone(run):
        return {}
    cost = {"training minutes": f"{stage['seconds'] / 60:.1f}"}
    if "images_per_second" in stage:
        cost = {"training images/s": f"{stage['images_per_second']:,.0f}", **cost}
    return cost
