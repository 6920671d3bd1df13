"""Test patches predicted by the networks of finished runs."""

import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from ..data.run import Run, make_record, start_budget
from ..inference.ensemble import ensemble_predictions
from ..inference.kept_average import average_kept, map_kept
from ..inference.kept_runs import KeptRun, read_facts, refuse_ranks
from ..inference.load_frozen import load_frozen, plan_frozen
from ..inference.load_network import load_network
from ..inference.reuse_settings import InferSettings
from ..inference.views import VIEWED, predict_views
from ..system.clock import Budget, Clock, sum_stages
from ..system.device import Device
from ..system.files import short_hash, write_json
from ..system.paths import find_attached
from ..system.records import Member, load_member, save_member
from ..system.workers import run_jobs
from .features import FEATURES, average_features, extract_features, load_features

PATCHES_PER_PART = 4_096  # predicted between two looks at the clock
HEADS_PER_BATCH = 4_096


@dataclasses.dataclass(frozen=True)
class Kept:
    """A kept network of a run: its place in the run's networks, its file and its facts.

    `output` is the file of its predictions, which is named after the network's content.
    """

    run: KeptRun
    path: Path
    facts: dict
    tta: str
    output: Path

    @property
    def name(self) -> str:
        """The network's name in the log and in run.json."""
        return f"{self.run.build_id} {self.path.stem.replace('_', ' ')}"


def list_kept(runs: list, settings: InferSettings, output: Path) -> list:
    """List the networks of all runs, run by run.

    Raises:
        ValueError: as `read_facts` and `refuse_ranks`.
    """
    kept = []
    for run in runs:
        refuse_ranks(run, settings.labels)
        for name, digest in run.networks.items():
            path = Path(name)
            facts = read_facts(path, run.record["fingerprint"])
            tta = facts["tta"] if settings.tta == "run" else settings.tta
            # Both decide the predictions; the run's fingerprint only covers the settings.
            target = output / "folds" / f"{short_hash(digest + tta)}_{path.stem}.npz"
            kept.append(Kept(run, path, facts, tta, target))
    return kept


def infer(
    kept: list, images: np.ndarray, settings: InferSettings, run: Run, device: Device
) -> Iterator:
    """Predict the test patches by one network after another; take those of an earlier session.

    Args:
        kept: list of Kept.
        images: uint8 array (n, 96, 96, 3).
        settings: InferSettings.
        run, device: Run and Device.

    Yields:
        dict of Kept.output and Member, those that are finished, after every network.

    A frozen transformer that fails, or does not fit in `max_hours`, leaves out its heads alone.

    Raises:
        ValueError: `max_hours` is over before the first network is finished; or what the first
            frozen transformer raised.
    """
    done = {item.output: load_member(item.output) for item in kept if item.output.exists()}
    for item in kept:
        if item.output in done:
            print(f"{item.name} was finished before, taken from {item.output}")
    left = [item for item in kept if item.output not in done]
    budget = start_budget(run)
    if done:
        yield done
    spread = functools.partial(spread_jobs, run=run, device=device, budget=budget, images=images)
    pixels = [item for item in left if not item.facts["backbone"]]
    work = functools.partial(
        predict_network, max_hours=budget.max_hours, fingerprint=run.fingerprint
    )
    for item, member in spread(work, pixels):
        if member is not None:
            done[item.output] = member
            yield done
    groups, reason = {}, None
    for item in (item for item in left if item.facts["backbone"]):
        groups.setdefault(name_features(item, settings.weights), []).append(item)
    for name, heads in groups.items():
        attached = find_attached(f"*_{run.fingerprint}_*.npy", run.data)
        work = functools.partial(
            extract_share,
            head=heads[0],
            name=name,
            weights=settings.weights,
            folder=run.output / FEATURES,
            fingerprint=run.fingerprint,
            attached=attached,
            max_hours=budget.max_hours,
        )
        clock, places = Clock(), (run.output / FEATURES, run.fingerprint, attached)
        try:
            list(spread(work, [(n, device.num_workers) for n in range(device.num_workers)]))
            features = load_features(len(images), name, *places)
        except Exception as error:  # other models and networks are not affected
            reason = reason or error
            print(*(item.name for item in heads), f"left out: {error}", flush=True)
            continue
        for head in heads:
            network, _ = load_network(head.path)
            test = network.predict(
                features.astype("float32"), batch_size=HEADS_PER_BATCH, verbose=0
            )
            clock.end("predict_test", len(images))
            done[head.output] = keep_predictions(head, test[:, 0], clock.stages, run.fingerprint)
            clock = Clock()
            yield done
    if not done:
        raise reason or ValueError(
            "max_hours: no network could be finished. Received: "
            f"max_hours={budget.max_hours:g}. Try: more hours, or fewer views (tta=flip)"
        )


