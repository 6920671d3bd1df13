"""How good a run is, from its out-of-fold predictions and its networks' files."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.agreement import correlate_members, measure_seeds, score_one_view
from pcam_kaggle.analysis.evaluation import Evaluation, StainScores, evaluate_predictions
from pcam_kaggle.analysis.scores import Comparison, compare_auc
from pcam_kaggle.system.files import read_json, write_json
from pcam_kaggle.system.records import Member, load_member

from ..predictions import compare_oof
from .checks import make_record, wrong
from .reading import ReportRun

EVALUATION = "evaluation.json"
MAX_PATCHES = 10_000_000


@dataclasses.dataclass(frozen=True)
class Assessment:
    """How good a run is.

    Attributes:
        evaluation: Evaluation of its out-of-fold predictions.
        auc_one_view: AUC out of fold without test-time views, or None if unknown, or where
            calibration separates the two.
        auc_uncalibrated: AUC out of fold of all networks before calibration; None without it.
        views: the run's predictions compared with those without test-time views, or None where
            these are unknown or calibration separates the two.
        seed_aucs: AUC out of fold of each random seed alone; empty if unknown.
        test_correlation: how alike the networks' test predictions are (Spearman), or
            None if unknown or for one network.
    """

    evaluation: Evaluation
    auc_one_view: float | None = None
    auc_uncalibrated: float | None = None
    views: Comparison | None = None
    seed_aucs: tuple = ()
    test_correlation: float | None = None

    @property
    def auc_networks(self) -> float:
        """AUC out of fold of all networks: as `seed_aucs`, before calibration."""
        known = self.auc_uncalibrated
        return self.evaluation.auc if known is None else known


def compare_runs(runs: list) -> dict:
    """Compare each run with the report's own on the patches that both predicted out of fold.

    Args:
        runs: list of ReportRun, the report's own first.

    Returns:
        dict of the others' names and a Comparison, or a text that says why there is none.
    """
    home, found = runs[0], {}
    for run in runs[1:]:
        if home.oof is not None and run.oof is not None:
            try:
                found[run.name] = compare_oof(run.oof, home.oof)
            except ValueError as error:
                found[run.name] = str(error)
    return found


def read_members(run: ReportRun) -> list[Member]:
    """The networks of a run, by fold and random seed.

    Empty for a run without files of its networks.

    Raises:
        ValueError: a damaged file; names it.
    """
    paths = (run.folder / "folds").glob("fold*_seed*.npz")
    members = [read_member(path) for path in paths]
    return sorted(members, key=lambda member: (member.fold, member.seed))


def read_member(path: Path) -> Member:
    """A network's predictions, as far as the report reads them.

    Raises:
        ValueError: a damaged file; names it.
    """
    try:
        member = load_member(path)
    except (KeyError, TypeError, ValueError) as error:  # an entry is missing, or another is there
        if str(path) in str(error):
            raise
        raise wrong(path, "its arrays", "those of a network", repr(error)) from error
    positions, predictions = member.positions, (member.oof, member.oof_one_view)
    is_whole = positions.dtype.kind in "iu" and positions.ndim == 1
    if not is_whole or not ((positions >= 0) & (positions < MAX_PATCHES)).all():
        raise wrong(path, "positions", f"whole numbers from 0 to {MAX_PATCHES:,}", str(positions))
    for values in predictions:
        if values.shape != positions.shape or not ((values >= 0) & (values <= 1)).all():
            raise wrong(path, "its predictions", "a probability for each position", str(values))
    return member


def assess_run(run: ReportRun, members: list, stains: pd.Series | None) -> Assessment:
    """Assess a run, and write evaluation.json.

    Args:
        run: ReportRun with an oof.csv.
        members: its networks, as `read_members` returns them.
        stains: stains by patch id, or None; then those that an older run measured.
    """
    evaluation = evaluate_run(run, stains)
    write_json(run.made / EVALUATION, evaluation)
    positions, is_mapped = list_positions(members), has_maps(run)
    has_views = not is_mapped and run.settings.get("tta", "none") != "none"
    if len(positions) != len(run.oof):  # a blend, or a run without its networks
        adds = run.record.get("evaluation", {}).get("adds", {})
        return Assessment(
            evaluation,
            auc_one_view=adds.get("auc_one_view") if has_views else None,
            seed_aucs=() if is_mapped else tuple(run.record.get("seed_auc", {}).get("each", ())),
            test_correlation=adds.get("test_correlation"),
        )
    labels = np.zeros(positions[-1] + 1, int)
    labels[positions] = run.oof["label"]
    return Assessment(
        evaluation,
        auc_one_view=score_one_view(labels, members) if has_views else None,
        auc_uncalibrated=score_all_views(labels, members) if is_mapped else None,
        views=compare_views(run, members) if has_views else None,
        seed_aucs=tuple(measure_seeds(labels, members)["each"]),
        test_correlation=correlate_members(members),
    )


def has_maps(run: ReportRun) -> bool:
    """Whether a run's predictions are calibrated; those in its networks' files never are."""
    return any(found.get("maps") for found in run.calibrations.values())


def score_all_views(labels: np.ndarray, members: list) -> float:
    """ROC AUC out of fold of all networks; arguments as for `score_one_view`."""
    parts = [pd.Series(member.oof, member.positions) for member in members]
    predictions = pd.concat(parts).groupby(level=0).mean()
    return float(roc_auc_score(labels[predictions.index], predictions))


def compare_views(run: ReportRun, members: list) -> Comparison:
    """Compare a run's out-of-fold predictions with those of unchanged patches alone."""
    parts = [pd.Series(member.oof_one_view, member.positions) for member in members]
    one_view = pd.concat(parts).groupby(level=0).mean().to_numpy()
    labels, predictions = run.oof["label"].to_numpy(), run.oof["prediction"].to_numpy()
    return compare_auc(labels, predictions, one_view, run.slides)


def list_positions(members: list) -> np.ndarray:
    """The sorted positions of all patches predicted out of fold: the rows of oof.csv."""
    parts = [member.positions for member in members]
    return np.unique(np.concatenate([np.zeros(0, int), *parts]))


def evaluate_run(run: ReportRun, stains: pd.Series | None) -> Evaluation:
    """Evaluate a run's out-of-fold predictions."""
    known = None
    if stains is not None:
        known = stains.reindex(run.oof.index).fillna(-1).astype(int).to_numpy()
    evaluation = evaluate_predictions(
        run.oof["label"].to_numpy(), run.oof["prediction"].to_numpy(), known, run.slides
    )
    if stains is None:
        rows = run.record.get("evaluation", {}).get("by_stain", [])
        by_stain = tuple(make_record(StainScores, row) for row in rows)
        evaluation = dataclasses.replace(evaluation, by_stain=by_stain)
    return evaluation


def keep_interval(run: ReportRun) -> None:
    """Write evaluation.json of a run that is compared, unless that of its own report says it."""
    path, evaluation = run.made / EVALUATION, evaluate_run(run, None)
    known = read_json(path).get("interval") if path.is_file() else None
    if known != [*evaluation.interval]:
        write_json(path, evaluation)
