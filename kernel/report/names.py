"""What the report calls runs, settings and their values."""

import dataclasses
import itertools
from collections.abc import Iterable

from pcam_kaggle.system.settings import SESSION_SETTINGS

from .reading import ReportRun

SETTINGS = {  # those whose own name, with spaces, says too little
    "architecture": "network",
    "clean": "cleaning",
    "ensemble": "average",
    "folds": "trained folds",
    "num_folds": "folds",
    "num_images": "patches",
    "num_seeds": "seeds per fold",
    "split": "split by",
    "tta": "test-time augmentation",
}
ALL = {"num_images": 0, "folds": []}  # values that stand for all
NUM_NAMED = 2  # settings in the name of a run


def name_setting(name: str) -> str:
    """A setting in words, such as "densenet: learning rate"."""
    part, _, own = name.rpartition(".")
    return f"{part}: " * bool(part) + SETTINGS.get(own, own.replace("_", " "))


def name_value(name: str, value: object) -> str:
    """The value of a setting in words."""
    if ALL.get(name) == value:
        return "all"
    if name == "folds" and isinstance(value, list):
        return f"{name_several('fold', value)} only"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def name_settings(settings: dict) -> str:
    """Settings in words, such as "batch size 32, learning rate 0.001"."""
    return ", ".join(
        f"{name_setting(name)} " * (name != "folds" or not value) + name_value(name, value)
        for name, value in settings.items()
    )


def name_runs(runs: list[ReportRun]) -> list[ReportRun]:
    """Runs named as people name them; blends name their members in the same way."""
    names = [name_run(run, runs) for run in runs]
    counts = {name: itertools.count(1) for name in names if names.count(name) > 1}
    names = [f"{name} ({next(counts[name])})" if name in counts else name for name in names]
    known, named = {run.name: name for run, name in zip(runs, names)}, []
    for run in runs:
        record = dict(run.record)
        if "adds" in record:
            adds = [{**row, "run": known.get(row["run"], row["run"])} for row in record["adds"]]
            record["adds"] = adds
        if "members" in record:
            record["members"] = [known.get(member, member) for member in record["members"]]
        named.append(dataclasses.replace(run, name=known[run.name], record=record))
    return named


def name_run(run: ReportRun, runs: list[ReportRun]) -> str:
    """A run's recipe, and two settings in which others of that recipe differ, the network first."""
    alike = [other.settings for other in runs if other.recipe == run.recipe]
    differing = {
        name: value
        for name, value in run.settings.items()
        if name not in SESSION_SETTINGS and any(other.get(name) != value for other in alike)
    }
    first = sorted(differing, key=lambda name: name != "architecture")[:NUM_NAMED]
    own = name_settings({name: differing[name] for name in first})
    return ", ".join(filter(None, (run.recipe.replace("_", " "), own)))


def describe_budget(run: ReportRun) -> str:
    """What a trial of a study learns from and for how long, "" if unknown.

    Such as ", each trained on 400 patches, for up to 2 epochs".
    """
    study, counts, parts = run.record["study"], run.record.get("counts"), []
    if counts and "num_patches" in study:
        parts.append(f"on {max(0, counts['train'] - study['num_patches']):,} patches")
    epochs = run.study["epochs_trained"].max() if "epochs_trained" in run.study else 0
    if epochs > 0:
        parts.append(f"for up to {epochs:.0f} epoch{'' if epochs == 1 else 's'}")
    return f", each trained {' '.join(parts)}" if parts else ""


def name_trials(numbers: Iterable[int]) -> str:
    """Trials in words, such as "trial 0" or "trials 0, 1 and 2"."""
    return name_several("trial", numbers)


def name_several(what: str, numbers: Iterable[int]) -> str:
    """Numbered things in words, such as "fold 0" or "folds 0, 1 and 2"."""
    *others, last = map(str, numbers)
    return f"{what}s {', '.join(others)} and {last}" if others else f"{what} {last}"
