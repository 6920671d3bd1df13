"""The pictures of a finished run, drawn at home from its files."""

from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.analysis.evaluation import Evaluation
from pcam_kaggle.analysis.map_pictures import plot_maps
from pcam_kaggle.system.files import hash_file, read_json, short_hash, write_json

from .assessment import Assessment
from .diagrams import plot_stages
from .learning_charts import find_complete, plot_curves, plot_study
from .maps import gather_maps
from .names import describe_budget, name_trials
from .networks import list_networks
from .reading import ReportRun
from .score_charts import plot_errors, plot_roc, plot_scores

MIN_TRIALS = 2  # completed ones, for a picture of a study
DRAWN = "pictures.json"  # the hashes of every picture as it was drawn, its words and its data


def draw_pictures(runs: list, members: list, assessment: Assessment | None) -> None:
    """Draw what the report shows of its own run, and the learning and studies of the others.

    A picture stays if it and its data are what pictures.json says of the last time. Writes that,
    curves.png, roc.png, scores.png, errors.png, gradcam.png, study.png and network_NAME.png into
    the runs' folders.

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
        path = home.folder / network.picture
        if network.stages:
            seen = network.crop, network.size
            draw(path, [], plot_stages, network.name, network.stages, *seen, path)
    draw_maps(home, members)
    if assessment is not None:
        draw_evaluation(home, assessment.evaluation)


def draw_evaluation(run: ReportRun, evaluation: Evaluation) -> None:
    """Draw roc.png, scores.png and errors.png."""
    roc, scores, errors = (run.folder / f"{name}.png" for name in ("roc", "scores", "errors"))
    name, data = name_run(run), ["oof.csv", "evaluation.json"]
    draw(roc, data[:1], plot_roc, run.oof, run.slides, evaluation, roc, name)
    draw(scores, data[:1], plot_scores, run.oof, evaluation, scores, name)
    draw(errors, data, plot_errors, evaluation, errors, name)


def draw_curves(run: ReportRun) -> None:
    """Draw curves.png."""
    path = run.folder / "curves.png"
    if run.history is not None:
        draw(path, ["history.csv"], plot_curves, run.history, path, name_run(run))


def draw_study(run: ReportRun) -> None:
    """Draw study.png, if trials can be compared."""
    path = run.folder / "study.png"
    if run.study is None or len(find_complete(run.study)) < MIN_TRIALS:
        return
    study = run.record["study"]
    note = f"{name_run(run)}, fold {study['fold']}{describe_budget(run)}"
    if numbers := study.get("within_noise"):
        note += f"; not significantly below the highest: {name_trials(numbers)}"
    data = ["study.csv", "run.json"]
    draw(path, data, plot_study, run.study, run.importance, path, note)


def draw_maps(run: ReportRun, members: list) -> None:
    """Draw gradcam.png.

    An existing picture stays where the networks' files explain nothing, as those of
    older versions and of recipes that leave it out.
    """
    found = gather_maps(run, members)
    names = [f"folds/fold{member.fold}_seed{member.seed}.npz" for member in members]
    path = run.folder / "gradcam.png"
    if found:
        draw(path, names, plot_maps, found, path, name_run(run))


def draw(path: Path, data: list, plot: Callable, *arguments: object) -> None:
    """Draw a picture, unless it is as it was drawn of the same data with the same words.

    Args:
        path: Path of the picture.
        data: names of the files in the same folder that it shows.
        plot: function that draws it, called with `arguments`.
    """
    notes = path.with_name(DRAWN)
    drawn = read_json(notes) if notes.is_file() else {}
    words = [part for part in arguments if isinstance(part, str | int | dict)]
    made_of = [short_hash(repr(words)), *(hash_file(path.parent / name) for name in data)]
    if not path.is_file() or drawn.get(path.name) != [hash_file(path), *made_of]:
        plot(*arguments)
        write_json(notes, {**drawn, path.name: [hash_file(path), *made_of]})


def name_run(run: ReportRun) -> str:
    """How pictures name their run."""
    return f"{run.recipe.replace('_', ' ')}, build {run.record.get('build_id', 'unknown')}"
