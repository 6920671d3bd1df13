"""The method of a run in sentences."""

import pathlib
import re

from ..bundle.recipes import RENAMED_NETWORKS
from ..facts.networks import load_networks
from .names import name_setting
from .reading import ReportRun
from .spaces import list_networks, list_searched

OF_ONE_HEAD = ("epochs", "optimizer", "batch_size")  # logistic regression has none of them
TRAINED_BY = {"vit": "tuning"}  # the part that trains a method of a run of several, if not training
COLOR_SETTINGS = ("stain_jitter", "brightness", "contrast")
AVERAGES = {"rank": "mean rank", "logit": "mean log-odds"}  # by the setting ensemble


def find_network(run: ReportRun) -> str:
    """The name of a run's network in today's spelling, "" if it is unknown or not one alone."""
    if list_compared(run) or run.members:
        return ""
    family = run.recipe.removesuffix("_study")
    only = [name for name, known in load_networks().items() if known.family == family]
    name = run.record.get("network") or run.shared.get("architecture")
    name = name or (only[0] if len(only) == 1 else "")
    return RENAMED_NETWORKS.get(name, name)


def list_compared(run: ReportRun) -> dict[str, dict]:
    """The settings of each network that a study compares, by its name in the space; {} for one."""
    compared = list_networks(run.settings, run.space)
    for own in compared.values():
        own["architecture"] = RENAMED_NETWORKS.get(own["architecture"], own["architecture"])
    return compared


def gather_settings(settings: dict, member: str) -> dict:
    """The settings of one method of a run of several, by their names without the parts'."""
    parts = (TRAINED_BY.get(member, "training"), member)
    shared = {name: value for name, value in settings.items() if "." not in name}
    # Only midnight has a head of its own; its features are of patches as they are.
    shared.pop("augmentation" if member == "midnight" else "head", None)
    own = {
        name.removeprefix(f"{part}."): value
        for part in parts
        for name, value in settings.items()
        if name.startswith(f"{part}.")
    }
    return {**shared, **own}


def describe_several(run: ReportRun) -> str:
    """What a run of several methods does: each of them, then what becomes of their predictions."""
    settings, lines = run.settings, []
    for name in run.members:
        own = gather_settings(settings, name)
        network = own.get("architecture", name)
        parts = [f"**{name}**: {f'{network} ' * (network != name)}from {name_weights(own)}"]
        parts += [f"{own['input_size']} pixels"] if "input_size" in own else []
        parts.append(describe_fit(own) or "trained as its settings say")
        left_out = "" if name in run.methods else " **Left out**: see the warnings of the run."
        lines.append(f"- {'; '.join(parts)}.{left_out}")
    number = len(run.members)
    several = f"{number} methods are trained one after the other, on the same folds"
    known = "num_folds" in settings
    training = f"\n\n{describe_split(settings, 'of each method ')}. " if known else "\n\n"
    views, labels = describe_views(settings), describe_labels(settings)
    average = AVERAGES.get(settings.get("ensemble"), "mean")
    mean = (
        f"The networks of a method are averaged ({average}); the submission is the mean of the "
        f"log-odds of {join_names(run.methods) or 'these averages'}{labels}."
    )
    predicting = f"Each network predicts its own validation fold and every test patch{views}."
    methods = "\n".join(lines)
    return f"{several}:\n\n{methods}{training}{predicting} {mean}"


def name_weights(settings: dict) -> str:
    """The first weights: "random weights", "ImageNet weights", a file's name, or a build's."""
    known = {"none": "random weights", "imagenet": "ImageNet weights"}
    weights = settings.get("weights", "none")
    if re.fullmatch("[0-9a-f]{10}", weights):
        return f"the network of the same fold, as a second stage of build {weights}"
    return known.get(weights, pathlib.PureWindowsPath(weights).name)


def describe_method(run: ReportRun) -> str:
    """What a run does, in a paragraph.

    Says nothing of settings that its recipe lacks, and nothing of an unknown network.
    """
    settings, searched = run.shared, list_searched(run.space)
    parts = [describe_network(run)]
    if "weights" in settings:
        subject = "It" if find_network(run) else "The network"
        parts.append(f"{subject} starts from {name_weights(settings)}.")
    if searched:
        parts.append(f"The study searches {join_names([*map(name_setting, searched)])}.")
    if "num_folds" in settings:
        varied = OF_ONE_HEAD if "head" in searched else ()
        fixed = {name: value for name, value in settings.items() if name not in varied}
        parts.append(describe_training(fixed, run.fold))
    if run.fold is None and "tta" in settings:
        parts.append(describe_prediction(settings))
    if missing := run.record.get("not_trained"):
        parts.append(f"Not trained: {', '.join(missing)}.")
    return " ".join(filter(None, parts))


