"""Sections 5 and 6 of a report: conclusion, repository and leaderboard."""

import urllib.parse
from collections.abc import Iterator

import pandas as pd

from ..predictions import describe_groupings, describe_interval
from .assessment import Assessment
from .checks import escape
from .data_sections import COLOR_SETTINGS
from .methods import gather_settings
from .reading import ReportRun
from .story import Story

LARGE_GAP = 0.03  # of AUC between training and validation: the networks overfit
LARGE_ERROR = 0.05  # of calibration: the probabilities are not to be read as such
ADDRESS = ":/?#[]@!$&'()*+,;=%~"  # what an address may hold besides letters and digits


def tell_conclusion(
    story: Story, runs: list, assessment: Assessment | None, comparisons: dict
) -> None:
    """Section 5: each sentence follows from a number of the runs, with its figure."""
    sentences = []
    if assessment is not None:
        sentences += conclude_evaluation(story, runs[0], assessment)
    sentences += [*conclude_run(story, runs[0]), *conclude_comparison(story, runs, comparisons)]
    for run in runs:
        if run.study is not None:
            sentences += conclude_study(story, run)
    story.text("## 5. Conclusion")
    parts = {
        "": sentences,
        "**Limits.**": list_limits(runs[0], assessment),
        "**Next steps.**": list_steps(story, runs[0], assessment),
    }
    for heading, found in parts.items():
        if lines := "\n".join(f"- {sentence}" for sentence in found):
            story.text(f"{heading}\n\n{lines}".strip())
    story.slot("conclusion")


def conclude_evaluation(story: Story, home: ReportRun, assessment: Assessment) -> Iterator[str]:
    """What the out-of-fold predictions show."""
    evaluation = assessment.evaluation
    low, high = evaluation.interval
    point = evaluation.operating_points["specificity 95 %"]
    yield (
        f"The AUC out of fold is {evaluation.auc:.4f} ({low:.4f} to {high:.4f}, "
        f"{describe_interval(evaluation.num_slides, home.estimate)}){story.point_at('roc.png')}."
    )
    yield (
        f"At a specificity of {point.specificity:.0%}, {point.sensitivity:.1%} of the "
        f"tumor patches are found{story.point_at('roc.png')}."
    )
    if assessment.views is not None:
        gain = assessment.views.difference
        yield (
            f"Test-time views change the AUC out of fold by {gain:+.4f}{story.point_at('gains')}."
        )
    error = evaluation.calibration["ece"]
    yield (
        f"The predicted probabilities are off by {error:.3f} on average (expected calibration "
        f"error){describe_maps(home)}{story.point_at('scores.png')}."
    )
    stains = [scores for scores in evaluation.by_stain if scores.auc is not None]
    worst, best = (choose(stains, key=lambda s: s.auc, default=None) for choose in (min, max))
    if stains and worst.auc < best.auc:
        yield (
            f"Of the groups of stain, group {worst.stain + 1} ({worst.patches:,} patches) has the "
            f"lowest AUC, {worst.auc:.4f}; group {best.stain + 1} ({best.patches:,} patches) has "
            f"{best.auc:.4f}{story.point_at('errors.png')}."
        )


def describe_maps(home: ReportRun) -> str:
    """That a run's probabilities are calibrated, "" if they are not."""
    if not any(found.get("maps") for found in home.calibrations.values()):
        return ""
    return f", after calibration ({home.settings.get('calibration', 'fitted')}, cross-fitted)"


def conclude_run(story: Story, home: ReportRun) -> Iterator[str]:
    """What the training and the leaderboard show."""
    if home.history is not None:
        for name, rows in split_history(home.history).items():
            own = gather_settings(home.settings, name) if name else home.settings
            yield conclude_training(story, name, rows, own.get("head") == "logistic")
    for board in ("public", "private"):
        score = home.scores.get(f"{board}_score")
        if score and "oof_auc" in home.record:
            gap = float(score) - home.record["oof_auc"]
            yield (
                f"The score on {name_board(home, board)} is {score}, {abs(gap):.4f} "
                f"{'below' if gap < 0 else 'above'} the AUC out of fold."
            )
    if home.record.get("not_trained"):
        yield f"Not trained: {', '.join(home.record['not_trained'])}."


