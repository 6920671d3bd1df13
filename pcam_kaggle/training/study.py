"""A study: the best settings on one fold, by Optuna."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable

import numpy as np
import pandas as pd

from ..analysis.scores import Comparison, compare_auc, count_slides
from ..data.run import Patches, Run, make_record, start_budget
from ..system.clock import Budget
from ..system.device import Device
from ..system.files import write_json, write_table
from ..system.workers import run_jobs
from .study_log import STUDY, count_sets, has_ended, name_predictions, open_storage, open_study
from .trials import Search, run_trials


@dataclasses.dataclass(frozen=True)
class StudyRecord:
    """What run.json says about a study.

    `fold` is the validation fold of every trial, `missing` the number of trials for which there
    was no time, `highest` the trial with the highest AUC and `overrides` its settings.
    `second` is the next trial's number with the Comparison of `highest` with it, or None where
    there is none or predictions are lost. `within_noise` are the completed trials below it by no
    more than the choice of the fold's `num_patches` explains (of `num_slides`, None if they are
    unknown), `not_compared` those whose predictions are lost. `importance` is the share of the
    variance that each setting explains.
    """

    space: str
    fold: int
    trials: int
    missing: int
    highest: int
    highest_auc: float
    second: dict | None
    within_noise: list
    not_compared: list
    num_patches: int
    num_slides: int | None
    overrides: dict
    importance: dict


def run_study(
    make_method: Callable,
    space: dict,
    parts: dict,
    patches: Patches,
    folds: np.ndarray,
    run: Run,
    device: Device,
) -> None:
    """Try combinations of settings, each on one fold, with one view.

    A space of only choices is searched exhaustively, in order. If there are ranges, the recipe's
    own settings come first, then Optuna's TPE (Bergstra et al. 2011) chooses, and the median rule
    stops trials that lag. Trials are kept in study.log; the same command adds the missing ones.
    Writes study.csv and run.json.

    Args:
        make_method: function of Settings that returns a method, such as Finetune.
        space: as in `Search`.
        parts: the study's parts.
        patches: Patches.
        folds: int array (n,), the validation fold of every patch.
        run: Run.
        device: Device.

    Raises:
        ImportError: Optuna is not installed.
        ValueError: the study.log has another space, code, settings or data, or no trial was
            completed.
    """
    import optuna

    settings = run.settings
    fold = settings.folds.folds[0] if settings.folds.folds else 0
    num_sets = count_sets(space)
    num_trials = min(settings.study.trials, num_sets or settings.study.trials)
    search = Search(
        path=open_study(run, space),
        space=space,
        make_method=make_method,
        parts=parts,
        settings=settings.flat(),
        policy=device.policy,
        seed=settings.data.seed,
        num_trials=num_trials,
        max_hours=settings.machine.max_hours,
    )
    budget = start_budget(run)
    if settings.study.study_hours:
        hours = settings.study.study_hours
        budget = Budget(hours, min(3600 * hours, budget.left()))
    patches = make_method(settings).prepare(patches, run, device)
    num_workers = min(device.num_workers, num_trials)
    work = functools.partial(run_trials, search=search, folds=folds, fold=fold)
    jobs = [(budget.left(),)] * num_workers
    print(f"trials   {num_trials}, {num_workers} at a time", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        for _ in run_jobs(work, patches, jobs, num_workers, device.gpus, scratch):
            pass
    study = optuna.load_study(study_name=STUDY, storage=open_storage(search.path))
    write_study(run, study, space, folds, fold, num_trials)


def write_study(
    run: Run, study: object, space: dict, folds: np.ndarray, fold: int, num_trials: int
) -> None:
    """Write study.csv and run.json; print the settings with the highest AUC.

    Raises:
        ValueError: no trial was completed.
    """
    trials = tabulate_trials(study)
    if "COMPLETE" not in set(trials["state"]):
        raise ValueError(
            "trials: expected at least one that was completed. Received: "
            f"{trials['state'].value_counts().to_dict()}. Try: more study_hours, or other settings"
        )
    best, tables, valid = study.best_trial, run.competition, folds == fold
    completed = trials.loc[trials["state"] == "COMPLETE", "number"]
    paths = {number: name_predictions(run.output / "study.log", number) for number in completed}
    kept = {number: np.load(path) if path.is_file() else None for number, path in paths.items()}
    labels = tables.train["label"].to_numpy()[valid]
    slides = None if tables.slides is None else tables.slides[valid]
    compared, lost = compare_trials(kept, best.number, labels, slides)
    second = None
    if compared and not lost:
        second = min(compared, key=lambda number: compared[number].difference)
    record = StudyRecord(
        space=repr(space),
        fold=fold,
        trials=len(trials),
        missing=max(0, num_trials - len(trials)),
        highest=best.number,
        highest_auc=best.value,
        second=None if second is None else {"trial": second, **vars(compared[second])},
        within_noise=[number for number, found in compared.items() if found.is_noise()],
        not_compared=lost,
        num_patches=len(labels),
        num_slides=count_slides(slides),
        overrides=best.user_attrs["overrides"],
        importance=measure_importance(study),
    )
    write_table(run.output / "study.csv", trials)
    files = [path.name for path in paths.values() if path.is_file()]
    about = make_record(run, {}, ["study.csv", "study.log", *files])
    content = {**dataclasses.asdict(about), "study": dataclasses.asdict(record)}
    write_json(run.output / "run.json", content)
    for name, share in record.importance.items():
        print(f"importance {share:>6.1%}  {name}")
    if record.missing:
        print(f"warning: no time for {record.missing} trials; repeat the command")
    print_best(record)


def print_best(record: StudyRecord) -> None:
    """Print the settings with the highest AUC, and how far the second is below it."""
    noise, lost = (", ".join(map(str, n)) for n in (record.within_noise, record.not_compared))
    if record.second:
        found = dict(record.second)
        print(f"second   trial {found.pop('trial')} is below by {Comparison(**found).describe()}")
    if noise:
        print(f"similar  trials {noise}: not told apart from the highest on these patches")
    if lost:
        print(f"lost     the predictions of trials {lost}, which are not compared")
    words = " ".join(f"{name}={value}" for name, value in record.overrides.items())
    print(f"highest  trial {record.highest}, AUC {record.highest_auc:.4f}: {words}")


def compare_trials(
    predictions: dict, best: int, labels: np.ndarray, slides: np.ndarray | None
) -> tuple:
    """Compare the best trial with the others, paired.

    Args:
        predictions: the validation predictions of all completed trials by number, None where
            they are lost.
        best: the trial with the highest AUC.
        labels, slides: of the validation patches, as `compare_auc` takes them.

    Returns:
        The Comparisons of the best with the others by number, and a list of those that cannot be
        compared.
    """
    compared, lost, highest = {}, [], predictions[best]
    for number, other in predictions.items():
        if highest is None or other is None:
            lost.append(number)
        elif number != best:
            compared[number] = compare_auc(labels, highest, other, slides)
    return compared, lost


def tabulate_trials(study: object) -> pd.DataFrame:
    """Tabulate the trials that have ended: number, state, value, seconds, epochs, settings."""
    rows = []
    for trial in filter(has_ended, study.trials):
        num_epochs = len(trial.intermediate_values)
        rows.append(
            {
                "number": trial.number,
                "state": trial.state.name,
                "value": trial.value,  # for a pruned trial, of its last epoch
                "seconds": trial.duration.total_seconds(),
                "epochs_trained": trial.user_attrs.get("epochs_trained", num_epochs),
                **trial.params,
            }
        )
    columns = ["number", "state", "value", "seconds", "epochs_trained"]
    return pd.DataFrame(rows, columns=None if rows else columns)


def measure_importance(study: object) -> dict:
    """Measure how much of the AUC's variance each setting explains (fANOVA, Hutter 2014).

    Returns:
        dict by setting, the largest first; empty for fewer than four trials or equal results.
    """
    import optuna

    values = {trial.value for trial in study.trials if trial.state.name == "COMPLETE"}
    if len(values) < 4:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
