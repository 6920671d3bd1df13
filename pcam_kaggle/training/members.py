"""Networks of a run, saved when finished."""

import dataclasses
import functools
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from ..data.folds import Split, split_fold
from ..data.run import Patches, Run, list_facts, start_budget
from ..inference.networks import save_network
from ..system.clock import Budget, Clock, OutOfTimeError, say_time
from ..system.device import Device, describe_place
from ..system.records import CHECKPOINT, Ensemble, Member, list_finished, load_member, save_member
from ..system.workers import run_jobs
from .checkpoint import Checkpoint
from .forecast import Forecast


@dataclasses.dataclass(frozen=True)
class Job:
    """One network to train, and what a worker needs to know about its run.

    `member` is the name of its method in a run of several, else "". `num_rounds` is the number of
    networks that are trained one after another, and `folder` holds two files per network. `facts`
    describe the run.
    """

    member: str
    fold: int
    seed: int
    num_rounds: int
    folder: Path
    policy: str
    facts: dict

    @property
    def name(self) -> str:
        """The network's name in the log and in run.json."""
        return f"{self.prefix.replace('_', ' ')}fold {self.fold} seed {self.seed}"

    @property
    def prefix(self) -> str:
        """What the names of the member's files start with."""
        return f"{self.member}_" if self.member else ""

    @property
    def path(self) -> Path:
        """The file of the network's predictions; the network itself is beside it."""
        return self.folder / f"{self.prefix}fold{self.fold}_seed{self.seed}.npz"

    @property
    def checkpoint(self) -> Path:
        """The file of its training, as far as that has come."""
        return self.path.with_name(f"{CHECKPOINT}{self.path.name}")

    def is_alone(self) -> bool:
        """Whether no network of the run is finished yet."""
        return not list_finished(self.folder)

    def is_first(self) -> bool:
        """Whether no network of the member is finished yet."""
        return not list_finished(self.folder, self.prefix)


def fit_members(
    method: object,
    patches: Patches,
    folds: np.ndarray,
    run: Run,
    device: Device,
    name: str = "",
    explain: Callable | None = None,
) -> Iterator:
    """Train the networks of every fold and random seed; load the finished ones.

    Args:
        method: Finetune, or another method with prepare, fit, predict, explain and describe.
        patches: Patches.
        folds: int array (n,), the validation fold of every patch.
        run: Run.
        device: Device.
        name: the method's name in a run of several, with which its networks' names start.
        explain: `explain_member`, or None.

    Yields:
        Ensemble of the networks that are finished, after each of them. A network that fails ends
        no other, a killed worker ends those in training or still to start: the traceback is
        printed, and the ensemble has a warning.

    Raises:
        ValueError: no network was finished.
    """
    jobs = list_jobs(method, run, device, name)
    members, failures = load_finished(jobs), []
    for job in jobs:
        if job.name in members:
            print(f"{job.name} was finished before, taken from {job.path}")
            job.checkpoint.unlink(missing_ok=True)
    if members:
        yield gather_members(jobs, members, failures)
    left = [job for job in jobs if job.name not in members]
    if not left:
        return
    # As many as in a session that resumes nothing: on a CPU, the cores of a worker decide the bits.
    num_workers = min(device.num_workers, len(jobs))
    print(f"networks {len(left)}, {num_workers} at a time", flush=True)
    patches = method.prepare(patches, run, device)
    work = functools.partial(finish_member, method=method, folds=folds, explain=explain)
    budget = start_budget(run)
    # The time left is read when a worker takes the job.
    jobs_in_time = ((job, budget.left()) for job in left)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        try:
            for job, member, failure in run_jobs(
                work, patches, jobs_in_time, num_workers, device.gpus, scratch
            ):
                failures += [failure] * bool(failure)
                if member is None:
                    continue
                members[job.name] = member
                if not job.path.exists() and not member.was_cut_short:  # on another machine
                    save_member(job.path, member, run.fingerprint)
                auc = roc_auc_score(patches.labels[member.positions], member.oof)
                rate, epochs = member.stages["train"].images_per_second, len(member.history)
                speed = f"{rate:,.0f} images/s, {member.place}"
                print(f"{job.name} out-of-fold AUC {auc:.4f}, epochs {epochs}, {speed}", flush=True)
                yield gather_members(jobs, members, failures)
        except RuntimeError as error:  # a worker was killed, perhaps after it finished a network
            traceback.print_exc()
            failures.append(f"warning: {error}")
            members |= load_finished(left)
    if not members:
        raise ValueError(
            failures[0]
            if failures
            else "max_hours: no network could be finished; partial work is kept. Received: "
            f"max_hours={budget.max_hours:g}. Try: repeat the command (push --resume)"
        )
    if failures:
        yield gather_members(jobs, members, failures)


def load_finished(jobs: list) -> dict:
    """Load the members that are finished, by name."""
    return {job.name: load_member(job.path) for job in jobs if job.path.exists()}


