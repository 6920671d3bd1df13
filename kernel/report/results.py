"""Section 4 of a report: scores, errors, explanations, blends and studies."""

import math
import pprint
import statistics
from collections.abc import Iterator

from pcam_kaggle.analysis.evaluation import Evaluation

from ..predictions import describe_interval
from .assessment import Assessment
from .checks import escape
from .comparisons import describe_changes, tell_blend, tell_runs, tell_study
from .methods import gather_settings, is_augmented
from .reading import ReportRun
from .story import HOW_TO_EXPLORE, Story

NAMES = """\
names = {
    "accuracy": "training accuracy",
    "auc": "training AUC",
    "loss": "training loss",
    "val_accuracy": "validation accuracy",
    "val_auc": "validation AUC",
    "val_loss": "validation loss",
}"""

LOG = """\
history = read({name!r}, "history.csv")
keys = [name for name in ("member", "fold", "seed") if name in history]
first = history.groupby(keys, sort=False).ngroup() == 0
columns = ["epoch", *(name for name in names if name in history)]
table = history.loc[first, columns].set_index("epoch").rename(columns=names)"""

LAST_EPOCHS = """\
last = history.groupby(keys, sort=False).tail(1)
columns = [*keys, "epoch", *(name for name in names if name in last)]
table = last[columns].set_index(keys[0]).rename(columns=names)
table.index = [f"{keys[0]} {value}" for value in table.index]"""

OOF_AUC = """\
oof = read(HOME, "oof.csv")
folds = {
    f"fold {fold}": {
        "patches": f"{len(rows):,}",
        "AUC": roc_auc_score(rows["label"], rows["prediction"])
        if rows["label"].nunique() > 1
        else float("nan"),
    }
    for fold, rows in [*oof.groupby("fold"), ("all", oof)]
}
table = pd.DataFrame(folds).T.rename({"fold all": "all"})"""

POINTS = """\
table = pd.DataFrame(evaluation["operating_points"]).T.astype(float)"""
BY_STAIN = """\
stains = pd.DataFrame(evaluation["by_stain"])
stains.index = [f"stain {number + 1}" for number in stains.pop("stain")]
table = stains.rename(columns={"auc": "AUC"})"""


def tell_results(
    story: Story, runs: list, assessment: Assessment | None, comparisons: dict
) -> None:
    """Section 4."""
    home = runs[0]
    story.text("## 4. Results and analysis")
    if any("oof_auc" in run.record for run in runs):
        tell_runs(story, runs, comparisons)
    for run in runs:
        if run.history is not None:
            tell_training(story, run)
    if home.history is None and home.settings and home.oof is not None:
        story.text("This run has no `history.csv`, so its training is not shown.")
    if assessment is not None:
        story.table("folds", OOF_AUC, "ROC AUC on each fold, computed from oof.csv.")
        tell_evaluation(story, home, assessment.evaluation)
        tell_gains(story, assessment)
    for run in runs:
        if run.record.get("adds"):
            tell_blend(story, run)
    for run in runs:
        if run.study is not None:
            tell_study(story, run)
    if lines := [*describe_changes(story, runs, assessment, comparisons)]:
        bullets = "\n".join(f"- {line}" for line in lines)
        story.text(f"### What helped and what did not\n\n{bullets}")
    if home.record.get("warnings"):
        texts = [text.removeprefix("warning: ") for text in home.record["warnings"]]
        lines = "\n".join(f"- {text}" for text in texts)
        story.text(f"**Warnings of the run.**\n\n{lines}")
    story.slot("results")


def tell_training(story: Story, run: ReportRun) -> None:
    """The learning curves of a run, the log of a network, and the last epoch of each."""
    story.text(f"### Training: {run.label}")
    story.figure(
        run,
        "curves.png",
        f"Learning curves of {run.label}{describe_augmented(run)}.",
        f"Learning curves of {run.name}: accuracy, loss and ROC AUC by epoch, in training and "
        "validation",
    )
    keys = [name for name in ("member", "fold", "seed") if name in run.history]
    which = ", ".join(f"{name} {escape(str(run.history[name].iloc[0]))}" for name in keys)
    source = f"{NAMES}\n{LOG.format(name=run.name)}"
    story.table(f"log of {run.name}", source, f"The training log of {run.name}, {which}.")
    if len(run.history.drop_duplicates(keys)) > 1:
        caption = f"The last epoch of each network of {run.name}."
        story.table(f"epochs of {run.name}", LAST_EPOCHS, caption)


def describe_augmented(run: ReportRun) -> str:
    """That the training patches of the curves are augmented, "" if they are not."""
    settings = [gather_settings(run.settings, name) for name in run.members] or [run.settings]
    is_any = any(is_augmented(own) for own in settings)
    return "; training values are on augmented patches" if is_any else ""


