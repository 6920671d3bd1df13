"""Section 3 of a report: the networks, the method and the settings."""

import json
import pathlib

from pcam_kaggle.system.settings import name_settings

from ..bundle.recipes import RENAMED, RENAMED_NETWORKS, read_recipe
from ..facts.networks import load_networks
from .reading import ReportRun
from .story import Story


def tell_architectures(story: Story, runs: list) -> None:
    """Section 3."""
    story.text("## 3. Architectures")
    rows = {}
    for run in runs:
        if "input_size" in run.settings:
            rows.setdefault(find_network(run), make_network_row(run))
    if rows:
        text = json.dumps(rows, indent=4)
        story.table("networks", f"pd.DataFrame({text}).T", "The networks.")
    home = runs[0]
    if home.settings:
        story.text(describe_method(find_network(home), home.settings))
        tell_settings(story, home)
    else:
        members = home.record.get("members", [])
        story.text(f"A blend of {len(members)} runs: {', '.join(members)}.")
    story.slot("architectures")


def find_network(run: ReportRun) -> str:
    """The name of a run's network, in today's spelling."""
    name = run.record.get("network") or run.settings.get("architecture", run.recipe)
    return RENAMED_NETWORKS.get(name, name)


def make_network_row(run: ReportRun) -> dict:
    """A row of the table of networks."""
    name = find_network(run)
    known = load_networks().get(name)
    counts = {
        "parameters": run.record.get("num_parameters", known and known.num_parameters),
        "trained": run.record.get("num_trainable", known and known.num_trainable),
    }
    return {
        "what it is": known.text if known else "-",
        **{text: "-" if count is None else f"{count:,}" for text, count in counts.items()},
        "starts from": name_weights(run.settings),
        "input": f"{run.settings['input_size']} pixels",
    }


def name_weights(settings: dict) -> str:
    """The first weights: "random weights", "ImageNet weights" or a file's name."""
    known = {"none": "random weights", "imagenet": "ImageNet weights"}
    weights = settings.get("weights", "none")
    return known.get(weights, pathlib.PureWindowsPath(weights).name)


def describe_method(network: str, settings: dict) -> str:
    """What a run with these settings does, in a paragraph.

    Says nothing of settings that its recipe lacks.

    Args:
        network: the network's name.
        settings: dict of settings by name, as run.json has them.
    """
    known = load_networks().get(network)
    text = known.text if known else ""
    parts = [f"The network is {network}{f', {text}' if text else ''}."]
    parts.append(f"It starts from {name_weights(settings)}.")
    if "num_folds" in settings:
        parts.append(describe_training(settings))
    if "tta" not in settings:  # a study
        return " ".join(parts)
    views = {"flip": " in 4 flipped views", "dihedral": " in 8 views"}
    average = {"rank": "mean rank", "logit": "mean log-odds"}
    labels = {"hard": "hard labels (tumor above 0.5)"}.get(settings.get("labels"))
    parts.append(
        "Each network predicts its own validation fold and every test patch"
        f"{views.get(settings['tta'], '')}. The submission is the "
        f"{average.get(settings.get('ensemble'), 'mean')} of their predictions"
        f"{f', as {labels}' if labels else ''}."
    )
    return " ".join(parts)


def describe_training(settings: dict) -> str:
    """How many networks are trained, on what and how, in a sentence."""
    folds, num_seeds = settings.get("folds"), settings.get("num_seeds", 1)
    chosen = f"{len(folds)} of" if folds else "each of"
    trained = f"{chosen} {settings['num_folds']}"
    number = settings.get("num_images")
    patches = f"{number:,} patches" if number else "all patches"
    networks = f"{num_seeds} networks are" if num_seeds > 1 else "One network is"
    sentence = f"{networks} trained for {trained} folds of {patches}"
    if settings.get("head") == "logistic":
        return f"{sentence}, by logistic regression."
    how = []
    if "epochs" in settings:
        how.append(f"{settings['epochs']} epoch{'s' * (settings['epochs'] > 1)}")
    if "optimizer" in settings:
        rate = f"learning rate {settings['learning_rate']:g}"
        how.append(f"{settings['optimizer']} ({rate}, {settings['schedule']})")
    if "batch_size" in settings:
        how.append(f"batches of {settings['batch_size']}")
    if "augmentation" in settings:
        how.append(f"{settings['augmentation']} augmentation")
    return f"{sentence}: {', '.join(how)}." if how else f"{sentence}."


def tell_settings(story: Story, run: ReportRun) -> None:
    """The table of the settings that differ from the defaults, or of all settings."""
    defaults = find_defaults(run.recipe)
    names = list(run.settings)
    caption = "The settings."
    if defaults:
        names = [
            name for name in names if name in defaults and run.settings[name] != defaults[name]
        ]
        caption = "Settings that differ from the defaults."
    rows = f'{{n: run["settings"][n] for n in {json.dumps(names)}}}'
    story.table("settings", f'pd.DataFrame({{"value": {rows}}})', caption)


def find_defaults(recipe: str) -> dict:
    """The defaults of a recipe's settings as JSON has them; {} if it is unknown."""
    try:
        parts = read_recipe(RENAMED.get(recipe, recipe).split()[0]).parts
    except ValueError:  # a recipe of another version
        return {}
    known = name_settings(parts).items()
    defaults = {name: field.default for name, (_, field) in known}
    return {n: list(v) if isinstance(v, tuple) else v for n, v in defaults.items()}
