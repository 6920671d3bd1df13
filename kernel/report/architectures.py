"""Section 3 of a report: each network, its input, its code, its cost; then the method."""

import pprint
import re

from ..facts.foundation import read_foundation
from ..facts.networks import Stage
from .appendix import find_page
from .checks import escape
from .diagrams import CENTER, PATCH, describe_input
from .methods import describe_method, describe_several, name_weights
from .networks import ATTENTION, Shown, list_networks, make_rows
from .reading import ReportRun
from .settings_table import tell_settings
from .story import Story


def tell_architectures(story: Story, runs: list) -> None:
    """Section 3."""
    story.text("## 3. Architectures")
    home, networks = runs[0], list_networks(runs)
    rows = {}
    for run in runs:
        for name, row in make_rows(run).items():
            rows[f"{name} in {run.name}" if name in rows else name] = row
    if rows:
        text = pprint.pformat(rows, sort_dicts=False, width=96)
        caption = "The networks as they were trained; rates and times are those of the runs."
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
    for run in runs[1:]:
        if run.settings and (run.oof is not None or run.study is not None):
            text = describe_several(run) if run.members else describe_method(run)
            story.text(f"**{run.label}.** {text}")
    story.slot("architectures")


def tell_network(story: Story, home: ReportRun, network: Shown, told: set) -> None:
    """A network: what speaks for and against it, its input, its stages, its code.

    Args:
        story: Story.
        home: the report's own run, whose folder has the diagrams.
        network: Shown.
        told: set of the modules whose code was shown; this adds to it.
    """
    known = network.known
    parts = [f"{capitalize(known.text)}.", known.about, describe_weights(network)]
    story.text(f"### {network.name}\n\n{' '.join(filter(None, parts))}")
    story.text(describe_view(network))
    if stages := network.stages:
        rows = {name_stage(stage): describe_stage(stage, network) for stage in stages}
        text = pprint.pformat(rows, sort_dicts=False, width=96)
        story.table(
            f"stages of {network.name}",
            f"table = pd.DataFrame({text}).T",
            f"The layers of {network.name} by the stride of their maps; channels are those of the "
            "widest map, receptive fields (theoretical) in pixels of the patch. Normalization, "
            "activation and dropout are not listed; their parameters count."
            f"{describe_gates(stages)}",
        )
        story.figure(
            home,
            network.picture,
            f"The stages of {network.name}. The squares show a patch, its center (dashed) and "
            "the receptive field of the central unit of the stage's last map (filled).",
            f"Block diagram of {network.name}: {len(stages) - 1} stages and the head",
        )
    tell_code(story, network, told)


def describe_gates(stages: list[Stage]) -> str:
    """That receptive fields are those without gates, which see all of a map; "" without gates."""
    if not any("squeeze-and-excitation" in stage.layers for stage in stages):
        return ""
    return " Receptive fields are those without squeeze-and-excitation."


def capitalize(text: str) -> str:
    """A text whose first letter is a capital one."""
    return f"{text[:1].upper()}{text[1:]}"


def describe_weights(network: Shown) -> str:
    """What a network's first weights were learned from; "" where a study varies them."""
    known, weights = network.known, network.settings.get("weights", "")
    if not weights:
        return ""
    if weights == "none":
        return known.random or "It starts from random weights, with nothing from other images."
    if weights == "imagenet":
        return known.imagenet or "It starts from ImageNet weights."
    name = name_weights(network.settings)
    if network.name not in ATTENTION:
        return f"It starts from the weights in {name}."
    models = {text: row for row in read_foundation() for text in (row.name, escape(row.weights))}
    if weights not in models:
        return f"The weights of its transformer come from {name}."
    model = models[weights]
    return (
        f"The weights of its transformer come from {name} ({model.architecture.partition(';')[0]}, "
        f"{model.parameters} parameters), trained without labels on: {model.pretraining}."
    )


def describe_view(network: Shown) -> str:
    """What a network gets of a patch, and how wide its receptive fields are beside the center."""
    given = f"Of a patch, it gets {describe_input(network.crop, network.size)}."
    if network.name in ATTENTION:
        return f"{given} Attention relates all parts from the first layer on."
    counted, fields = network.run.record.get("num_parameters", 0), network.fields
    if not fields:
        return (
            f"The run counted {counted:,} parameters, the network of this package has "
            f"{network.known.num_parameters:,}: its code was another one, so its layers are not "
            "listed."
        )
    wide = [(stride, field) for stride, field in fields if field > CENTER]
    stride, field = (wide or fields[-1:])[0]
    text = (
        f"{given} At stride {stride}, a unit's receptive field is {field:,.0f} pixels wide, on the "
        f"patch's scale (Araujo et al. 2019): {'' if wide else 'not '}wider than the "
        f"{CENTER}-pixel center that decides"
    )
    if stride != fields[-1][0]:
        text += f"; in the last stage it is {fields[-1][1]:,.0f} pixels wide"
    return f"{text}. The effective field is smaller (Luo et al. 2016)."


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
        row["receptive field"] = f"{dict(network.fields)[stage.stride]:,.0f}"
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
