"""A study: which settings are best on one fold, by Optuna, from which it goes on."""

import dataclasses
import functools
import itertools
import json
import shutil
import tempfile
import time

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from .budget import Budget, say_time
from .checkpoint import refuse_other
from .config import ARCHITECTURES
from .experiment import load_all, make_session, start_run
from .figures import plot_study
from .foundation import apply_head, train_head
from .paths import find_attached, write_beside
from .prediction import predict
from .recipes import RECIPES, Range, get_config, list_variants
from .results import make_fingerprint, write_table
from .train import build_network, split_fold, train_fold
from .workers import run_jobs

STUDY = "pcam"
STARTUP_TRIALS = 5  # drawn at random before TPE learns, and never pruned
FINISHED = ("COMPLETE", "PRUNED")


def run_study(config, build_id="package", source=None, data=None, output=None):
    """Try sets of settings of the recipe's search space, each on one fold.

    A space of choices alone is tried whole, in its order; with ranges in it Optuna's
    TPE (Bergstra et al. 2011) chooses, after the recipe's own settings, and the median
    rule ends trials that lag. Trials lie in study.log, to which the same command adds
    what is missing. Writes study.csv, run.json and, with figures=true, study.png.

    Args, Raises:
        As `run_experiment`; `config.trials` is at least 1.
        ImportError: Optuna is not installed.
        ValueError: a study.log of another space, code, settings or data.

    Returns:
        dict, as written to run.json; "study" has the winner.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = get_space(config)
    for variant in list_variants(config)[1:]:  # bad weights are refused at once
        build_network(variant)
    start = start_run(config, build_id, source, data, output)
    fingerprint = name_study(start, space)
    path = open_study(start, space, fingerprint)
    fold = config.folds[0] if config.folds else 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        session = make_session(start, scratch)
        loaded = load_all(start, session)
        num_trials = min(config.trials, count_choices(space) or config.trials)
        num_workers = min(session.num_workers, num_trials)
        hours = config.study_hours or config.max_hours
        budget = Budget(hours, min(3600 * hours, start.budget.left()))
        work = functools.partial(
            run_trials,
            config=config,
            policy=session.policy,
            folds=loaded.folds,
            fold=fold,
            path=path,
            num_trials=num_trials,
        )
        jobs = [(number, budget.left()) for number in range(num_workers)]
        places = (num_workers, session.num_gpus, session.scratch)
        for _ in run_jobs(work, loaded.patches, jobs, *places):
            pass
    study = optuna.load_study(study_name=STUDY, storage=open_storage(path))
    return write_study(start, study, fold, num_trials)


def get_space(config):
    """The search space of a Config's recipe: settings and their choices or Range.

    Raises:
        ValueError: a Config of no recipe.
    """
    if config.recipe not in RECIPES:
        raise ValueError(
            "trials: the search space is a recipe's. Expected: recipe= one of "
            f"{', '.join(RECIPES)}. Received: recipe={config.recipe!r}"
        )
    return RECIPES[config.recipe].space


def count_choices(space):
    """The number of all sets of settings, 0 where a range has no number."""
    if any(isinstance(choices, Range) for choices in space.values()):
        return 0
    return int(np.prod([len(choices) for choices in space.values()]))


def name_study(start, space):
    """The fingerprint of a study: code, settings, data and space."""
    settings = {**start.run["settings"], "space": repr(space)}
    return make_fingerprint(
        start.run["code"], settings, start.table.drop(columns="fold"), start.sample
    )


def open_study(start, space, fingerprint):
    """Open study.log in the output folder, begun, attached or new; what was cut waits.

    Returns:
        Path.

    Raises:
        ValueError: a study of another space, or of other code, settings or data.
    """
    import optuna

    path = start.output / "study.log"
    for found in [] if path.exists() else find_attached("study.log", start.data):
        with write_beside(path) as partial:
            shutil.copyfile(found, partial)
        print(f"attached {found}: taken over", flush=True)
    study = optuna.create_study(
        storage=open_storage(path),
        study_name=STUDY,
        direction="maximize",
        load_if_exists=True,
    )
    known = study.user_attrs
    if known.get("space", repr(space)) != repr(space):
        raise ValueError(
            f"{path} is a study of another space. Expected: {space}, or another output "
            f"folder. Received: {known['space']}"
        )
    if "fingerprint" in known:
        refuse_other(path, known["fingerprint"], fingerprint)
    else:
        study.set_user_attr("space", repr(space))
        study.set_user_attr("fingerprint", fingerprint)
        for params in list_first(start.config, space):
            study.enqueue_trial(params, user_attrs={"first": params})
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
    return path


def open_storage(path):
    """Optuna's journal, to which several processes may write; half a line is cut."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):  # a full disk
            with write_beside(path) as partial:
                partial.write_bytes(content[: content.rfind(b"\n") + 1])
    lock = JournalFileOpenLock(str(path))
    return JournalStorage(JournalFileBackend(str(path), lock))