def tell_evaluation(story: Story, home: ReportRun, evaluation: Evaluation) -> None:
    """The curves, the operating points, the calibration and the errors."""
    auc, (low, high) = evaluation.auc, evaluation.interval
    story.text("### Scores")
    story.figure(
        home,
        "roc.png",
        f"ROC and precision-recall curves out of fold. The AUC is {auc:.4f}, with a "
        f"95 % interval from {low:.4f} to {high:.4f} "
        f"({describe_interval(evaluation.num_slides, home.estimate)}).",
        f"ROC curve with AUC {auc:.4f} and precision-recall curve, with confidence "
        "bands and operating points",
    )
    story.table(
        "points",
        POINTS,
        "Operating points: the rates if every patch from a threshold on is called "
        "tumor. Youden's threshold maximizes sensitivity plus specificity.",
    )
    error, brier = evaluation.calibration["ece"], evaluation.calibration["brier"]
    story.figure(
        home,
        "scores.png",
        "Predictions of each class, and calibration: the expected calibration error is "
        f"{error:.3f}, the Brier score {brier:.3f} (0 is perfect).",
        "Histograms of the predictions of both classes above the calibration curve",
    )
    if lines := [*describe_calibration(home)]:
        story.text("\n".join(f"- {line}" for line in lines))
    story.text("### Errors")
    tell_errors(story, home, evaluation)
    story.figure(
        home,
        "gradcam.png",
        "Grad-CAM (Selvaraju et al. 2017) of patches with confident predictions, right and wrong: "
        "maps of the regions that support the prediction, from dark to bright; *p* is the "
        "predicted probability of tumor.",
        "Patches beside their Grad-CAM maps, with the predicted probability of tumor of each",
    )


def describe_calibration(run: ReportRun) -> Iterator[str]:
    """What the maps of a calibrated run do to the errors of its networks, or why it has none."""
    kind = run.settings.get("calibration", "fitted")
    for name, found in run.calibrations.items():
        whose = f"the networks of {name}" if name else "the networks"
        if found.get("refused"):
            yield f"Calibration ({kind}) of {whose} was not applied: {found['refused']}."
        elif found.get("maps") and "after" in found:
            before, after = (found[key]["ece"] for key in ("before", "after"))
            yield (
                f"The predictions of {whose} are mapped ({kind}), each network by a map of its "
                f"own. Out of fold, their calibration error is {before:.3f} before and "
                f"{after:.3f} after, each half of a fold by the map of the other half."
            )


def tell_errors(story: Story, home: ReportRun, evaluation: Evaluation) -> None:
    """The confusion matrix, and the errors by color of stain where they are known."""
    (tn, fp), (fn, tp) = evaluation.confusion.counts
    groups = "all patches and of each stain" if evaluation.by_stain else "all patches"
    story.figure(
        home,
        "errors.png",
        f"Confusion matrix at the threshold {evaluation.confusion.threshold:.3f}: "
        f"{fn:,} of {fn + tp:,} patches with tumor missed, {fp:,} of {tn + fp:,} "
        f"others called tumor. Below it, the rates of {groups}.",
        f"Confusion matrix with {tn:,} and {tp:,} right, {fp:,} false alarms and "
        f"{fn:,} missed tumors",
    )
    if evaluation.by_stain:
        caption = "Errors by color of stain, at the same threshold."
        story.table("stains", BY_STAIN, caption)
    else:
        story.prompt(f"To add the errors by color of stain: {HOW_TO_EXPLORE}.")


def tell_gains(story: Story, assessment: Assessment) -> None:
    """What test-time augmentation and further seeds add, and how alike the networks are."""
    seeds, rows, added = assessment.seed_aucs, {}, []
    if assessment.auc_one_view not in (None, assessment.evaluation.auc):
        rows["one view of each patch"] = assessment.auc_one_view
        added.append("test-time augmentation")
    if len(seeds) > 1:
        rows["one network per fold"] = statistics.mean(seeds)
        added.append("further seeds")
    if rows:
        known = assessment.auc_uncalibrated is not None
        last = "all networks, before calibration" if known else "as submitted"
        rows[last] = assessment.auc_networks
        rows = {name: f"{auc:.4f}" for name, auc in rows.items()}
        text = (
            f'table = pd.DataFrame({{"AUC out of fold": {pprint.pformat(rows, sort_dicts=False)}}})'
        )
        without = " and without ".join(added)
        story.table("gains", text, f"The AUC out of fold without {without}, and {last}.")
    if len(seeds) > 1:
        story.text(
            f"One network per fold was trained from each of {len(seeds)} random seeds. Their "
            f"AUC out of fold has a standard deviation of {statistics.stdev(seeds):.4f}."
        )
    if assessment.test_correlation is not None and not math.isnan(assessment.test_correlation):
        text = (
            "The networks' test predictions correlate by "
            f"{assessment.test_correlation:.3f} (Spearman, mean over the pairs). Averages gain "
            "from networks that differ."
        )
        if len(seeds) < 2:
            text += (
                " The AUC out of fold does not show this gain, because one network alone predicts "
                "each patch out of fold."
            )
        story.text(text)
