"""The networks of a run: each trained, predicted and kept as soon as it is done."""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from .augment import NUM_VIEWS
from .budget import Budget, OutOfTimeError, say_time
from .checkpoint import Checkpoint
from .config import ARCHITECTURES
from .forecast import Forecast
from .foundation import apply_head, differentiate_head, train_head
from .gradcam import choose_shown, explain
from .prediction import predict, predict_views
from .results import load_member, save_member
from .stages import Clock
from .train import split_fold, train_fold
from .workers import run_jobs


@dataclasses.dataclass(frozen=True)
class Session:
    """What the networks of a run share, apart from what decides their predictions.

    `output` is the output folder, `scratch` a folder of this run alone, `fingerprint`
    the run's, `policy` Keras's dtype policy, `budget` the run's Budget.
    """

    output: Path
    scratch: Path
    fingerprint: str
    policy: str
    budget: Budget
    num_workers: int
    num_gpus: int


def train_members(config, patches, folds, session, kind="fold"):
    """The networks of every fold and seed, those that are there already taken.

    Args:
        config: Config.
        patches: Patches.
        folds: int array (n,), the validation fold of every image.
        session: Session.
        kind: "fold", or "stain" for folds from `make_stain_folds`: one network each,
            validated on the colour of stain that it never saw, without a test image.

    Returns:
        List of dicts as `train_member` returns them, by fold and seed, and the list of
        the labels of those for which there was no time.
    """
    if kind == "stain":
        config = dataclasses.replace(config, figures=False)  # none of it is shown
        patches = dataclasses.replace(patches, test_images=patches.test_images[:0])
        jobs = [(fold, config.seed) for fold in (0, 1)]
    else:
        chosen = config.folds or range(config.num_folds)
        jobs = [(fold, seed) for fold in chosen for seed in make_seeds(config, fold)]
    num_workers = min(session.num_workers, len(jobs))
    num_rounds = -(-len(jobs) // num_workers)
    budget, found = session.budget, dataclasses.replace(session, budget=None)
    work = functools.partial(
        finish_member,
        config=config,
        folds=folds,
        session=found,
        kind=kind,
        num_rounds=num_rounds,
    )
    # What is left is looked at when a job is handed out.
    jobs_in_time = ((*job, budget.left()) for job in jobs)
    places = (num_workers, session.num_gpus, session.scratch)
    members = []
    for member in run_jobs(work, patches, jobs_in_time, *places):
        if member is None:
            continue
        members.append(member)
        path = name_file(session, kind, member["fold"], member["seed"])
        if not path.exists() and not member["was_cut_short"]:  # of another machine
            save_member(path, member, session.fingerprint)
        print_member(kind, member, patches.labels)
    members.sort(key=lambda member: (member["fold"], member["seed"]))
    done = [(member["fold"], member["seed"]) for member in members]
    return members, [f"{kind} {f} seed {s}" for f, s in jobs if (f, s) not in done]


def finish_member(
    patches, fold, seed, seconds_left, *, config, folds, session, kind, num_rounds
):
    """One network: taken from its file, or trained and written to it.

    Returns:
        dict as `train_member` returns it, or None where there is no time for it.
    """
    keras.config.set_dtype_policy(session.policy)
    label = f"{kind} {fold} seed {seed}"
    path = name_file(session, kind, fold, seed)
    checkpoint = Checkpoint(
        path.with_name(f"checkpoint_{path.name}"), session.fingerprint
    )
    if path.exists():
        print(f"{label} was finished before, taken from {path}", flush=True)
        checkpoint.path.unlink(missing_ok=True)
        return load_member(path)
    budget = Budget(config.max_hours, seconds_left)
    known = find_seconds(path.parent)
    needed = 0 if checkpoint.path.exists() else max(known, default=0)
    if needed >= budget.left():
        print(
            f"{label} is not begun: it takes {say_time(needed)}, and "
            f"{say_time(budget.left())} are left of max_hours",
            flush=True,
        )
        return None
    try:
        member = train_member(
            config, patches, folds, fold, seed, checkpoint, budget, num_rounds, known
        )
    except OutOfTimeError:
        print(f"{label} cannot end within max_hours: kept for --resume", flush=True)
        return None
    if member["was_cut_short"]:
        num_done = len(member["history"])
        print(f"{label} was cut short after epoch {num_done}: max_hours", flush=True)
        return member
    save_member(path, member, session.fingerprint)
    checkpoint.path.unlink(missing_ok=True)
    return member


def train_member(
    config,
    patches,
    folds,
    fold,
    seed,
    checkpoint=None,
    budget=None,
    num_rounds=1,
    known=(),
):
    """Train one network; predict its validation fold and the test images.

    Args:
        config, folds, fold, seed, checkpoint: as for `train_fold`.
        patches: Patches.
        budget: Budget, or None for all the time there is.
        num_rounds: int, how many networks are trained one after the other.
        known: seconds that other networks of this run have taken.

    Returns:
        dict: fold, seed, history (DataFrame), positions (int array of the fold), oof,
        oof_one_view and test (float32 arrays of probabilities), stages (seconds,
        images, memory), was_cut_short; with figures=true also shown (int array of
        places in `positions`) and, of these, maps as `explain` returns them, or the
        slopes of a foundation model's head.

    Raises:
        OutOfTimeError, ValueError: there is no time for it, as `Forecast` says.
    """
    positions = np.flatnonzero(folds == fold)
    num_train, num_test = len(split_fold(folds, fold)[0]), len(patches.test_images)
    is_foundation = ARCHITECTURES[config.architecture].is_foundation
    stages, forecasts = {}, []
    clock = Clock(stages)
    given = (config, patches.images, patches.labels, folds, fold, seed)

    def watch(batches, epochs):
        num_predicted = (len(positions) + num_test) * NUM_VIEWS[config.tta]
        counts = {
            "batch": batches.batch_size * config.steps_per_execution,
            "train": len(batches) * batches.batch_size,
            "valid": len(positions),
            "predict": num_predicted,
        }
        label = f"fold {fold} seed {seed}"
        forecasts.append(
            Forecast(budget, label, counts, epochs, num_rounds, is_alone=not known)
        )
        return forecasts[0]

    if is_foundation:
        network, history = train_head(*given)
    else:
        network, history = train_fold(*given, checkpoint, watch if budget else None)
    num_before = checkpoint.num_done if checkpoint else 0
    clock.end("train", num_train * (len(history) - num_before))

    if is_foundation:  # the views are in the features
        oof = one_view = apply_head(network, patches.images, positions)
    else:
        oof, one_view = predict_views(network, patches.images, positions, config.tta)
    clock.end("predict_oof", len(oof))
    test = np.zeros(0, "float32")
    if num_test and is_foundation:
        test = apply_head(network, patches.test_images)
    elif num_test:
        test = predict(network, patches.test_images, tta=config.tta)
    if num_test:
        clock.end("predict_test", len(test))
    explained = {}
    if config.figures:
        labels = patches.labels[positions]
        shown = np.concatenate(list(choose_shown(labels, one_view).values()))
        images, answers = patches.images[positions[shown]], one_view[shown]
        explained["shown"] = shown
        if is_foundation:
            explained["slopes"] = differentiate_head(network, images)
        else:
            explained["maps"] = explain(network, images, answers, config.crop_size)
        clock.end("explain", len(shown))
    return {
        **explained,
        "fold": fold,
        "seed": seed,
        "history": history,
        "positions": positions,
        "oof": oof,
        "oof_one_view": one_view,
        "test": test,
        "stages": stages,
        "was_cut_short": any(forecast.was_cut_short for forecast in forecasts),
    }


def name_file(session, kind, fold, seed):
    """Where a network's predictions are kept."""
    return session.output / "folds" / f"{kind}{fold}_seed{seed}.npz"


def find_seconds(folder):
    """Seconds that each finished network of a folder took, as a list."""
    members = [load_member(path) for path in folder.glob("[fs]*_seed*.npz")]
    return [
        sum(stage["seconds"] for stage in member["stages"].values())
        for member in members
    ]


def print_member(kind, member, labels):
    """One line on a network."""
    auc = roc_auc_score(labels[member["positions"]], member["oof"])
    train = member["stages"]["train"]
    print(
        f"{kind} {member['fold']} seed {member['seed']} out-of-fold AUC {auc:.4f}, "
        f"{len(member['history'])} epochs in {train['seconds']:.0f} s, "
        f"{train['images_per_second']:,.0f} images/s",
        flush=True,
    )


def make_seeds(config, fold):
    """The seeds of a fold's networks: the same for any subset of folds."""
    first_seed = config.seed + fold * config.num_seeds
    return range(first_seed, first_seed + config.num_seeds)