def describe_network(run: ReportRun) -> str:
    """A run's network in a sentence, or the networks that a study compares; "" if unknown."""
    name, compared = find_network(run), list_compared(run)
    if compared:
        return (
            f"The study compares {join_names([own['architecture'] for own in compared.values()])}."
        )
    return f"The network is {name}." if name else ""


def join_names(names: list[str]) -> str:
    """Names as text, such as "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def describe_prediction(settings: dict) -> str:
    """What the networks predict, and how the submission follows from it."""
    number = len(settings.get("folds") or ()) or settings.get("num_folds", 0)
    if number * settings.get("num_seeds", 1) == 1:
        return (
            "The network predicts its own validation fold and every test patch"
            f"{describe_views(settings)}, for the submission{describe_labels(settings)}."
        )
    return (
        "Each network predicts its own validation fold and every test patch"
        f"{describe_views(settings)}. The submission is the "
        f"{AVERAGES.get(settings.get('ensemble'), 'mean')} of their predictions"
        f"{describe_labels(settings)}."
    )


def describe_views(settings: dict) -> str:
    """The views of a patch that are predicted, "" for one."""
    views = {"flip": " in 4 flipped views", "dihedral": " in 8 views"}
    return views.get(settings.get("tta"), "")


def describe_labels(settings: dict) -> str:
    """What is submitted, "" for probabilities."""
    return ", as hard labels (tumor above 0.5)" if settings.get("labels") == "hard" else ""


def describe_training(settings: dict, trial_fold: int | None = None) -> str:
    """How many networks are trained, on what and how, in two sentences.

    Args:
        settings: dict of settings by name, as run.json has them.
        trial_fold: the validation fold of a study's trials, or None for other runs.
    """
    sentence, how = describe_split(settings, trial_fold=trial_fold), describe_fit(settings)
    if settings.get("head") == "logistic":
        return f"{sentence}, {how}."
    return f"{sentence}: {how}." if how else f"{sentence}."


def describe_split(settings: dict, whose: str = "", trial_fold: int | None = None) -> str:
    """How the patches are split, and what is trained on which part.

    Args:
        settings, trial_fold: as for `describe_training`.
        whose: words that follow "one network".
    """
    number, num_seeds = settings.get("num_images"), settings.get("num_seeds", 1)
    folds = settings.get("folds")
    patches = f"{number:,} of the labeled patches" if number else "All labeled patches"
    networks = f"{num_seeds} networks {whose}are" if num_seeds > 1 else f"one network {whose}is"
    chosen = f"{len(folds)} of these folds" if folds else "each fold"
    trained = f"For {chosen}, {networks} trained on the other folds"
    if trial_fold is not None:
        trained = f"Each trial trains on all folds but fold {trial_fold}, which scores it"
    return f"{patches} are split into {settings['num_folds']} folds. {trained}"


def describe_fit(settings: dict) -> str:
    """How a network is fitted, "" if its settings don't say."""
    if settings.get("head") == "logistic":
        return "by logistic regression"
    how = []
    if "epochs" in settings:
        how.append(f"{settings['epochs']} epoch{'s' * (settings['epochs'] > 1)}")
    if "optimizer" in settings:
        rate = settings.get("learning_rate")
        details = ["Loshchilov & Hutter 2019"] if settings["optimizer"] == "adamw" else []
        details += [] if rate is None else [f"learning rate {rate:g}"]
        details += [f"{settings['schedule']} schedule"] if "schedule" in settings else []
        how.append(settings["optimizer"] + f" ({', '.join(details)})" * bool(details))
    if "batch_size" in settings:
        how.append(f"batches of {settings['batch_size']}")
    if "augmentation" in settings:
        kind = settings["augmentation"]
        how.append(f"{'no' if kind == 'none' else kind} augmentation")
    return ", ".join(how)


def is_augmented(settings: dict) -> bool:
    """Whether the training patches of a method are augmented; those of a regression are not."""
    names = ("augmentation", *COLOR_SETTINGS, "translation")
    varied = any(settings.get(name) not in (None, "none", 0) for name in names)
    return varied and settings.get("head") is None
