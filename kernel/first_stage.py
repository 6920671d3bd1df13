"""`weights=RUN`: the finished run whose networks those of a second stage start from."""

import re
from pathlib import Path

from .bundle.recipes import Recipe, compose_settings, list_recipes, read_recipe
from .records import PushRecord, read_record, read_result
from .reuse import Source, read_source
from .runs import find_folder

WARM_START = "training/warm_start.py"
SHARED = ("architecture", "num_folds", "seed", "num_images")  # settings that both stages have


def find_first_stage(recipe: Recipe, overrides: dict, runs: Path) -> list[Source]:
    """The run that `weights` names, alone in a list; [] where it names none.

    Raises:
        ValueError: a recipe without a second stage, a build that is not here, or a run of another
            network or of other folds, as far as its settings say; the kernel compares the patches.
    """
    name = overrides.get("weights", "none")
    if name.endswith(".keras"):
        raise ValueError(
            "weights: expected a run, whose folds are compared, or a file of pretrained weights. "
            f"Received: weights={name}, one network of a run. Try: weights=RUN"
        )
    try:
        folder = find_folder(name, runs)
    except ValueError:
        if re.fullmatch("[0-9a-f]{10}", name):
            raise
        return []
    result, record = read_result(folder), read_record(folder, PushRecord)
    if not result.get("build_id") and record is None:  # a folder of something else
        return []
    if WARM_START not in recipe.closure:
        known = [n for n in list_recipes() if WARM_START in read_recipe(n).closure]
        raise ValueError(
            f"weights: {recipe.name} starts from no run. Expected: one of {', '.join(known)}. "
            f"Received: weights={name}, which is {folder}"
        )
    if result["settings"]:
        check_first(compose_settings(recipe, overrides).flat(), result, folder)
    return [read_source(folder)]


def check_first(settings: dict, result: dict, folder: Path) -> None:
    """Refuse a run whose settings or files show that a second stage cannot start from it.

    Args:
        settings: dict of all settings of the second stage.
        result: dict, the run's run.json.
        folder: Path of the run.

    Raises:
        ValueError: names the settings that differ, or the folds without a network.
    """
    first = result["settings"]
    wrong = [name for name in SHARED if first.get(name) != settings.get(name)]
    if "architecture" in wrong and not (first.get("architecture") and settings.get("architecture")):
        raise ValueError(
            f"weights: {folder} has another network. Expected: a run of the same recipe. "
            f"Received: one of {result['recipe']}. Try: a run of the recipe that is trained here"
        )
    if wrong:
        expected = ", ".join(f"{name}={first.get(name)}" for name in wrong)
        received = ", ".join(f"{name}={settings.get(name)}" for name in wrong)
        raise ValueError(
            f"weights: {folder} has another network or other folds. Expected: {expected}. "
            f"Received: {received}. Try: the values of that run"
        )
    names = [name for name in result["files"] if name.endswith(".keras")]
    kept = {fold for fold in range(first["num_folds"]) if any(f"/fold{fold}_" in n for n in names)}
    if missing := set(settings["folds"] or range(settings["num_folds"])) - kept:
        raise ValueError(
            f"weights: {folder} kept no network of fold {', '.join(map(str, sorted(missing)))}. "
            f"Expected: one for each fold to train. Received: networks of "
            f"{', '.join(map(str, sorted(kept))) or 'no fold'}. Try: folds=... with those only"
        )