def name_board(home: ReportRun, board: str = "") -> str:
    """A leaderboard in words, as its service has it."""
    board = f"{board} " * bool(board)
    if home.service == "sandbox":
        return f"the sandbox's {board}leaderboard, which is not Kaggle's,"
    return f"the {board}leaderboard"


def split_history(history: pd.DataFrame) -> dict:
    """The rows of history.csv by method, or all of them under "" in a run of one."""
    if "member" not in history:
        return {"": history}
    return dict(tuple(history.groupby("member", sort=False)))


def conclude_training(story: Story, name: str, rows: pd.DataFrame, is_logistic: bool) -> str:
    """Whether networks overfit, by the gap of their last epochs."""
    gap = measure_gap(rows)
    if gap > LARGE_GAP:
        verdict = "the networks overfit"
    elif is_logistic or gap > 0:  # logistic regression has no epochs
        verdict = "little overfitting"
    else:
        verdict = "no overfitting"
    return (
        f"In the last epoch{f' of {name}' if name else ''} the AUC on training patches is "
        f"{abs(gap):.3f} {'above' if gap > 0 else 'below'} that on validation patches: "
        f"{verdict}{story.point_at('curves.png')}."
    )


def measure_gap(rows: pd.DataFrame) -> float:
    """The AUC in training minus that in validation, the mean of the networks' last epochs."""
    last = rows.groupby(["fold", "seed"]).tail(1)
    return (last["auc"] - last["val_auc"]).mean()


def count_rising(rows: pd.DataFrame) -> tuple[int, int]:
    """The networks with more than one epoch whose last has the highest validation AUC, and all."""
    groups = [table["val_auc"] for _, table in rows.groupby(["fold", "seed"]) if len(table) > 1]
    return sum(auc.iloc[-1] > auc.iloc[:-1].max() for auc in groups), len(groups)


def conclude_comparison(story: Story, runs: list, comparisons: dict) -> Iterator[str]:
    """What the comparison of the runs shows, each on the patches that it shares with the first."""
    home, by_name = runs[0], {run.name: run for run in runs}
    for name, found in comparisons.items():
        run = by_name[name]
        estimate = home.estimate or run.estimate
        if isinstance(found, str):
            yield f"{run.label} and {home.label} {found}{story.point_at('runs')}."
            continue
        side = "above" if found.difference > 0 else "below"
        yield (
            f"On the patches that both predicted out of fold, the AUC of {run.label} is {side} "
            f"that of {home.label} by {found.describe()}{f'; {estimate}' if estimate else ''}"
            f"{story.point_at('runs')}."
        )
    groupings = {run.label: run.record.get("grouping", "") for run in runs if run.oof is not None}
    if note := describe_groupings(groupings):
        yield f"{note[0].upper()}{note[1:]}{story.point_at('runs')}."


def conclude_study(story: Story, run: ReportRun) -> Iterator[str]:
    """What a study shows."""
    study = run.record["study"]
    yield (
        f"The study {run.recipe} reached {study['highest_auc']:.4f} in {len(run.study)} trials"
        f"{story.point_at(f'trials of {run.name}')}."
    )
    if study.get("within_noise"):
        yield (
            f"{len(study['within_noise'])} of its other trials are not told apart from the highest "
            f"on the patches of its fold{story.point_at(f'trials of {run.name}')}."
        )
    if study["importance"]:
        setting, share = max(study["importance"].items(), key=lambda item: item[1])
        yield (
            f"Of its settings {setting} explains most of the variance of the AUC ({share:.0%})"
            f"{story.point_at(run.join('study.png'))}."
        )


def list_limits(home: ReportRun, assessment: Assessment | None) -> Iterator[str]:
    """What the numbers of the report's own run do not cover."""
    settings, record = home.settings, home.record
    if assessment is not None:
        if home.estimate:
            yield f"The AUC out of fold is an estimate: {home.estimate}."
        if assessment.evaluation.num_slides is None:
            yield (
                f"The interval was drawn by patch, from {len(home.oof):,} patches, because their "
                "slides are unknown; patches of a slide are alike, so it is too narrow."
            )
    trained, total = len(record.get("fold_auc", {})), settings.get("num_folds", 0)
    if trained and trained < total:
        yield f"{trained} of {total} folds were trained, so the other patches have no prediction."
    if settings.get("num_seeds") == 1 and home.study is None:
        yield "Each fold has one random seed, so the spread over seeds is unknown."
    if settings.get("num_images"):
        yield f"It learned from {settings['num_images']:,} patches drawn from all."
    if record.get("edited"):
        yield "The page was edited after it was built, so the package does not repeat this run."
    if home.service == "sandbox" and home.scores:
        yield "It was scored in the sandbox, on other patches than Kaggle's."
    if home.study is not None:
        yield f"All trials were scored on fold {home.fold} alone."


