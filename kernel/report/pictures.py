"""The pictures of a finished run, drawn at home from its files."""

import shutil

from pcam_kaggle.analysis.evaluation import Evaluation
from pcam_kaggle.analysis.map_pictures import plot_maps

from .assessment import Assessment
from .diagrams import plot_stages
from .learning_charts import find_complete, plot_curves, plot_study
from .maps import gather_maps
from .names import describe_budget, name_trials
from .networks import list_networks
from .reading import ReportRun
from .score_charts import plot_errors, plot_roc, plot_scores

MIN_TRIALS = 2  # completed ones, for a picture of a study


def draw_pictures(runs: list, members: list, assessment: Assessment | None) -> None:
    """Draw what the report shows of its own run, and the learning and studies of the others.

    Writes curves.png and study.png of each, and roc.png, scores.png, errors.png, gradcam.png and
    network_NAME.png of the first, each where the run has what is made of it. Earlier pictures are
    replaced: anybody may have drawn those.

    Args:
        runs: list of ReportRun, the report's own first.
        members: list of Member, the networks of the report's own run.
        assessment: Assessment of the report's own run, or None for a study.
    """
    home = runs[0]
    for run in runs:
        draw_study(run)
        draw_curves(run)
    for network in list_networks(runs):
        path = home.made / network.picture
        if network.stages:
            plot_stages(network.name, network.stages, network.crop, network.size, path)
    draw_maps(home, members)
    if assessment is not None:
        draw_evaluation(home, assessment.evaluation)


def draw_evaluation(run: ReportRun, evaluation: Evaluation) -> None:
    """Draw roc.png, scores.png and errors.png."""
    name = name_run(run)
    plot_roc(run.oof, run.slides, evaluation, run.made / "roc.png", name)
    plot_scores(run.oof, evaluation, run.made / "scores.png", name)
    plot_errors(evaluation, run.made / "errors.png", name)


def draw_curves(run: ReportRun) -> None:
    """Draw curves.png."""
    if run.history is not None:
        plot_curves(run.history, run.made / "curves.png", name_run(run))


def draw_study(run: ReportRun) -> None:
    """Draw study.png, if a trial differs from the highest or a setting's importance is known."""
    path = run.made / "study.png"
    path.unlink(missing_ok=True)
    if run.study is None or (number := len(find_complete(run.study))) < MIN_TRIALS:
        return
    study = run.record["study"]
    if not run.importance and len(study.get("within_noise", [])) >= number - 1:
        return
    note = f"{name_run(run)}, fold {study['fold']}{describe_budget(run)}"
    if numbers := study.get("within_noise"):
        note += f"; not significantly below the highest: {name_trials(numbers)}"
    plot_study(run.study, run.importance, path, note)


def draw_maps(run: ReportRun, members: list) -> None:
    """Draw gradcam.png.

    An existing picture stays where the networks' files explain nothing, as those of
    older versions and of recipes that leave it out.
    """
    found = gather_maps(run, members)
    earlier, path = run.folder / "gradcam.png", run.made / "gradcam.png"
    if found:
        plot_maps(found, path, name_run(run))
    elif earlier != path and earlier.is_file():
        shutil.copyfile(earlier, path)


def name_run(run: ReportRun) -> str:
    """How pictures name their run."""
    return f"{run.recipe.replace('_', ' ')}, build {run.record.get('build_id', 'unknown')}"
