"""The pictures of a finished run, drawn at home from its files."""

from pathlib import Path

from pcam_kaggle.analysis.evaluation import Evaluation

from .assessment import Assessment
from .diagrams import plot_stages
from .learning_charts import find_complete, plot_curves, plot_study
from .maps import gather_maps, plot_maps
from .networks import list_networks
from .reading import ReportRun
from .score_charts import plot_errors, plot_roc, plot_scores

MIN_TRIALS = 2  # completed ones, for a picture of a study


def draw_pictures(runs: list, members: list, assessment: Assessment | None) -> None:
    """Draw what the report shows of its own run, and the studies among the others.

    A picture is drawn only if it is missing or older than its data. Writes curves.png,
    roc.png, scores.png, errors.png, gradcam.png, study.png and network_NAME.png into the runs'
    folders.

    Args:
        runs: list of ReportRun, the report's own first.
        members: list of Member, the networks of the report's own run.
        assessment: Assessment of the report's own run, or None for a study.
    """
    home = runs[0]
    for run in runs:
        draw_study(run)
    for network in list_networks(runs):
        path = home.folder / network.picture
        if network.stages and is_outdated(path, "run.json"):
            plot_stages(network.name, network.stages, network.scale, path)
    draw_curves(home)
    draw_maps(home, members)
    if assessment is not None:
        draw_evaluation(home, assessment.evaluation)


def draw_evaluation(run: ReportRun, evaluation: Evaluation) -> None:
    """Draw roc.png, scores.png and errors.png."""
    roc, scores, errors = (run.folder / f"{name}.png" for name in ("roc", "scores", "errors"))
    if is_outdated(roc, "oof.csv"):
        plot_roc(run.oof, run.slides, evaluation, roc, name_run(run))
    if is_outdated(scores, "oof.csv"):
        plot_scores(run.oof, evaluation, scores, name_run(run))
    if is_outdated(errors, "oof.csv", "evaluation.json"):
        plot_errors(evaluation, errors, name_run(run))


def draw_curves(run: ReportRun) -> None:
    """Draw curves.png."""
    path = run.folder / "curves.png"
    if run.history is not None and is_outdated(path, "history.csv"):
        plot_curves(run.history, path, name_run(run))


def draw_study(run: ReportRun) -> None:
    """Draw study.png, if trials can be compared."""
    path = run.folder / "study.png"
    if run.study is None or len(find_complete(run.study)) < MIN_TRIALS:
        return
    if is_outdated(path, "study.csv", "run.json"):
        study = run.record["study"]
        note = f"{name_run(run)}, fold {study['fold']}"
        if study.get("within_noise"):
            numbers = [f"trial {number}" for number in study["within_noise"]]
            note += f"; not told apart from the highest: {', '.join(numbers)}"
        plot_study(run.study, study["importance"], path, note)


def draw_maps(run: ReportRun, members: list) -> None:
    """Draw gradcam.png.

    An existing picture stays where the networks' files explain nothing, as those of
    older versions and of recipes that leave it out.
    """
    found = gather_maps(run, members)
    names = [f"folds/fold{member.fold}_seed{member.seed}.npz" for member in members]
    path = run.folder / "gradcam.png"
    if found and is_outdated(path, *names):
        plot_maps(found, path, name_run(run))


def is_outdated(path: Path, *sources: str) -> bool:
    """Whether a picture is missing or older than a file in the same folder."""
    if not path.is_file():
        return True
    times = [(path.parent / source).stat().st_mtime for source in sources]
    return path.stat().st_mtime < max(times)


def name_run(run: ReportRun) -> str:
    """How pictures name their run."""
    return f"{run.recipe}, build {run.record.get('build_id', 'unknown')}"
