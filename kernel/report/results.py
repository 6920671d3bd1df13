"""Section 4 of a report: scores, errors, explanations, blends and studies."""

import json
import statistics
from collections.abc import Iterator

from pcam_kaggle.analysis.contributions import Contribution, describe_gain
from pcam_kaggle.analysis.evaluation import Evaluation
from pcam_kaggle.analysis.scores import Comparison, describe_draws

from ..predictions import describe_groupings, describe_interval
from .assessment import Assessment
from .reading import ReportRun
from .story import HOW_TO_EXPLORE, Story

COMPARISON = """\
rows = {}
for name in RUNS:
    one, scores = runs[name], read(name, "submit.json")
    if "oof_auc" not in one:
        continue
    settings = one.get("settings") or {"architecture": f"blend: {one.get('method')}"}
    low, high = read(name, "evaluation.json").get("interval", (None, None))
    rows[name] = {
        "network": one.get("network") or settings.get("architecture", one.get("recipe")),
        "folds": len(one.get("fold_auc", {})) or "-",
        "AUC out of fold": round(one["oof_auc"], 4),
        "95 % interval": f"{low:.4f} to {high:.4f}" if low else "-",
        **compared[name],
        "public": scores.get("public_score") or "-",
        "private": scores.get("private_score") or "-",
        "minutes": round(one["seconds"] / 60, 1) if "seconds" in one else "-",
    }
pd.DataFrame(rows).fillna("-").T"""

LAST_EPOCHS = """\
history = pd.read_csv("history.csv")
keys = [name for name in ("member", "fold", "seed") if name in history]
columns = [*keys, "epoch", "accuracy", "auc", "val_accuracy", "val_auc"]
last = history.groupby(keys, sort=False).tail(1)[columns].set_index(keys[0])
last.rename_axis(index=None, columns=keys[0])"""

OOF_AUC = """\
oof = pd.read_csv("oof.csv")
folds = {
    f"fold {fold}": roc_auc_score(rows["label"], rows["prediction"])
    for fold, rows in oof.groupby("fold")
}
pd.DataFrame({"ROC AUC": {**folds, "all": evaluation["auc"]}})"""

POINTS = 'pd.DataFrame(evaluation["operating_points"]).T'
BY_STAIN = """\
stains = pd.DataFrame(evaluation["by_stain"])
stains = stains.assign(stain=stains["stain"] + 1).set_index("stain")
stains.rename_axis(index=None, columns="stain")"""
GAINS = 'pd.DataFrame({{"ROC AUC out of fold": {rows}}})'
STUDY = """\
study = pd.read_csv("{path}")
best = study.sort_values("value", ascending=False).set_index("number").head(20)
best.rename(columns={{"value": "validation AUC"}}).rename_axis(
    index=None, columns="trial"
)"""


def tell_results(
    story: Story, runs: list, assessment: Assessment | None, comparisons: dict
) -> None:
    """Section 4."""
    home = runs[0]
    story.text("## 4. Results and analysis")
    if any("oof_auc" in run.record for run in runs):
        tell_runs(story, runs, comparisons)
    if home.history is not None:
        tell_training(story, home)
    elif home.settings and home.oof is not None:
        story.text("This run has no `history.csv`, so its training is not shown.")
    if assessment is not None:
        story.table("folds", OOF_AUC, "ROC AUC on each fold, computed from `oof.csv`.")
        tell_evaluation(story, home, assessment.evaluation)
        tell_gains(story, assessment)
    for run in runs:
        if run.record.get("adds"):
            tell_blend(story, run)
    for run in runs:
        if run.study is not None:
            tell_study(story, run)
    if home.record.get("warnings"):
        lines = "\n".join(f"- {text}" for text in home.record["warnings"])
        story.text(f"**Warnings of the run.**\n\n{lines}")
    story.slot("results")


def tell_runs(story: Story, runs: list, comparisons: dict) -> None:
    """The runs: each on its own patches, and compared with the first on common ones."""
    compared = {run.name: {"patches": "-"} for run in runs}
    for run in runs:
        if run.oof is not None:
            compared[run.name]["patches"] = f"{len(run.oof):,}"
    for name, found in comparisons.items():
        if isinstance(found, str):
            compared[name]["difference"] = found
        else:
            compared[name]["difference"] = describe_gain(found.difference, found.interval)
            compared[name]["common patches"] = f"{found.num_patches:,}"
    caption = "The runs of this report. The AUC of a run is that of its own out-of-fold patches."
    if comparisons:
        caption += (
            f" The difference is a run's AUC minus that of {runs[0].name} on the patches that both "
            "predicted out of fold, with its 95 % interval."
        )
    if any(run.oof is not None and run.slides is None for run in runs):
        caption += f" Where slides are unknown, intervals are {describe_draws(None)}."
    for text in dict.fromkeys(run.estimate for run in runs if run.estimate):
        names = ", ".join(run.name for run in runs if run.estimate == text)
        caption += f" {names}: {text}."
    if note := describe_groupings(list_groupings(runs)):
        caption += f" Note: {note}."
    story.table("runs", f"compared = {json.dumps(compared, indent=4)}\n{COMPARISON}", caption)


def list_groupings(runs: list) -> dict:
    """What the folds of each run do not share, by name, of those that have predictions."""
    return {run.name: run.record.get("grouping", "") for run in runs if run.oof is not None}


