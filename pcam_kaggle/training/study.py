"""A study: which settings are best on one fold, by Optuna."""

import dataclasses
import functools
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..data.folds import split_fold
from ..data.run import Patches, Run, describe_run, start_budget
from ..system.clock import Budget, say_time
from ..system.device import Device
from ..system.files import short_hash, write_beside, write_json, write_table
from ..system.paths import find_attached
from ..system.records import refuse_other
from ..system.settings import compose
from ..system.workers import run_jobs

STUDY = "pcam"
STARTUP_TRIALS = 5  # drawn at random before TPE learns, and never pruned
FINISHED = ("COMPLETE", "PRUNED")


@dataclasses.dataclass(frozen=True)
class Range:
    """The values of a setting from `low` to `high`, drawn by their logarithm if `log`."""

    low: float
    high: float
    log: bool = False


@dataclasses.dataclass(frozen=True)
class StudyRecord:
    """What run.json says about a study.

    `fold` is the fold that every trial was validated on, `missing` how many trials there was no
    time for, `winner` the number of the best trial, `overrides` its settings, `importance` the
    share of the variance that each setting explains.
    """

    space: str
    fold: int
    trials: int
    missing: int
    winner: int
    winner_auc: float
    overrides: dict
    importance: dict


@dataclasses.dataclass(frozen=True)
class Search:
    """What a worker needs to know of a study.

    `space` maps settings to a Range, a tuple of choices, or a dict of named choices of several
    settings each. `make_method` makes a method from Settings.
    """

    path: Path
    space: dict
    make_method: Callable
    parts: dict
    settings: dict
    policy: str
    seed: int
    num_trials: int
    max_hours: float


def run_study(
    make_method: Callable,
    space: dict,
    parts: dict,
    patches: Patches,
    folds: np.ndarray,
    run: Run,
    device: Device,
) -> None:
    """Try sets of settings, each on one fold, with one view.

    A space of choices alone is tried completely, in its order. With ranges in it Optuna's TPE
    (Bergstra et al. 2011) chooses, after the study's own settings, and the median rule stops
    trials that lag. Trials are kept in study.log, and the same command adds what is missing.
    Writes study.csv and run.json.

    Args:
        make_method: function of Settings that returns a method, such as Finetune.
        space: as `Search` has it.
        parts: the study's parts.
        patches: as the method's `prepare` returns them.
        folds: int array (n,), the validation fold of every patch.
        run: Run.
        device: Device.

    Raises:
        ImportError: Optuna is not installed.
        ValueError: a study.log of another space, code, settings or data; no trial that was
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
    num_workers = min(device.num_workers, num_trials)
    work = functools.partial(run_trials, search=search, folds=folds, fold=fold)
    jobs = [(budget.left(),)] * num_workers
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        for _ in run_jobs(work, patches, jobs, num_workers, device.num_gpus, scratch):
            pass
    study = optuna.load_study(study_name=STUDY, storage=open_storage(search.path))
    write_study(run, study, space, fold, num_trials)


def count_sets(space: dict) -> int:
    """The number of all sets of settings, 0 where there is a range."""
    if any(isinstance(choices, Range) for choices in space.values()):
        return 0
    return int(np.prod([len(choices) for choices in space.values()]))


def open_study(run: Run, space: dict) -> Path:
    """Open study.log in the output folder, or a new or an attached one.

    Trials that a kill interrupted are queued again.

    Raises:
        ValueError: a study of another space, or of other code, settings or data.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = run.output / "study.log"
    for found in [] if path.exists() else find_attached("study.log", run.data):
        with write_beside(path) as partial:
            shutil.copyfile(found, partial)
        print(f"attached {found}: taken over", flush=True)
    study = optuna.create_study(
        storage=open_storage(path), study_name=STUDY, direction="maximize", load_if_exists=True
    )
    known = study.user_attrs
    if known.get("space", repr(space)) != repr(space):
        raise ValueError(
            f"{path} is a study of another space. Expected: {space}, or another output "
            f"folder. Received: {known['space']}"
        )
    fingerprint = short_hash(f"{run.fingerprint} {space!r}")
    if "fingerprint" in known:
        refuse_other(path, known["fingerprint"], fingerprint)
    else:
        study.set_user_attr("space", repr(space))
        study.set_user_attr("fingerprint", fingerprint)
        for params in list_first(run.settings.flat(), space):
            study.enqueue_trial(params, user_attrs={"first": params})
    queue_again(study)
    return path


def queue_again(study: object) -> None:
    """Queue the trials of a study that were interrupted, each once."""
    import optuna

    again = {trial.user_attrs.get("again") for trial in study.trials}
    for trial in study.trials:
        if trial.state.name == "RUNNING":  # killed
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        elif trial.state.name != "FAIL" or "error" in trial.user_attrs:
            continue
        if trial.number not in again:
            first = trial.user_attrs.get("first", {})
            known = {"first": first, "again": trial.number}
            study.enqueue_trial({**first, **trial.params}, user_attrs=known)


def open_storage(path: Path) -> object:
    """Optuna's journal, which several processes may share; half a line is cut off."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):  # a full disk
            with write_beside(path) as partial:
                partial.write_bytes(content[: content.rfind(b"\n") + 1])
    lock = JournalFileOpenLock(str(path))
    return JournalStorage(JournalFileBackend(str(path), lock))


def list_first(settings: dict, space: dict) -> list:
    """What is tried first: all sets of choices in order, else the study's own one."""
    if count_sets(space):
        return [dict(zip(space, names)) for names in itertools.product(*space.values())]
    own = {name: settings[name] for name in space}
    return [{name: own[name] for name in space if is_within(own[name], space[name])}]