def list_steps(story: Story, home: ReportRun, assessment: Assessment | None) -> Iterator[str]:
    """What to try next, each for a reason with its number."""
    settings, record = home.settings, home.record
    epochs = settings.get("epochs", 0)
    if home.history is not None and not home.members and settings.get("head") != "logistic":
        gap, (rising, number) = measure_gap(home.history), count_rising(home.history)
        if rising * 2 > number:
            yield (
                f"Train for more than {epochs} epochs: the validation AUC of {rising} of {number} "
                f"networks is highest in the last epoch{story.point_at('curves.png')}."
            )
        elif number and not rising:
            yield (
                "Train for fewer epochs or stop early: the validation AUC of none of the "
                f"{number} networks is highest in the last epoch{story.point_at('curves.png')}."
            )
        if gap > LARGE_GAP:
            yield (
                f"Augment or regularize more: the AUC in training is {gap:.3f} above that in "
                f"validation{story.point_at('curves.png')}."
            )
    if missing := record.get("not_trained"):
        yield f"Train what is missing: {', '.join(missing)}."
    elif 0 < len(record.get("fold_auc", {})) < settings.get("num_folds", 0):
        yield f"Train all {settings['num_folds']} folds, not {len(record['fold_auc'])}."
    if settings.get("num_images"):
        yield f"Use all patches, not {settings['num_images']:,}."
    if settings.get("tta") == "none":
        yield "Predict several views of each test patch and average them: this run predicts one."
    if settings.get("labels") == "hard":
        yield "Submit probabilities: hard labels have one threshold, and the AUC loses their order."
    if record.get("grouping") == "patch":
        yield "Group the folds by slide, so that the AUC out of fold tells of other slides."
    if assessment is not None and settings.get("calibration") == "none":
        error = assessment.evaluation.calibration["ece"]
        if error > LARGE_ERROR:
            yield (
                f"Calibrate the networks (calibration=platt): the calibration error is {error:.3f}"
                f"{story.point_at('scores.png')}."
            )
    varied = any(settings.get(name) for name in COLOR_SETTINGS)
    aucs = (
        [s.auc for s in assessment.evaluation.by_stain if s.auc is not None] if assessment else []
    )
    if settings and not varied and aucs and max(aucs) - min(aucs) > LARGE_GAP:
        yield (
            f"Vary the colors in training: the AUC differs by {max(aucs) - min(aucs):.3f} between "
            f"the groups of stain{story.point_at('stains')}."
        )
    if home.study is not None:
        yield "Train a run with the settings of the highest trial on all folds."


def tell_hand_in(story: Story, home: ReportRun, repository: str | None) -> None:
    """Section 6."""
    if repository and repository.startswith("https://"):
        address = f"The code: <{urllib.parse.quote(repository, safe=ADDRESS)}>"
    elif repository:
        address = f"The code: {escape(repository)}"
    else:
        address = "The code: no address yet. Give one with `--repository URL`."
    story.text(f"## 6. Repository and leaderboard\n\n{address}")
    board = name_board(home).strip(",")
    public, private = (home.scores.get(f"{name}_score") or "none" for name in ("public", "private"))
    story.figure(
        home,
        "leaderboard.png",
        f"The scores of the run on {board}.",
        f"Leaderboard: public score {public}, private score {private}",
    )
    caption = "A screenshot that the author has added (screenshot.png)."
    story.figure(home, "screenshot.png", caption, "Screenshot of the leaderboard's page")
    if "leaderboard.png" not in story.figures:
        story.text(describe_submission(home))


def describe_submission(home: ReportRun) -> str:
    """Whether a run was submitted, and how to do that where it can be done."""
    if home.study is not None:
        return "A study submits nothing."
    shown = "A `screenshot.png` in its folder is shown here."
    if home.scores:
        return f"This run was submitted. For its scores: `python build.py leaderboard`. {shown}"
    if not home.has("push.json"):
        return "This run was not submitted."
    return (
        "This run was not submitted yet (`python build.py submit`, then `python build.py "
        f"leaderboard`). {shown}"
    )
