"""Sections 5 and 6 of a report: conclusion, repository and leaderboard."""

from collections.abc import Iterator

import pandas as pd

from ..predictions import describe_groupings, describe_interval
from .assessment import Assessment
from .networks import gather_settings
from .reading import ReportRun
from .results import list_groupings
from .story import Story

LARGE_GAP = 0.03  # of AUC between training and validation: the networks overfit


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
    lines = "\n".join(f"- {sentence}" for sentence in sentences)
    story.text(f"## 5. Conclusion\n\n{lines}".rstrip())
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
    if assessment.auc_one_view is not None and home.settings.get("tta") != "none":
        gain = evaluation.auc - assessment.auc_one_view
        yield (
            f"Test-time views change the AUC out of fold by {gain:+.4f}{story.point_at('gains')}."
        )
    error = evaluation.calibration["ece"]
    yield (
        f"The predicted probabilities are off by {error:.3f} on average"
        f"{describe_maps(home)}{story.point_at('scores.png')}."
    )
    stains = [scores for scores in evaluation.by_stain if scores.auc is not None]
    if len(stains) > 1:
        worst, best = (choose(stains, key=lambda s: s.auc) for choose in (min, max))
        yield (
            f"Cluster {worst.stain + 1} of the stains is the hardest, with an AUC of "
            f"{worst.auc:.4f} versus {best.auc:.4f}{story.point_at('errors.png')}."
        )


def describe_maps(home: ReportRun) -> str:
    """That a run's probabilities are calibrated, "" if they are not."""
    if not any(found.get("maps") for found in home.calibrations.values()):
        return ""
    return f", after calibration ({home.settings['calibration']}, cross-fitted)"


def conclude_run(story: Story, home: ReportRun) -> Iterator[str]:
    """What the training and the leaderboard show."""
    if home.history is not None:
        for name, rows in split_history(home.history).items():
            own = gather_settings(home.settings, name) if name else home.settings
            yield conclude_training(story, name, rows, own.get("head") == "logistic")
    for board in ("public", "private"):
        score = getattr(home.scores, f"{board}_score", "")
        if score and "oof_auc" in home.record:
            gap = float(score) - home.record["oof_auc"]
            yield (
                f"The {board} leaderboard's score is {score}, {abs(gap):.4f} "
                f"{'below' if gap < 0 else 'above'} the AUC out of fold."
            )
    if home.record.get("not_trained"):
        yield f"Not trained: {', '.join(home.record['not_trained'])}."


def split_history(history: pd.DataFrame) -> dict:
    """The rows of history.csv by method, or all of them under "" in a run of one."""
    if "member" not in history:
        return {"": history}
    return dict(tuple(history.groupby("member", sort=False)))


def conclude_training(story: Story, name: str, rows: pd.DataFrame, is_logistic: bool) -> str:
    """Whether networks overfit or are trained too little, by their last epochs."""
    last = rows.groupby(["fold", "seed"]).tail(1)
    gap = (last["auc"] - last["val_auc"]).mean()
    if gap > LARGE_GAP:
        verdict = "the networks overfit"
    elif gap >= 0 or is_logistic:  # which has no epochs
        verdict = "little overfitting"
    else:
        verdict = "rather too little training than overfitting"
    return (
        f"In the last epoch{f' of {name}' if name else ''} the AUC on training patches is "
        f"{abs(gap):.3f} {'above' if gap > 0 else 'below'} that on validation patches: "
        f"{verdict}{story.point_at('curves.png')}."
    )


def conclude_comparison(story: Story, runs: list, comparisons: dict) -> Iterator[str]:
    """What the comparison of the runs shows, each on the patches that it shares with the first."""
    home, estimates = runs[0], {run.name: run.estimate for run in runs}
    for name, found in comparisons.items():
        estimate = estimates[home.name] or estimates[name]
        if isinstance(found, str):
            yield f"{name} and {home.name} {found}{story.point_at('runs')}."
            continue
        yield (
            f"On the patches that both predicted out of fold, the AUC of {name} is "
            f"{'above' if found.difference > 0 else 'below'} that of {home.name} by "
            f"{found.describe()}{f'; {estimate}' if estimate else ''}{story.point_at('runs')}."
        )
    if note := describe_groupings(list_groupings(runs)):
        yield f"{note[0].upper()}{note[1:]}{story.point_at('runs')}."


def conclude_study(story: Story, run: ReportRun) -> Iterator[str]:
    """What a study shows."""
    study = run.record["study"]
    yield (
        f"The study {run.recipe} reached {study['highest_auc']:.4f} in "
        f"{study['trials']} trials{story.point_at(run.join('study.png'))}."
    )
    if study.get("within_noise"):
        yield (
            f"{len(study['within_noise'])} of its other trials are not told apart from the highest "
            f"on the patches of its fold{story.point_at(f'trials of {run.name}')}."
        )
    if study["importance"]:
        setting, share = next(iter(study["importance"].items()))
        yield (
            f"Of its settings {setting} mattered most ({share:.0%} of the variance)"
            f"{story.point_at(run.join('study.png'))}."
        )


def tell_hand_in(story: Story, home: ReportRun, repository: str | None) -> None:
    """Section 6."""
    address = (
        f"The code: <{repository}>"
        if repository
        else "The code: no address yet. Give one with `--repository URL`."
    )
    story.text(f"## 6. Repository and leaderboard\n\n{address}")
    public, private = (
        getattr(home.scores, f"{board}_score", "") or "none" for board in ("public", "private")
    )
    story.figure(
        home,
        "leaderboard.png",
        "The leaderboard.",
        f"Leaderboard: public score {public}, private {private}",
    )
    story.figure(home, "screenshot.png", "Kaggle's page.", "Screenshot of Kaggle's page")
    if "leaderboard.png" not in story.figures:
        story.text(describe_submission(home))


def describe_submission(home: ReportRun) -> str:
    """Whether a run was submitted, and how to do that where it can be done."""
    if home.study is not None:
        return "A study submits nothing."
    shown = "A `screenshot.png` in its folder is shown here."
    if home.scores is not None:
        return f"This run was submitted. For its scores: `python build.py leaderboard`. {shown}"
    if not home.has("push.json"):
        return "This run was not submitted."
    return (
        "This run was not submitted yet (`python build.py submit`, then `python build.py "
        f"leaderboard`). {shown}"
    )