def is_within(value: object, choices: object) -> bool:
    """Whether a setting's value is one that its space may suggest."""
    if isinstance(choices, Range):
        return choices.low <= value <= choices.high
    return value in choices


def run_trials(
    patches: Patches, seconds_left: float, *, search: Search, folds: np.ndarray, fold: int
) -> None:
    """Try sets of settings until there are enough, or no time for one more."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    budget = Budget(search.max_hours, seconds_left)
    median = optuna.pruners.MedianPruner(STARTUP_TRIALS, n_warmup_steps=1)
    pruner = optuna.pruners.NopPruner() if count_sets(search.space) else median
    storage = open_storage(search.path)
    while True:
        study = optuna.load_study(study_name=STUDY, storage=storage, pruner=pruner)
        done = [trial for trial in study.trials if has_ended(trial)]
        running = [trial for trial in study.trials if trial.state.name == "RUNNING"]
        if len(done) + len(running) >= search.num_trials:
            return
        longest = max((trial.duration.total_seconds() for trial in done), default=0)
        if longest > budget.left():
            print(f"no time for another trial: one takes {say_time(longest)}")
            return
        # Each trial has its own random seed: a resumed study draws nothing twice.
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, seed=search.seed + len(study.trials)
        )
        objective = functools.partial(
            run_trial, search=search, patches=patches, folds=folds, fold=fold
        )
        study.optimize(objective, n_trials=1, catch=(FloatingPointError, MemoryError))


def has_ended(trial: object) -> bool:
    """Whether a trial is over; one that a kill or Ctrl-C interrupted is not."""
    has_failed = trial.state.name == "FAIL" and "error" in trial.user_attrs
    return trial.state.name in FINISHED or has_failed


def run_trial(
    trial: object, *, search: Search, patches: Patches, folds: np.ndarray, fold: int
) -> float:
    """Train one network with suggested settings: its ROC AUC on the fold, one view."""
    keras.config.set_dtype_policy(search.policy)
    overrides = suggest(trial, search.space)
    settings = compose(search.parts, search.settings, overrides)
    trial.set_user_attr("overrides", overrides)
    words = " ".join(f"{name}={value}" for name, value in overrides.items())
    label = f"trial {trial.number}"
    print(f"{label}: {words}", flush=True)
    method = search.make_method(settings)
    split = split_fold(folds, fold, search.seed, label)
    started = time.monotonic()
    try:
        network, history = method.fit(patches, split, watchers=[Prune(trial)])
        _, predictions = method.predict(network, patches.images, split.valid)
    except (FloatingPointError, MemoryError) as error:
        trial.set_user_attr("error", str(error))
        print(f"{label} failed: {error}", flush=True)
        raise
    auc = float(roc_auc_score(patches.labels[split.valid], predictions))
    trial.set_user_attr("epochs_trained", len(history))
    print(
        f"{label}: AUC {auc:.4f}, {len(history)} epochs in {say_time(time.monotonic() - started)}",
        flush=True,
    )
    return auc


def suggest(trial: object, space: dict) -> dict:
    """A trial's overrides; a named choice may stand for several settings."""
    overrides = {}
    for name, choices in space.items():
        if isinstance(choices, Range):
            low, high, log = choices.low, choices.high, choices.log
            value = trial.suggest_float(name, low, high, log=log)
            overrides[name] = float(f"{value:.4g}")  # as it can be typed
        else:
            chosen = trial.suggest_categorical(name, list(choices))
            is_named = isinstance(choices, dict)
            overrides.update(choices[chosen] if is_named else {name: chosen})
    return overrides


class Prune(keras.callbacks.Callback):
    """Report the validation AUC after every epoch; stop a trial that lags."""

    def __init__(self, trial: object):
        super().__init__()
        self.trial = trial

    def on_epoch_end(self, epoch, logs=None):
        import optuna

        self.trial.report(logs["val_auc"], epoch)
        if self.trial.should_prune():
            print(f"trial {self.trial.number}: pruned after epoch {epoch + 1}")
            raise optuna.TrialPruned


def write_study(run: Run, study: object, space: dict, fold: int, num_trials: int) -> None:
    """Write study.csv and run.json; print the winner.

    Raises:
        ValueError: no trial was completed.
    """
    trials = tabulate_trials(study)
    if "COMPLETE" not in set(trials["state"]):
        raise ValueError(
            f"trials: expected one that was completed. Try: more study_hours, or other "
            f"settings. Received: {trials['state'].value_counts().to_dict()}"
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
    about = describe_run(run, {}, ["study.csv", "study.log"])
    content = {**dataclasses.asdict(about), "study": dataclasses.asdict(record)}
    write_json(run.output / "run.json", content)
    for name, share in record.importance.items():
        print(f"importance {share:>6.1%}  {name}")
    if record.missing:
        print(f"warning: no time for {record.missing} trials; repeat the command")
    words = " ".join(f"{name}={value}" for name, value in record.overrides.items())
    print(f"winner   trial {record.winner}, AUC {record.winner_auc:.4f}: {words}")


def tabulate_trials(study: object) -> pd.DataFrame:
    """The trials that have ended: number, state, value, seconds, epochs, settings."""
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
    """How much of the AUC's variance each setting explains (fANOVA, Hutter 2014).

    Returns:
        dict by setting, the largest first; empty for fewer than four trials or equal results.
    """
    import optuna

    values = {trial.value for trial in study.trials if trial.state.name == "COMPLETE"}
    if len(values) < 4:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
