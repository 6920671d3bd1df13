"""study.log: the trials that several processes share."""

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np

from ..data.run import Run
from ..system.files import short_hash, write_beside
from ..system.paths import find_attached
from ..system.records import refuse_other

STUDY = "pcam"
FINISHED = ("COMPLETE", "PRUNED")
PREDICTIONS = "trial*.npy"


@dataclasses.dataclass(frozen=True)
class Range:
    """The values of a setting from `low` to `high`, sampled on a log scale if `log`."""

    low: float
    high: float
    log: bool = False


def name_predictions(path: Path, number: int) -> Path:
    """The file of a trial's validation predictions, beside its study.log."""
    return path.with_name(PREDICTIONS.replace("*", str(number)))


def count_sets(space: dict) -> int:
    """The number of combinations of settings, or 0 if there is a range."""
    if any(isinstance(choices, Range) for choices in space.values()):
        return 0
    return int(np.prod([len(choices) for choices in space.values()]))


def open_study(run: Run, space: dict) -> Path:
    """Open the study.log of the output folder, an attached one, or a new one.

    Trials that a kill interrupted are queued again.

    Raises:
        ValueError: the study has another space, or other code, settings or data.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = run.output / "study.log"
    for found in [] if path.exists() else find_attached("study.log", run.data):
        for source in [*found.parent.glob(PREDICTIONS), found]:  # the log last: it names them
            with write_beside(path.with_name(source.name)) as partial:
                shutil.copyfile(source, partial)
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
    """Queue the interrupted trials of a study again, each once."""
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
    """Open Optuna's journal, which processes may share; an incomplete last line is removed."""
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
    """The first trials: all combinations, or the recipe's own settings."""
    if count_sets(space):
        return [dict(zip(space, names)) for names in itertools.product(*space.values())]
    own = {name: settings[name] for name in space if name in settings}
    return [{name: own[name] for name in own if is_within(own[name], space[name])}]


def is_within(value: object, choices: object) -> bool:
    """Whether its space can suggest a setting's value."""
    if isinstance(choices, Range):
        return choices.low <= value <= choices.high
    return value in choices


def has_ended(trial: object) -> bool:
    """Whether a trial is over; one interrupted by a kill or Ctrl-C is not."""
    has_failed = trial.state.name == "FAIL" and "error" in trial.user_attrs
    return trial.state.name in FINISHED or has_failed