def tell_training(story: Story, home: ReportRun) -> None:
    """The learning curves, and the last epoch in numbers."""
    story.text("### Training")
    story.figure(
        home,
        "curves.png",
        "Learning by epoch: dashed on the augmented training patches, solid on the "
        "validation fold.",
        "Learning curves: accuracy, loss and ROC AUC by epoch for each fold",
    )
    story.table("epochs", LAST_EPOCHS, "The last epoch of each network.")


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
        "Grad-CAM (Selvaraju et al. 2017): the most confident hits and the worst errors, above "
        "maps of the regions that support the prediction, from dark to bright; *p* is the "
        "predicted probability of tumor.",
        "Patches above their Grad-CAM maps: most confident tumors, most confident "
        "others, missed tumors, false alarms",
    )


def describe_calibration(run: ReportRun) -> Iterator[str]:
    """What the maps of a calibrated run do to the errors of its networks, or why it has none."""
    kind = run.settings.get("calibration")
    for name, found in run.calibrations.items():
        whose = f"the networks of {name}" if name else "the networks"
        if found.get("refused"):
            yield f"Calibration ({kind}) of {whose} was not applied: {found['refused']}."
        elif found.get("maps"):
            before, after = (found[key]["ece"] for key in ("before", "after"))
            yield (
                f"The predictions of {whose} are mapped ({kind}), each network by a map of its "
                f"own. Out of fold, their calibration error is {before:.3f} before and "
                f"{after:.3f} after, each half of a fold by the map of the other half."
            )


def tell_errors(story: Story, home: ReportRun, evaluation: Evaluation) -> None:
    """The confusion matrix, and the errors by color of stain where they are known."""
    (tn, fp), (fn, tp) = evaluation.confusion.counts
    groups = "all patches and of each color of stain" if evaluation.by_stain else "all patches"
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
        story.text(f"To add the errors by color of stain: {HOW_TO_EXPLORE}.")


def tell_gains(story: Story, assessment: Assessment) -> None:
    """What test-time views and further seeds add, and how alike the networks are."""
    seeds, rows = assessment.seed_aucs, {}
    if assessment.auc_one_view is not None:
        rows["one view, all networks"] = assessment.auc_one_view
    if seeds:
        rows["one network per fold"] = statistics.mean(seeds)
    if rows:
        rows["as submitted"] = assessment.evaluation.auc
        caption = "What test-time views and further seeds add."
        story.table("gains", GAINS.format(rows=json.dumps(rows)), caption)
    if len(seeds) > 1:
        story.text(
            f"One network per fold was trained from each of {len(seeds)} random seeds. Their "
            f"AUC out of fold has a standard deviation of {statistics.stdev(seeds):.4f}."
        )
    if assessment.test_correlation is not None:
        story.text(
            "The networks' test predictions correlate by "
            f"{assessment.test_correlation:.3f} (Spearman, mean over the pairs). The less "
            "alike they are, the more their average gains. The leaderboard shows this "
            "gain. The out-of-fold score cannot, because only one fold's networks "
            "predict each patch."
        )


def tell_blend(story: Story, run: ReportRun) -> None:
    """What each member of a blend adds, or each method of a run of several."""
    rows = {}
    for row in run.record["adds"]:
        part = Contribution(**row)
        rows[part.run] = {
            "AUC out of fold": round(part.oof_auc, 4),
            "weight": round(part.weight, 3),
            "adds": describe_gain(part.adds, part.interval),
        }
    drawn = describe_interval(run.record.get("num_slides"), run.estimate)
    story.table(
        f"members of {run.name}",
        f"pd.DataFrame({json.dumps(rows, indent=4)}).T",
        f"The members of {run.name}, and how much each adds to the AUC out of fold, with the "
        f"95 % interval ({drawn}). All are scored on the {len(run.oof):,} patches in common.",
    )


def describe_second(study: dict) -> str:
    """How far the second trial is below the one with the highest AUC."""
    if "second" not in study or study["not_compared"]:
        return "How far it is above the others is unknown."
    if study["second"] is None:
        return "No other trial was completed."
    found = dict(study["second"])
    text = (
        f"Trial {found.pop('trial')}, the second, is below it by {Comparison(**found).describe()}."
    )
    if study["within_noise"]:
        numbers = ", ".join(map(str, study["within_noise"]))
        text += f" Not told apart from it on these patches: trials {numbers}."
    return text


def tell_study(story: Story, run: ReportRun) -> None:
    """The trials of a study."""
    study = run.record["study"]
    words = " ".join(f"{name}={value}" for name, value in study["overrides"].items())
    story.text(
        f"### Tuning: {run.recipe}\n\n{study['trials']} trials on fold "
        f"{study['fold']}. Trial {study['highest']} has the highest validation AUC, "
        f"{study['highest_auc']:.4f}: `{words}`. {describe_second(study)} It was chosen on the "
        "same fold, so its AUC is too high."
    )
    path = run.join("study.csv")
    story.table(
        f"trials of {run.name}", STUDY.format(path=path), "The trials with the highest AUC."
    )
    caption, alt = "The study's trials in order", "Validation AUC by trial"
    if study["importance"]:
        caption += ", and how much of the AUC's variance each setting explains (fANOVA)"
        alt += ", above a bar chart of the importance of the settings"
    story.figure(run, "study.png", f"{caption}.", alt)