def gather_members(jobs: list, members: dict, failures: list) -> Ensemble:
    """The networks so far, in the order of the jobs; cut short ones only without others."""
    done = [job for job in jobs if job.name in members]
    done = [job for job in done if not members[job.name].was_cut_short] or done
    found = [members[job.name] for job in done]
    kept = [(job, job.path.with_suffix(".keras")) for job in done]
    paths = [path for job, network in kept for path in (job.path, network)]
    warnings = [member.warning for member in found if member.warning] + failures
    warnings += [f"warning: {j.name} is not kept for predict" for j, p in kept if not p.exists()]
    return Ensemble(
        members=found,
        missing=[job.name for job in jobs if job not in done],
        warnings=tuple(warnings),
        files=tuple(f"{path.parent.name}/{path.name}" for path in paths if path.exists()),
    )


def list_jobs(method: object, run: Run, device: Device, member: str = "") -> list:
    """List the networks of a run; a fold has the same seeds in any subset of folds."""
    settings, seed = run.settings.folds, run.settings.data.seed
    pairs = [
        (fold, seed + fold * settings.num_seeds + number)
        for fold in settings.folds or range(settings.num_folds)
        for number in range(settings.num_seeds)
    ]
    make_job = functools.partial(
        Job,
        member=member,
        num_rounds=-(-len(pairs) // device.num_workers),
        folder=run.output / "folds",
        policy=device.policy,
        facts={**list_facts(run), **method.describe()},
    )
    return [make_job(fold=fold, seed=seed) for fold, seed in pairs]


def finish_member(
    patches: Patches,
    job: Job,
    seconds_left: float,
    *,
    method: object,
    folds: np.ndarray,
    explain: Callable | None,
) -> tuple:
    """Train one network, save it and explain some of its predictions.

    Returns:
        The job; a Member, or None if it failed or there is no time for it; a warning or "".
    """
    keras.config.set_dtype_policy(job.policy)
    fingerprint = job.facts["fingerprint"]
    checkpoint = Checkpoint(job.checkpoint, fingerprint)
    budget = Budget(job.facts["settings"]["max_hours"], seconds_left)
    known = [load_member(path).stages.values() for path in list_finished(job.folder, job.prefix)]
    known = [sum(stage.seconds for stage in stages) for stages in known]
    needed = 0 if checkpoint.path.exists() else max(known, default=0)
    if needed >= budget.left():
        left = say_time(budget.left())
        print(f"{job.name} is not started: it takes {say_time(needed)}, {left} are left")
        return job, None, ""
    split = split_fold(folds, job.fold, job.seed, job.name)
    num_predicted = (len(split.valid) + len(patches.test_images)) * method.num_views
    workload = (len(split.train), len(split.valid), num_predicted)
    watcher = Forecast(
        job.name, budget, workload, job.num_rounds, job.is_alone, job.is_first, job.member
    )
    try:
        network, member = train_member(method, patches, job, split, checkpoint, watcher)
    except OutOfTimeError:
        print(f"{job.name} cannot finish within max_hours; finished epochs are kept for --resume")
        return job, None, ""
    except Exception as error:  # ends no other network
        traceback.print_exc()
        return job, None, f"warning: {job.name} failed: {type(error).__name__}: {error}"
    auc = float(roc_auc_score(patches.labels[member.positions], member.oof))
    own = {name: getattr(job, name) for name in ("member", "fold", "seed")}
    facts = {**job.facts, **own, "oof_auc": auc}
    try:
        save_network(job.path.with_suffix(".keras"), network, facts)
    except Exception:  # must not lose the predictions; `gather_members` warns of it
        traceback.print_exc()
    if member.was_cut_short:
        print(f"{job.name} was cut short after epoch {len(member.history)}: max_hours")
        return job, member, ""
    warning = f"warning: {job.name} is not explained: unfinished" if explain else ""
    finished = dataclasses.replace(member, warning=warning)
    save_member(job.path, finished, fingerprint)
    job.checkpoint.unlink(missing_ok=True)
    if explain:
        member = explain(method, network, patches, job, member)
    return job, member, ""


def train_member(
    method: object, patches: Patches, job: Job, split: Split, saved: Checkpoint, watcher: Forecast
) -> tuple:
    """Train one network; predict its validation fold and the test patches.

    Args:
        method, patches: as for `fit_members`.
        job, split: which network it is, and its share of the patches.
        saved: where training resumes and is saved.
        watcher: stops a training that cannot finish in time.

    Returns:
        The network, for `method.predict`, and a Member.

    Raises:
        OutOfTimeError, ValueError: there is no time for it, as `Forecast` decides.
    """
    positions, test, num_test = split.valid, np.zeros(0, "float32"), len(patches.test_images)
    clock = Clock()
    network, history = method.fit(patches, split, saved, [watcher])
    clock.end("train", len(split.train) * (len(history) - saved.num_done))
    oof, one_view = method.predict(network, patches.images, positions)
    clock.end("predict_oof", len(oof))
    if num_test:
        test, _ = method.predict(network, patches.test_images)
        clock.end("predict_test", num_test)
    if not np.isfinite([*oof, *test]).all():
        raise FloatingPointError(
            "expected probabilities. Received: numbers that are not finite. Try: precision=float32"
        )
    history.insert(0, "seed", job.seed)
    history.insert(0, "fold", job.fold)
    if job.member:
        history.insert(0, "member", job.member)
    member = Member(
        fold=job.fold,
        seed=job.seed,
        positions=positions,
        oof=oof,
        oof_one_view=one_view,
        test=test,
        history=history,
        stages=clock.stages,
        was_cut_short=watcher.was_cut_short,
        place=describe_place(),
    )
    return network, member
