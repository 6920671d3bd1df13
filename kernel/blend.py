"""Several runs as one submission, from their saved predictions alone."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.contributions import Contribution, describe_gain, measure_contributions
from pcam_kaggle.analysis.scores import count_slides
from pcam_kaggle.inference.ensemble import ensemble_predictions
from pcam_kaggle.inference.submission import write_submission
from pcam_kaggle.system.files import short_hash, write_json, write_table
from pcam_kaggle.system.settings import unknown

from .folders import RUNS
from .predictions import (
    Predictions,
    describe_groupings,
    describe_interval,
    find_slides,
    gather_folds,
    read_predictions,
)
from .records import PushRecord, StatusRecord, now, read_record, write_record
from .stacking import METHODS, blend_oof, fit_weights

LEAST_COMMON = 1_000  # predictions of the same images, where the smallest run has more


@dataclasses.dataclass(frozen=True)
class BlendRecord:
    """A blend's run.json.

    Attributes:
        build_id: str, ten hex digits over the method, the runs and their predictions.
        edited: bool, always False: no kernel has written it.
        oof_auc: float, AUC on the images that all runs have.
        method: str, one of METHODS.
        members: tuple of the names of the runs.
        weights: tuple of the fitted weights, or None.
        adds: tuple of Contribution, one for each run.
        num_patches: int, how many images all runs have.
        num_slides: int, the number of slides drawn for intervals, or None if images were.
        grouping: str, what the folds of all runs do not share; "patch" if those of one are by
            patch, and "" if something else is unknown or differs.
        estimate: str, why scores on other slides may be lower, or "".
        warnings: tuple of what speaks against the blend.
        files: tuple of the names of the blend's files.
    """

    build_id: str
    edited: bool
    oof_auc: float
    method: str
    members: tuple
    weights: tuple | None
    adds: tuple
    num_patches: int
    num_slides: int | None
    grouping: str
    estimate: str
    warnings: tuple
    files: tuple = ("submission.csv", "oof.csv")


def blend_runs(
    folders: list[Path],
    method: str = "mean",
    runs: Path = RUNS,
    say: Callable[[str], None] = print,
    anyway: bool = False,
) -> Path:
    """Blend runs and say what each adds; runs of different folds are first joined into one.

    Everything is measured on out-of-fold predictions of the images that all runs have
    them for; the public score is not consulted. With "fitted" the AUC is that of
    weights fitted on the other folds, and the submission's weights are fitted on all.

    Writes runs/blend-<id>/ with submission.csv, oof.csv, run.json and push.json, which
    `submit` and `leaderboard` take.

    Args:
        folders: Paths of two runs or more.
        method: str, one of METHODS.
        runs: Path of the folder of runs.
        say: function that prints a line.
        anyway: whether to blend with a warning what is refused otherwise: a blend with a lower
            AUC than its best run, or one that rests on few images.

    Returns:
        Path of the blend.

    Raises:
        ValueError: an unknown method, a run without predictions, runs over different
            test images or labels, the same run twice, no image in common, a blend that is
            refused.
    """
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    gathered = gather_folds([read_predictions(folder) for folder in folders], say)
    oof, tables = align(gathered)
    labels, folds = tables[0]["label"].to_numpy(), tables[0]["fold"].to_numpy()
    ids = gathered[0].test.index
    test = np.stack([predictions.test.loc[ids] for predictions in gathered])
    weights = fit_weights(oof, labels) if method == "fitted" else None

    def average(rows):
        return blend_oof(rows, labels, folds, method)

    blended = average(oof)
    names = [predictions.name for predictions in gathered]
    slides = find_slides(tables)
    adds = measure_contributions(names, oof, labels, average, slides, weights)
    auc = float(roc_auc_score(labels, blended))
    num_slides = count_slides(slides)
    groupings = {predictions.name: predictions.grouping for predictions in gathered}
    estimate = next(filter(None, (predictions.estimate for predictions in gathered)), "")
    say_contributions(adds, oof, method, auc, say)
    say(f"intervals {describe_interval(num_slides, estimate)}")
    if note := describe_groupings(groupings):
        say(f"note: {note}")
    warnings = tuple(find_objections(gathered, adds, len(labels), auc))
    if warnings and not anyway:
        raise ValueError(f"{'; '.join(warnings)}. Try: other runs, or --anyway")
    for warning in warnings:
        say(f"warning: {warning}")
    # Another order is the same blend, other predictions of the same builds are another one.
    parts = sorted(
        f"{predictions.build_id} {short_hash(rows.tobytes() + own.tobytes())}"
        for predictions, rows, own in zip(gathered, test, oof)
    )
    record = BlendRecord(
        build_id=short_hash(json.dumps([method, *parts])),
        edited=False,
        oof_auc=auc,
        method=method,
        members=tuple(names),
        weights=None if weights is None else tuple(map(float, weights)),
        adds=tuple(adds),
        num_patches=len(labels),
        num_slides=num_slides,
        grouping=join_groupings(set(groupings.values())),
        estimate=estimate,
        warnings=tuple(f"warning: {warning}" for warning in warnings),
    )
    average = "mean" if method == "fitted" else method
    blend = runs / f"blend-{record.build_id}"
    blend.mkdir(parents=True, exist_ok=True)
    write_submission(blend, ids, ensemble_predictions(test, average, weights))
    table = tables[0].assign(prediction=blended)
    if slides is not None:
        table["slide"] = slides
    write_table(blend / "oof.csv", table.reset_index())
    write_json(blend / "run.json", record)
    record_blend(blend, record, folders)
    return blend


def join_groupings(found: set) -> str:
    """What the folds of a blend do not share, from that of its runs."""
    if "patch" in found:
        return "patch"
    return found.pop() if len(found) == 1 else ""


def find_objections(
    gathered: list[Predictions], adds: list[Contribution], num_common: int, auc: float
) -> Iterator[str]:
    """What speaks against a blend: few images in common, or a better run among its own."""
    if len(gathered) < 2:
        return
    smallest = min(len(predictions.oof) for predictions in gathered)
    half = math.ceil(smallest / 2)
    least = max(half, LEAST_COMMON) if smallest > LEAST_COMMON else half
    if num_common < least:
        yield (
            f"expected {least:,} or more out-of-fold predictions in common, of the {smallest:,} of "
            f"the smallest run. Received: {num_common:,}"
        )
    best = max(adds, key=lambda part: part.oof_auc)
    if auc < best.oof_auc:
        yield f"the blend ({auc:.4f}) scores below its best run {best.run} ({best.oof_auc:.4f})"


def record_blend(blend: Path, record: BlendRecord, folders: list[Path]) -> None:
    """Write push.json and status.json, with the service of the first pushed run."""
    pushes = [read_record(folder, PushRecord) for folder in folders]
    services = [push.service for push in pushes if push]
    push = PushRecord(
        service=services[0] if services else "Kaggle",
        recipe=f"blend {len(record.members)}x {record.method}",
        build_id=record.build_id,
        pushed=now(),
    )
    write_record(blend, push)
    write_record(blend, StatusRecord("COMPLETE", now()))


def align(gathered: list[Predictions]) -> tuple[np.ndarray, list[pd.DataFrame]]:
    """Out-of-fold predictions of the images that all runs have.

    Returns:
        float array (runs, n), and each run's rows of these images.

    Raises:
        ValueError: what cannot be blended; names the two runs.
    """
    first = gathered[0]
    ids = first.oof.index
    for other in gathered[1:]:
        pair = f"{first.name} and {other.name}"
        if set(other.test.index) != set(first.test.index):
            common = len(set(other.test.index) & set(first.test.index))
            raise ValueError(
                f"{pair}: expected the same test images. Received: "
                f"{len(first.test)} and {len(other.test)}, {common} in common"
            )
        ids = ids.intersection(other.oof.index)
        if not len(ids):
            raise ValueError(
                f"{pair}: expected out-of-fold predictions of the same images. "
                "Received: none in common. Try: blend runs of the same folds"
            )
        if (first.oof.loc[ids, "label"] != other.oof.loc[ids, "label"]).any():
            raise ValueError(f"{pair}: expected the same labels. Received: others")
    if first.oof.loc[ids, "label"].nunique() < 2:
        raise ValueError(f"expected images of both labels in common. Received: {len(ids)} of one")
    num_runs = sum(len(predictions.runs) for predictions in gathered)
    build_ids = {predictions.build_id for predictions in gathered}
    if num_runs < 2 or len(build_ids) < len(gathered):
        names = ", ".join(predictions.name for predictions in gathered)
        raise ValueError(f"expected two or more different runs. Received: {names}")
    tables = [predictions.oof.loc[ids] for predictions in gathered]
    return np.stack([table["prediction"] for table in tables]), tables


def say_contributions(
    contributions: list[Contribution],
    oof: np.ndarray,
    method: str,
    auc: float,
    say: Callable[[str], None],
) -> None:
    """Say each run's contribution, their rank correlations and the blend's AUC."""
    correlations = pd.DataFrame(oof.T).corr("spearman").to_numpy()
    say(f"{oof.shape[1]:,} out-of-fold predictions in common")
    say(f"{'run':<34} {'AUC':>7} {'weight':>7} {'adds (95 % interval)':>28}  correlation with each")
    for part, row in zip(contributions, correlations):
        shown = " ".join(f"{value:.3f}" for value in row)
        adds = describe_gain(part.adds, part.interval)
        own = f"{part.oof_auc:>7.4f} {part.weight:>7.3f} {adds:>28}"
        say(f"{part.run[:34]:<34} {own}  {shown}")
    say(f"{'blend, ' + method:<34} {auc:>7.4f}")
