"""Section 5 of a report: the conclusion, its limits and the next steps."""

from collections.abc import Iterator

import pandas as pd

from ..predictions import describe_groupings, describe_interval
from .assessment import Assessment, has_maps
from .learning_charts import average_networks, describe_curves, find_trend, split_methods
from .methods import gather_settings, is_augmented
from .names import describe_budget, name_setting
from .reading import ReportRun
from .story import Story
from .submission import name_board

LARGE_GAP = 0.03  # of AUC, training above validation
LOWEST_AUC = 0.55  # in validation, below which a network has learned nothing yet
LARGE_ERROR = 0.05  # of calibration: the probabilities are not to be read as such


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
            f"Test-time augmentation changes the AUC out of fold by {gain:+.4f}"
            f"{story.point_at('gains')}."
        )
    error = evaluation.calibration["ece"]
    yield (
        f"The expected calibration error is {error:.3f}, the mean difference between predicted "
        f"probability and share of tumor in bins{describe_maps(home)}"
        f"{story.point_at('scores.png')}."
    )
    stains = [scores for scores in evaluation.by_stain if scores.auc is not None]
    worst, best = (choose(stains, key=lambda s: s.auc, default=None) for choose in (min, max))
    if stains and worst.auc < best.auc:
        yield (
            f"Of the stains, stain {worst.stain + 1} ({worst.patches:,} patches) has the lowest "
            f"AUC, {worst.auc:.4f}; stain {best.stain + 1} ({best.patches:,} patches) has "
            f"{best.auc:.4f}{story.point_at('errors.png')}."
        )


def describe_maps(home: ReportRun) -> str:
    """That a run's probabilities are calibrated, "" if they are not."""
    if not has_maps(home):
        return ""
    return f", after calibration ({home.settings.get('calibration', 'fitted')}, cross-fitted)"


def conclude_run(story: Story, home: ReportRun) -> Iterator[str]:
    """What the training and the leaderboard show."""
    if home.history is not None:
        for name, rows in split_methods(home.history):
            own = gather_settings(home.settings, name) if name else home.settings
            yield from conclude_training(story, name, rows, own)
    for board in ("public", "private"):
        score = home.scores.get(f"{board}_score")
        if score and "oof_auc" in home.record:
            gap = float(score) - home.record["oof_auc"]
            yield (
                f"The score on {name_board(home, board)} is {score}, {describe_side(gap, 4)} "
                "the AUC out of fold."
            )
    if home.record.get("not_trained"):
        yield f"Not trained: {', '.join(home.record['not_trained'])}."


def conclude_training(story: Story, name: str, rows: pd.DataFrame, settings: dict) -> Iterator[str]:
    """How far the AUC in training is from that in validation; nothing where it is unknown."""
    gap = measure_gap(rows)
    if pd.notna(gap):
        patches = "augmented training patches" if is_augmented(settings) else "training patches"
        yield (
            f"In the last epoch{f' of {name}' if name else ''} the AUC on {patches} is "
            f"{describe_side(gap, 3)} that on validation patches{story.point_at('curves.png')}."
        )


def describe_side(gap: float, digits: int) -> str:
    """How far a value is above or below another, such as "0.0120 above", as far as digits show."""
    far = f"{abs(gap):.{digits}f}"
    if not float(far):
        return f"to {digits} digits equal to"
    return f"{far} {'above' if gap > 0 else 'below'}"


def measure_gap(rows: pd.DataFrame) -> float:
    """The AUC in training minus that in validation, the mean of the networks' last epochs."""
    last = rows.groupby(["fold", "seed"]).tail(1)
    return (last["auc"] - last["val_auc"]).mean()


def conclude_comparison(story: Story, runs: list, comparisons: dict) -> Iterator[str]:
    """What the comparison of the runs shows, each on the patches that it shares with the first."""
    home, by_name = runs[0], {run.name: run for run in runs}
    for name, found in comparisons.items():
        run = by_name[name]
        estimate = home.estimate or run.estimate
        if isinstance(found, str):
            yield f"{run.label} and {home.label} {found}{story.point_at('runs')}."
            continue
        _, _, covered = found.describe().partition(" ")
        yield (
            f"On the patches that both predicted out of fold, the AUC of {run.label} is "
            f"{describe_side(found.difference, 4)} that of {home.label} {covered}"
            f"{f'; {estimate}' if estimate else ''}{story.point_at('runs')}."
        )
    groupings = {run.label: run.record.get("grouping", "") for run in runs if run.oof is not None}
    if note := describe_groupings(groupings):
        yield f"{note[0].upper()}{note[1:]}{story.point_at('runs')}."


