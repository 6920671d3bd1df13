"""Trials of a study: settings, a network, its score."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from ..data.folds import split_fold
from ..data.run import Patches
from ..system.clock import Budget, say_time
from ..system.files import write_beside
from ..system.settings import compose
from .study_log import STUDY, Range, count_sets, has_ended, name_predictions, open_storage

STARTUP_TRIALS = 5  # drawn at random before TPE learns, and never pruned


@dataclasses.dataclass(frozen=True)
class Search:
    """What a worker needs to know about a study.

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


def run_trials(
    patches: Patches, seconds_left: float, *, search: Search, folds: np.ndarray, fold: int
) -> None:
    """Try combinations of settings until there are enough, or no time for another."""
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
        # Each trial has its own random seed: a resumed study repeats no draw.
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, seed=search.seed + len(study.trials)
        )
        objective = functools.partial(
            run_trial, search=search, patches=patches, folds=folds, fold=fold
        )
        study.optimize(objective, n_trials=1, catch=(FloatingPointError, MemoryError))


def run_trial(
    trial: object, *, search: Search, patches: Patches, folds: np.ndarray, fold: int
) -> float:
    """Train a network with suggested settings; return its ROC AUC on the fold, with one view.

    Writes the predictions beside study.log, as `name_predictions` says.
    """
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
        network, history = method.fit(patches, split, extra=[Prune(trial)])
        _, predictions = method.predict(network, patches.images, split.valid)
    except (FloatingPointError, MemoryError) as error:
        trial.set_user_attr("error", str(error))
        print(f"{label} failed: {error}", flush=True)
        raise
    auc = float(roc_auc_score(patches.labels[split.valid], predictions))
    trial.set_user_attr("epochs_trained", len(history))
    with write_beside(name_predictions(search.path, trial.number)) as partial:
        np.save(partial, np.asarray(predictions, "float32"))
    print(
        f"{label}: AUC {auc:.4f}, {len(history)} epochs in {say_time(time.monotonic() - started)}",
        flush=True,
    )
    return auc


def suggest(trial: object, space: dict) -> dict:
    """Suggest a trial's overrides; a named choice may stand for several settings."""
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
