"""A study: the best settings on one fold, by Optuna."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable

import numpy as np
import pandas as pd

from ..data.run import Patches, Run, make_record, start_budget
from ..system.clock import Budget
from ..system.device import Device
from ..system.files import write_json, write_table
from ..system.workers import run_jobs
from .study_log import STUDY, count_sets, has_ended, open_storage, open_study
from .trials import Search, run_trials


@dataclasses.dataclass(frozen=True)
class StudyRecord:
    """What run.json says about a study.

    `fold` is the validation fold of every trial, `missing` the number of trials for which there
    was no time, `winner` the number of the best trial, `overrides` its settings, `importance`
    the share of the variance that each setting explains.
    """

    space: str
    fold: int
    trials: int
    missing: int
    winner: int
    winner_auc: float
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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        for _ in run_jobs(work, patches, jobs, num_workers, device.gpus, scratch):
            pass
    study = optuna.load_study(study_name=STUDY, storage=open_storage(search.path))
    write_study(run, study, space, fold, num_trials)


def write_study(run: Run, study: object, space: dict, fold: int, num_trials: int) -> None:
    """Write study.csv and run.json; print the winner.

    Raises:
        ValueError: no trial was completed.
    """
    trials = tabulate_trials(study)
    if "COMPLETE" not in set(trials["state"]):
        raise ValueError(
            "trials: expected at least one that was completed. Received: "
            f"{trials['state'].value_counts().to_dict()}. Try: more study_hours, or other settings"
        )
    record = StudyRecord(
        space=repr(space),
        fold=fold,
        trials=len(trials),
        missing=max(0, num_trials - len(trials)),
        winner=study.best_trial.number,
        winner_auc=study.best_value,
        overrides=study.best_trial.user_attrs["overrides"],
        importance=measure_importance(study),
    )
    write_table(run.output / "study.csv", trials)
    about = make_record(run, {}, ["study.csv", "study.log"])
    content = {**dataclasses.asdict(about), "study": dataclasses.asdict(record)}
    write_json(run.output / "run.json", content)
    for name, share in record.importance.items():
        print(f"importance {share:>6.1%}  {name}")
    if record.missing:
        print(f"warning: no time for {record.missing} trials; repeat the command")
    words = " ".join(f"{name}={value}" for name, value in record.overrides.items())
    print(f"winner   trial {record.winner}, AUC {record.winner_auc:.4f}: {words}")


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
