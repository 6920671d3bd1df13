"""study.log: the trials of a study, which several processes and later runs share."""

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


@dataclasses.dataclass(frozen=True)
class Range:
    """The values of a setting from `low` to `high`, drawn by their logarithm if `log`."""

    low: float
    high: float
    log: bool = False


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
    own = {name: settings[name] for name in space if name in settings}
    return [{name: own[name] for name in own if is_within(own[name], space[name])}]


def is_within(value: object, choices: object) -> bool:
    """Whether a setting's value is one that its space may suggest."""
    if isinstance(choices, Range):
        return choices.low <= value <= choices.high
    return value in choices


def has_ended(trial: object) -> bool:
    """Whether a trial is over; one that a kill or Ctrl-C interrupted is not."""
    has_failed = trial.state.name == "FAIL" and "error" in trial.user_attrs
    return trial.state.name in FINISHED or has_failed