def list_first(config, space):
    """What is tried first: of choices all sets in order, else the recipe's own."""
    if count_choices(space):
        return [dict(zip(space, names)) for names in itertools.product(*space.values())]
    own = {name: getattr(config, name) for name in space}
    return [{name: own[name] for name in space if is_within(own[name], space[name])}]


def is_within(value, choices):
    """Whether a setting's value is one that its space may suggest."""
    if isinstance(choices, Range):
        return choices.low <= value <= choices.high
    return value in choices


def run_trials(patches, number, seconds_left, *, num_trials, path, config, **given):
    """Try sets of settings until there are enough, or no time for one more."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    budget = Budget(config.max_hours, seconds_left)
    is_grid = count_choices(get_space(config)) > 0
    median = optuna.pruners.MedianPruner(STARTUP_TRIALS, n_warmup_steps=1)
    pruner = optuna.pruners.NopPruner() if is_grid else median
    storage = open_storage(path)
    while True:
        study = optuna.load_study(study_name=STUDY, storage=storage, pruner=pruner)
        done = [trial for trial in study.trials if has_ended(trial)]
        under_way = [trial for trial in study.trials if trial.state.name == "RUNNING"]
        if len(done) + len(under_way) >= num_trials:
            return None
        longest = max((trial.duration.total_seconds() for trial in done), default=0)
        if longest > budget.left():
            print(f"no time for another trial: one takes {say_time(longest)}")
            return None
        # A seed of its own for every trial: one that goes on draws nothing twice.
        seed = config.seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, seed=seed
        )
        objective = functools.partial(
            run_trial, config=config, patches=patches, **given
        )
        study.optimize(objective, n_trials=1, catch=(FloatingPointError, MemoryError))


def has_ended(trial):
    """Whether a trial is over: not cut by a kill or Ctrl-C, which are tried again."""
    has_failed = trial.state.name == "FAIL" and "error" in trial.user_attrs
    return trial.state.name in FINISHED or has_failed


def run_trial(trial, *, config, patches, policy, folds, fold):
    """Train one network with suggested settings: its ROC AUC on the fold, one view."""
    keras.config.set_dtype_policy(policy)
    overrides = suggest(trial, get_space(config))
    chosen = get_config(dataclasses.asdict(config), overrides)
    trial.set_user_attr("overrides", overrides)
    words = " ".join(f"{name}={value}" for name, value in overrides.items())
    print(f"trial {trial.number}: {words}", flush=True)
    valid = split_fold(folds, fold)[1]
    given = (chosen, patches.images, patches.labels, folds, fold, chosen.seed)
    started = time.monotonic()
    try:
        if ARCHITECTURES[chosen.architecture].is_foundation:
            head, history = train_head(*given)
            predictions = apply_head(head, patches.images, valid)
        else:
            named = {"watch": lambda *_: Prune(trial), "label": f"trial {trial.number}"}
            network, history = train_fold(*given, **named)
            predictions = predict(network, patches.images, valid)
    except (FloatingPointError, MemoryError) as error:
        trial.set_user_attr("error", str(error))
        print(f"trial {trial.number} failed: {error}", flush=True)
        raise
    auc = float(roc_auc_score(patches.labels[valid], predictions))
    trial.set_user_attr("epochs_trained", len(history))
    print(
        f"trial {trial.number}: AUC {auc:.4f}, {len(history)} epochs in "
        f"{say_time(time.monotonic() - started)}",
        flush=True,
    )
    return auc


def suggest(trial, space):
    """Overrides by a trial: a named choice may stand for several settings."""
    overrides = {}
    for name, choices in space.items():
        if isinstance(choices, Range):
            given = (name, choices.low, choices.high)
            value = trial.suggest_float(*given, log=choices.log)
            overrides[name] = float(f"{value:.4g}")  # as it can be typed
        else:
            chosen = trial.suggest_categorical(name, list(choices))
            is_named = isinstance(choices, dict)
            overrides.update(choices[chosen] if is_named else {name: chosen})
    return overrides


class Prune(keras.callbacks.Callback):
    """Report the validation AUC after every epoch; end a trial that lags."""

    def __init__(self, trial):
        super().__init__()
        self.trial = trial

    def on_epoch_end(self, epoch, logs=None):
        import optuna

        self.trial.report(logs["val_auc"], epoch)
        if self.trial.should_prune():
            print(f"trial {self.trial.number}: pruned after epoch {epoch + 1}")
            raise optuna.TrialPruned


def write_study(start, study, fold, num_trials):
    """study.csv, study.png and run.json; the winner is printed.

    Raises:
        ValueError: no trial was completed.
    """
    trials = tabulate(study)
    complete = trials.loc[trials["state"] == "COMPLETE"]
    if complete.empty:
        raise ValueError(
            f"trials: none of {len(trials)} was completed. Expected: more study_hours, "
            f"or other settings. Received: {trials['state'].value_counts().to_dict()}"
        )
    best = study.best_trial
    importance = measure_importance(study)
    run = start.run
    run["study"] = {
        "space": repr(get_space(start.config)),
        "fold": fold,
        "trials": len(trials),
        "missing": max(0, num_trials - len(trials)),
        "winner": best.number,
        "winner_auc": best.value,
        "overrides": best.user_attrs["overrides"],
        "importance": importance,
    }
    run["seconds"] = time.perf_counter() - start.started
    output = start.output
    write_table(output / "study.csv", trials)
    if start.config.figures:
        title = f"Study of {start.config.recipe}: {len(trials)} trials on fold {fold}"
        plot_study(trials, importance, output / "study.png", title)
    with write_beside(output / "run.json") as partial:
        partial.write_text(json.dumps(run, indent=2) + "\n", "utf-8", newline="\n")
    return run


def tabulate(study):
    """The trials that have ended: DataFrame with number, state, value, seconds, ..."""
    rows = []
    for trial in filter(has_ended, study.trials):
        num_epochs = len(trial.intermediate_values)
        rows.append(
            {
                "number": trial.number,
                "state": trial.state.name,
                "value": trial.value,  # of a pruned trial that of its last epoch
                "seconds": trial.duration.total_seconds(),
                "epochs_trained": trial.user_attrs.get("epochs_trained", num_epochs),
                **trial.params,
            }
        )
    columns = ["number", "state", "value", "seconds", "epochs_trained"]
    return pd.DataFrame(rows, columns=None if rows else columns)


def measure_importance(study):
    """How much of the AUC's variance each setting explains (fANOVA, Hutter 2014).

    Returns:
        dict by setting, the largest first; empty for fewer than four trials or equal
        results.
    """
    import optuna

    values = {trial.value for trial in study.trials if trial.state.name == "COMPLETE"}
    if len(values) < 4:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
