"""The finished run that `weights=RUN` names; the patches of finished runs and those here."""

import re
from pathlib import Path

from pcam_kaggle.data.folds import make_folds
from pcam_kaggle.data.run import read_competition
from pcam_kaggle.inference.kept_runs import filter_networks, parse_network, read_oof
from pcam_kaggle.inference.other_data import refuse_others

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
        ValueError: names the settings that differ, the folds without a network, or one whose
            networks have other seeds.
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
    kept = {}
    for fold, seed in map(parse_network, filter_networks(result["files"])):
        kept.setdefault(fold, set()).add(seed)
    wanted, number = settings["folds"] or range(settings["num_folds"]), settings["num_seeds"]
    if missing := set(wanted) - set(kept):
        raise ValueError(
            f"weights: {folder} kept no network of fold {', '.join(map(str, sorted(missing)))}. "
            f"Expected: one for each fold to train. Received: networks of "
            f"{', '.join(map(str, sorted(kept))) or 'no fold'}. Try: folds=... with those only"
        )
    for fold in wanted:
        start = settings["seed"] + fold * number  # as list_jobs numbers them
        if len(kept[fold]) > 1 and not kept[fold].issuperset(range(start, start + number)):
            raise ValueError(
                f"weights: {folder} has networks of other seeds. Expected: one network of fold "
                f"{fold}, or those of num_seeds={number}. Received: the seeds "
                f"{', '.join(map(str, sorted(kept[fold])))}. "
                f"Try: num_seeds={first.get('num_seeds', 1)}"
            )


def check_patches(
    name: str, overrides: dict, sources: list[Source], folder: Path, inputs: Path | str
) -> None:
    """Refuse runs of other patches than those here; for a second stage, one of other folds.

    Args:
        name: the recipe's name.
        overrides: dict of typed settings.
        sources: the runs whose networks it uses; they are here.
        folder: Path of the competition.
        inputs: as for `read_competition`.

    Raises:
        ValueError: names the run; or as `read_competition` and `make_folds`.
    """
    recipe = read_recipe(name)
    settings = compose_settings(recipe, overrides)
    tables = read_competition(folder, settings.data, inputs)
    ids = tables.train["id"]
    if WARM_START not in recipe.closure:
        refuse_others([source.kept for source in sources], ids)
        return
    number, oof = settings.folds.num_folds, read_oof(sources[0].kept)
    folds = make_folds(tables.train["label"], number, settings.data.seed, tables.slides)
    wrong = [
        fold
        for fold in settings.folds.folds or range(number)
        if set(oof["id"][oof["fold"] == fold]) != set(ids[folds == fold])
    ]
    if wrong:
        raise ValueError(
            f"weights: {sources[0].folder} has other folds, so that its networks were trained on "
            f"patches that are held out here. Expected: the same patches in each fold. Received: "
            f"others in fold {', '.join(map(str, wrong))}. Try: the data and the slide map of "
            "that run"
        )
