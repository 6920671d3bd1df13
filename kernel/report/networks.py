"""Section 3 of a report: each network, what it sees, its code, its cost; then the method."""

import dataclasses
import pprint
import re

from ..facts.networks import Network, Stage, load_networks, load_stages
from .appendix import find_page
from .diagrams import CENTER, PATCH
from .methods import (
    describe_method,
    describe_several,
    find_network,
    gather_settings,
    list_compared,
    name_weights,
    tell_settings,
)
from .reading import ReportRun
from .story import Story

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
    def scale(self) -> float:
        """Pixels of the patch to a pixel of the network's input."""
        crop, size = (self.settings.get(name, PATCH) for name in ("crop_size", "input_size"))
        return crop / size if size else 1.0


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
        own = {name: value for name, value in run.settings.items() if name != "weights"}
        return {name: (name, own) for name in compared}  # each starts from weights of its own
    name = find_network(run)
    return {name or run.recipe: (name, run.settings)}


def tell_architectures(story: Story, runs: list) -> None:
    """Section 3."""
    story.text("## 3. Architectures")
    home, networks = runs[0], list_networks(runs)
    rows = {}
    for run in runs:
        for name, row in make_rows(run).items():
            rows.setdefault(name, row)  # that of the first run that has it
    if rows:
        text = pprint.pformat(rows, sort_dicts=False, width=96)
        caption = (
            "The networks. A rate or a time is that of the training in the run of this report, on "
            "its device."
        )
        story.table("networks", f"table = pd.DataFrame({text}).T", caption)
    told = set()
    for network in networks:
        tell_network(story, home, network, told)
    story.text("### The method")
    if home.settings:
        story.text(describe_several(home) if home.members else describe_method(home))
        tell_settings(story, home)
    elif "method" in home.record:
        members = home.record.get("members", [])
        story.text(
            f"A blend ({home.record['method']}) of {len(members)} runs: {', '.join(members)}."
        )
    story.slot("architectures")


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
        row = {"what it is": known.text if known else "-"}
        row["parameters"], row["trained"] = (
            "-" if count is None else f"{count:,}" for count in counts
        )
        if "weights" in settings:
            row["starts from"] = name_weights(settings)
        if "input_size" in settings:
            row["input"] = f"{settings['input_size']} pixels"
        rows[label] = {**row, **measure_cost(run, name)}
    return rows


def measure_cost(run: ReportRun, name: str) -> dict:
    """What the training of a network cost, as cells of the table; {} if that is unknown."""
    if run.study is not None:
        trials = run.study
        if not is_alone(run):
            chosen = [trials[c] == name for c in ("network", "architecture") if c in trials]
            trials = trials[chosen[0]] if chosen else trials[:0]
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


def tell_network(story: Story, home: ReportRun, network: Shown, told: set) -> None:
    """A network: what speaks for and against it, what it sees, its stages, its code.

    Args:
        story: Story.
        home: the report's own run, whose folder has the diagrams.
        network: Shown.
        told: set of the modules whose code was shown; this adds to it.
    """
    known = network.known
    story.text(f"### {network.name}\n\n{capitalize(known.text)}. {known.about}")
    story.text(describe_view(network))
    if stages := network.stages:
        rows = {name_stage(stage): describe_stage(stage, network) for stage in stages}
        text = pprint.pformat(rows, sort_dicts=False, width=96)
        story.table(
            f"stages of {network.name}",
            f"table = pd.DataFrame({text}).T",
            f"The layers of {network.name} by the stride of their maps; channels are those of the "
            "widest map. Normalization, activation and dropout are not listed; their parameters "
            "count.",
        )
        story.figure(
            home,
            network.picture,
            f"The stages of {network.name}. The squares show a patch, its center (dashed) and how "
            "much of it a place of the stage's last map sees (filled).",
            f"Block diagram of {network.name}: {len(stages) - 1} stages and the head",
        )
    tell_code(story, network, told)


def capitalize(text: str) -> str:
    """A text whose first letter is a capital one."""
    return f"{text[:1].upper()}{text[1:]}"


def describe_view(network: Shown) -> str:
    """How much of a patch a network sees, compared with the center that decides."""
    if network.name in ATTENTION:
        return (
            "Attention relates all parts of the input, so that its first layer already sees the "
            f"{CENTER} pixels of the center and all that surrounds it."
        )
    counted = network.run.record.get("num_parameters", 0)
    stages = [stage for stage in network.stages if stage.stride]
    if not stages:
        return (
            f"The run counted {counted:,} parameters, the network of this package has "
            f"{network.known.num_parameters:,}: its code was another one, so its layers are not "
            "listed."
        )
    fields = [(stage.stride, stage.receptive_field * network.scale) for stage in stages]
    last = fields[-1][1]
    covering = [(stride, field) for stride, field in fields if field >= CENTER]
    if not covering:
        text = (
            f"A place of its last map sees {last:.0f} pixels of the patch, less than the {CENTER}"
        )
        return f"{text} of the center that decides (receptive field; Araujo et al. 2019)."
    stride, field = covering[0]
    text = (
        f"The center that decides is {CENTER} pixels wide. A place of a map sees as much from the "
        f"stage of stride {stride} on (receptive field {field:.0f} pixels of the patch; Araujo et "
        "al. 2019)"
    )
    if len(fields) > 1 and stride != fields[-1][0]:
        more = "more" if last > PATCH else "less" if last < PATCH else "as many"
        compared = "as the patch has" if last == PATCH else f"than the patch's {PATCH}"
        text += f", and in the last stage {last:,.0f} pixels, {more} {compared}"
    return f"{text}."


def name_stage(stage: Stage) -> str:
    """The name of a stage in the table and the diagram."""
    return f"stride {stage.stride}" if stage.stride else "head"


def describe_stage(stage: Stage, network: Shown) -> dict:
    """The cells of a stage in the table."""
    row = {"layers": stage.layers, "map": "-", "receptive field": "-"}
    if stage.stride:
        is_known = network.settings.get("input_size") == PATCH  # the sides in stages.csv are of it
        side = f"{stage.side}x{stage.side}, " if is_known else ""
        row["map"] = f"{side}{stage.channels:,} channels"
        row["receptive field"] = f"{stage.receptive_field * network.scale:,.0f} pixels"
    return {**row, "parameters": f"{stage.num_parameters:,}"}


def tell_code(story: Story, network: Shown, told: set) -> None:
    """The modules of a network from the page that ran, as far as they were not shown before."""
    page = find_page(network.run)
    cells = dict(re.findall(r"^# %% (models/\w+\.py)\n(.*?)(?=^# %% |\Z)", page, re.S | re.M))
    found = [name for name in network.known.modules if name in cells]
    if not found:
        story.text(
            f"The page that ran is not in the folder of {network.run.label}, so the code of this "
            "network is not shown."
        )
    for name in found:
        if name in told:
            continue
        told.add(name)
        code = cells[name].strip()
        ticks = max((len(run) for run in re.findall("`+", code)), default=0)
        fence = "`" * max(3, ticks + 1)
        story.text(f"`{name}`, as it ran:\n\n{fence}python\n{code}\n{fence}")