def conclude_study(story: Story, run: ReportRun) -> Iterator[str]:
    """What a study shows."""
    study = run.record["study"]
    yield (
        f"The highest validation AUC of {run.label} is {study['highest_auc']:.4f}, of "
        f"{len(run.study)} trial{'s' * (len(run.study) != 1)}{describe_budget(run)}: not "
        f"comparable with that of a run{story.point_at(f'trials of {run.name}')}."
    )
    if study.get("within_noise"):
        number = len(study["within_noise"])
        yield (
            f"There is no significant difference between its highest trial and {number} "
            f"other{'s' * (number > 1)} on the patches of its fold"
            f"{story.point_at(f'trials of {run.name}')}."
        )
    setting, share = max(run.importance.items(), key=lambda item: item[1], default=("", 0))
    if share > 0.5:
        yield (
            f"Of its settings, {name_setting(setting)} explains most of the variance of the AUC "
            f"({share:.0%}){story.point_at(run.join('study.png'))}."
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
        verb = "was" if trained == 1 else "were"
        yield f"{trained} of {total} folds {verb} trained: the other patches have no prediction."
    if settings.get("num_seeds") == 1 and home.study is None:
        yield "Each fold has one random seed, so the spread over seeds is unknown."
    drawn, total = settings.get("num_images"), settings.get("num_folds", 0)
    if drawn and total > 1:
        yield (
            f"Of all patches, {drawn:,} were drawn; a network learned from about "
            f"{drawn * (total - 1) // total:,} of them."
        )
    if record.get("edited"):
        yield "The page was edited after it was built, so the package does not repeat this run."
    if home.service == "sandbox" and home.scores:
        yield "It was scored in the sandbox, on other patches than Kaggle's."
    if home.study is not None:
        yield f"All trials were scored on fold {home.fold} alone."


def list_steps(story: Story, home: ReportRun, assessment: Assessment | None) -> Iterator[str]:
    """What to try next, each for a reason with its number."""
    settings, record = home.settings, home.record
    is_one = home.history is not None and "member" not in home.history
    if is_one and settings.get("head") != "logistic":
        yield from list_epochs(story, home.history)
        gap, (*earlier, last) = measure_gap(home.history), average_networks(home.history, "val_auc")
        if gap > LARGE_GAP and earlier and last >= LOWEST_AUC:
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
        yield "Use test-time augmentation: this run predicts one view of each test patch."
    if settings.get("labels") == "hard":
        yield "Submit probabilities: hard labels have one threshold, and the AUC loses their order."
    if record.get("grouping") == "patch":
        how = "hue (split=hue)" if "split" in settings else "slide (slide_map=FILE)"
        yield f"Group the folds by {how}, so that the AUC out of fold reflects unseen slides."
    if assessment is not None and settings.get("calibration") == "none":
        error = assessment.evaluation.calibration["ece"]
        if error > LARGE_ERROR:
            yield (
                f"Calibrate the networks (calibration=platt): the calibration error is {error:.3f}"
                f"{story.point_at('scores.png')}."
            )
    if home.study is not None:
        yield "Train a run with the settings of the highest trial on all folds."


def list_epochs(story: Story, history: pd.DataFrame) -> Iterator[str]:
    """Whether to train for more or fewer epochs, for what the title of the curves says."""
    mean, title = average_networks(history, "val_auc"), describe_curves(history)
    steps = {
        "rises": f"Train for more than {mean.index[-1]} epochs",
        "peaks": "Train for fewer epochs or stop early",
    }
    if step := steps.get(find_trend(mean)):
        yield f"{step}: the {title[0].lower()}{title[1:]}{story.point_at('curves.png')}."