def spread_jobs(
    work: object, jobs: list, *, run: Run, device: Device, budget: Budget, images: np.ndarray
) -> Iterator:
    """Yield the results of jobs, as many at a time as the device has workers."""
    timed = ((job, budget.left()) for job in jobs)  # read when a worker takes the job
    num_workers = min(device.num_workers, len(jobs))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        if jobs:
            yield from run_jobs(work, images, timed, num_workers, device.gpus, scratch)


def name_features(head: Kept, weights: str) -> str:
    """The name of the features that a head takes, the same for all heads of one model."""
    plan = plan_frozen(head.facts, weights), head.facts["backbone"]["revision"], head.tta
    return f"test-{short_hash(repr(plan))}"


def extract_share(
    images: np.ndarray,
    share: tuple,
    seconds_left: float,
    *,
    head: Kept,
    name: str,
    weights: str,
    max_hours: float,
    **places,
) -> float:
    """Extract a worker's share of the features that a head takes; return its images per second."""

    def build():
        return average_features(load_frozen(head.facts, weights=weights), head.tta)

    budget = Budget(max_hours, seconds_left)
    return extract_features(build, images, head.tta, name, budget=budget, share=share, **places)


def predict_network(
    images: np.ndarray, item: Kept, seconds_left: float, *, max_hours: float, fingerprint: str
) -> tuple:
    """Predict all patches with one network and keep the predictions.

    Returns:
        `item`, and a Member, or None if there is no time for it.
    """
    budget, clock = Budget(max_hours, seconds_left), Clock()
    VIEWED.clear()
    keras.backend.clear_session()  # frees the last network
    network, _ = load_network(item.path)
    test = np.zeros(len(images), "float32")
    for start in range(0, len(images), PATCHES_PER_PART):
        needed = clock.total() / start * (len(images) - start) if start else 0
        if needed > budget.left() or budget.left() <= 0:
            print(f"{item.name} cannot finish within max_hours={max_hours:g}", flush=True)
            return item, None
        positions = np.arange(start, min(start + PATCHES_PER_PART, len(images)))
        test[positions], _ = predict_views(network, images, positions, item.tta)
    clock.end("predict_test", len(images))
    rate = clock.stages["predict_test"].images_per_second
    print(f"{item.name} {len(images):,} patches, views {item.tta}, {rate:,.0f}/s", flush=True)
    return item, keep_predictions(item, test, clock.stages, fingerprint)


def keep_predictions(item: Kept, test: np.ndarray, stages: dict, fingerprint: str) -> Member:
    """Save the predictions of a network as those of a member without a validation fold.

    Raises:
        ValueError: they are not finite.
    """
    if not np.isfinite(test).all():
        raise ValueError(f"{item.path} predicts numbers that are not finite. Try: train it again")
    none, facts = np.zeros(0), item.facts
    place = (facts["fold"], facts["seed"], none.astype(int), none, none)
    member = Member(*place, test.astype("float32"), pd.DataFrame(), stages)
    save_member(item.output, member, fingerprint)
    return member


def average_runs(runs: list, kept: list, done: dict) -> np.ndarray:
    """Average the networks of each run as the run did, then the runs: the mean of their log-odds.

    Args:
        runs: list of KeptRun.
        kept: list of Kept.
        done: as `infer` yields it; networks that are not finished are left out.
    """
    parts = []
    for run in runs:
        own = [item for item in kept if item.run is run]
        places = [place for place, item in enumerate(own) if item.output in done]
        if not places:
            continue
        tests = np.stack([done[own[place].output].test for place in places]).astype("float64")
        maps = run.maps and [run.maps[place] for place in places]
        members = [own[place].facts.get("member", "") for place in places]
        parts.append(average_kept(map_kept(tests, maps), members, run.average))
    return ensemble_predictions(parts, "logit") if len(parts) > 1 else parts[0]


def write_inference(run: Run, device: Device, runs: list, kept: list, done: dict) -> dict:
    """Write run.json of the networks that are finished; return its content."""
    missing = [item.name for item in kept if item.output not in done]
    files = [f"folds/{item.output.name}" for item in kept if item.output in done]
    stages = sum_stages([member.stages for member in done.values()])
    record = vars(make_record(run, stages, ["submission.csv", *files], not missing))
    record |= {"device": device.text, "not_trained": missing}
    record["runs"] = [
        {
            **{name: source.record.get(name) for name in ("build_id", "recipe", "oof_auc")},
            "tta": sorted({item.tta for item in kept if item.run is source}),
            "networks": [Path(name).name for name in source.networks],
        }
        for source in runs
    ]
    warning = f"warning: not predicted so far: {', '.join(missing)}; push --resume continues"
    record["warnings"] = [warning] * bool(missing)
    write_json(run.output / "run.json", record)
    return record
