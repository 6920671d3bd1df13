"""The pictures of a finished run, drawn at home from its files."""

from pathlib import Path

import numpy as np

from pcam_kaggle.analysis.charts import (
    plot_curves,
    plot_errors,
    plot_maps,
    plot_roc,
    plot_scores,
    plot_study,
)
from pcam_kaggle.analysis.evaluation import Evaluation, band_curves
from pcam_kaggle.analysis.reliability import bin_predictions
from pcam_kaggle.analysis.scores import describe_draws
from pcam_kaggle.analysis.shown import choose_shown

from .assessment import Assessment, list_positions
from .reading import ReportRun


def draw_pictures(runs: list, members: list, assessment: Assessment | None) -> None:
    """Draw what the report shows of its own run, and the studies among the others.

    A picture is drawn only if it is missing or older than its data. Writes curves.png,
    roc.png, scores.png, errors.png, gradcam.png and study.png into the runs' folders.

    Args:
        runs: list of ReportRun, the report's own first.
        members: list of Member, the networks of the report's own run.
        assessment: Assessment of the report's own run, or None for a study.
    """
    home = runs[0]
    for run in runs:
        draw_study(run)
    draw_curves(home)
    draw_maps(home, members)
    if assessment is not None:
        draw_evaluation(home, assessment.evaluation)


def draw_evaluation(run: ReportRun, evaluation: Evaluation) -> None:
    """Draw roc.png, scores.png and errors.png."""
    folder, title = run.folder, name_title(run)
    labels = run.oof["label"].to_numpy()
    predictions = run.oof["prediction"].to_numpy()
    if is_outdated(folder / "roc.png", "oof.csv"):
        curves = band_curves(labels, predictions, run.slides)
        points, interval = evaluation.operating_points, evaluation.interval
        path = folder / "roc.png"
        drawn = describe_draws(evaluation.num_slides)
        plot_roc(curves, points, evaluation.auc, interval, path, f"{title}; intervals {drawn}")
    if is_outdated(folder / "scores.png", "oof.csv"):
        bins = bin_predictions(labels, predictions)
        plot_scores(labels, predictions, bins, folder / "scores.png", title)
    if is_outdated(folder / "errors.png", "oof.csv", "evaluation.json"):
        plot_errors(evaluation, folder / "errors.png", title)


def draw_curves(run: ReportRun) -> None:
    """Draw curves.png."""
    path = run.folder / "curves.png"
    if run.history is not None and is_outdated(path, "history.csv"):
        plot_curves(run.history, path, name_title(run))


def draw_study(run: ReportRun) -> None:
    """Draw study.png."""
    path = run.folder / "study.png"
    if run.study is not None and is_outdated(path, "study.csv", "run.json"):
        study = run.record["study"]
        trials = f"{len(run.study)} trials on fold {study['fold']}"
        title = f"Study of {run.recipe}: {trials}"
        plot_study(run.study, study["importance"], path, title)


def draw_maps(run: ReportRun, members: list) -> None:
    """Draw gradcam.png: over all networks the surest hits and the worst errors.

    An existing picture stays where the networks' files explain nothing, as those of
    older versions and of recipes that leave it out.
    """
    found = gather_maps(run, members)
    names = [f"folds/fold{member.fold}_seed{member.seed}.npz" for member in members]
    path = run.folder / "gradcam.png"
    if not found or not is_outdated(path, *names):
        return
    labels, answers = (np.array([row[i] for row in found]) for i in (0, 1))
    rows = []
    for kind, places in choose_shown(labels, answers).items():
        shown = [(*found[i][2:], f"p = {answers[i]:.3f}") for i in places]
        if shown:
            rows.append((kind, shown))
    plot_maps(rows, path, f"Grad-CAM, {name_title(run)}")


def gather_maps(run: ReportRun, members: list) -> list:
    """The explained patches of all networks: list of (label, prediction, patch, map)."""
    positions = list_positions(members)
    if run.oof is None or len(positions) != len(run.oof):
        return []
    labels, found = dict(zip(positions, run.oof["label"])), {}
    for member in members:
        if member.explanation is None:
            continue
        explained = member.explanation
        for place, patch, heat in zip(explained.shown, explained.patches, explained.maps):
            position = member.positions[place]
            answer = float(member.oof_one_view[place])
            found[position] = (labels[position], answer, patch, heat)
    return [found[position] for position in sorted(found)]


def is_outdated(path: Path, *sources: str) -> bool:
    """Whether a picture is missing or older than a file in the same folder."""
    if not path.is_file():
        return True
    times = [(path.parent / source).stat().st_mtime for source in sources]
    return path.stat().st_mtime < max(times)


def name_title(run: ReportRun) -> str:
    """The title of a run's pictures."""
    return f"{run.recipe}, build {run.record.get('build_id', 'unknown')}"
