"""What a report says, section by section: text, tables and figures from a run."""

import dataclasses
import json
import types

from pcam_kaggle.config import ARCHITECTURES, Config
from pcam_kaggle.exploration import CLASSES

from .header import describe_method

SLOTS = {  # the author's own words: slot and what belongs there
    "problem": "What is the problem, why does it matter, what are the data?",
    "exploration": "What do you see in the figures? What do you plan from it?",
    "architectures": "Why do you think that these networks suit this problem?",
    "results": "Which changes helped, which did not, and why?",
    "conclusion": "What did you learn? What would you try next?",
}
LARGE_GAP = 0.03  # of AUC between training and validation: the network over-fits

SETUP = """\
import json
from pathlib import Path

import pandas as pd
from IPython.display import Image, display
from sklearn.metrics import roc_auc_score

RUNS = {places}  # the first is this report's

pd.set_option("display.max_colwidth", None, "display.precision", 4)


def read(name, file):
    path = Path(RUNS[name], file)
    return json.loads(path.read_text("utf-8")) if path.exists() else {{}}


def show(path, alt):
    display(Image(path, alt=alt))


runs = {{name: read(name, "run.json") for name in RUNS}}
run = runs[next(iter(RUNS))]"""

COMPARISON = """\
rows = {}
for name in RUNS:
    one, scores = runs[name], read(name, "submit.json")
    if "oof_auc" not in one:
        continue
    settings = one.get("settings") or {"architecture": "blend: " + one["method"]}
    low, high = one.get("oof_auc_interval", (None, None))
    rows[name] = {
        "network": settings["architecture"],
        "folds": len(one.get("fold_auc", {})) or "-",
        "AUC out of fold": round(one["oof_auc"], 4),
        "95 % interval": f"{low:.4f} to {high:.4f}" if low else "-",
        "public": scores.get("public_score") or "-",
        "private": scores.get("private_score") or "-",
        "minutes": round(one["seconds"] / 60, 1) if "seconds" in one else "-",
    }
pd.DataFrame(rows).T"""

LAST_EPOCHS = """\
history = pd.read_csv("history.csv")
columns = ["fold", "seed", "epoch", "accuracy", "auc", "val_accuracy", "val_auc"]
last = history.groupby(["fold", "seed"]).tail(1)[columns].set_index("fold")
last.rename_axis(index=None, columns="fold")"""

OOF_AUC = """\
oof = pd.read_csv("oof.csv")
folds = {
    f"fold {fold}": roc_auc_score(rows["label"], rows["prediction"])
    for fold, rows in oof.groupby("fold")
}
pd.DataFrame({"ROC AUC": {**folds, "all": run["oof_auc"]}})"""

POINTS = 'pd.DataFrame(run["evaluation"]["operating_points"]).T'
BY_STAIN = """\
stains = pd.DataFrame(run["evaluation"]["by_stain"])
stains = stains.assign(stain=stains["stain"] + 1).set_index("stain")
stains.rename_axis(index=None, columns="stain")"""
LABELS = """\
exploration = read(next(iter(RUNS)), "exploration.json")
labels = pd.Series(exploration["labels"]).rename({{"0": "{0}", "1": "{1}"}})
pd.DataFrame({{"patches": labels, "share": labels / labels.sum()}})"""
ADDS = 'pd.DataFrame({{"ROC AUC out of fold": {rows}}})'
STUDY = """\
study = pd.read_csv("{path}")
best = study.sort_values("value", ascending=False).set_index("number").head(20)
best.rename(columns={{"value": "validation AUC"}}).rename_axis(
    index=None, columns="trial"
)"""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of the notebook; `slot` and `words` where the author's own words stand."""

    source: str
    is_code: bool = False
    slot: str = ""
    words: str = ""


class Story:
    """Cells one after the other, figures and tables numbered as they come."""

    def __init__(self, words):
        self.words = words
        self.cells = []
        self.figures = {}
        self.tables = {}

    def text(self, text):
        self.cells.append(Cell(text))

    def code(self, source):
        self.cells.append(Cell(source, is_code=True))

    def figure(self, told, name, caption, alt):
        """A picture of a run, where it has one, under its number."""
        if not told.has(name):
            return
        path = join(told, name)
        self.figures[path] = number = len(self.figures) + 1
        self.code(f"show({json.dumps(path)}, {json.dumps(alt)})")
        self.text(f"**Figure {number}.** {caption}")

    def table(self, name, source, caption):
        """A table that the notebook makes, under its number."""
        self.tables[name] = number = len(self.tables) + 1
        self.text(f"**Table {number}.** {caption}")
        self.code(source)

    def slot(self, name):
        """The author's own words, or what belongs there."""
        words = self.words[name]
        prompt = f"> *Your words ({name}): {SLOTS[name]}*"
        self.cells.append(Cell(words or prompt, slot=name, words=words))

    def point_at(self, name):
        """(Figure 3) or (Table 4) behind a space; nothing where it is missing."""
        for kind, numbers in (("Figure", self.figures), ("Table", self.tables)):
            if name in numbers:
                return f" ({kind} {numbers[name]})"
        return ""


def join(told, name):
    """A file of a run as the notebook finds it."""
    return name if told.place == "." else f"{told.place}/{name}"


def tell(runs, words, repository):
    """The report's cells, in the order of the course's rubric.

    Args:
        runs: list of Told; the first is the report's own.
        words: dict of slot and the author's own words.
        repository: str, the address, or None.

    Returns:
        List of Cell.
    """
    home, story = runs[0], Story(words)
    recipe = (home.run.get("settings") or {}).get("recipe", "blend")
    story.text(
        f"# Histopathologic Cancer Detection: {recipe}\n\n{describe_origin(home)}"
    )
    places = json.dumps({told.name: told.place for told in runs}, indent=4)
    story.code(SETUP.format(places=places))
    tell_problem(story, home)
    tell_exploration(story, home)
    tell_architectures(story, runs)
    tell_results(story, runs)
    tell_conclusion(story, runs)
    tell_hand_in(story, home, repository)
    return story.cells


def describe_origin(home):
    """What made the run, where and when."""
    run = home.run
    parts = [f"Build `{run['build_id']}`"]
    if "device" in run:
        packages = run["packages"]
        keras = f"keras {packages.get('keras', '?')}"
        parts.append(f"{run['device']}, {run['precision']}, {keras}")
    if "finished" in run:
        parts.append(f"finished {run['finished'][:16].replace('T', ' ')} UTC")
    return ". ".join(parts) + "."


def tell_problem(story, home):
    """Section 1."""
    story.text(
        "## 1. Problem and data\n\n"
        "A pathologist looks for metastases of breast cancer in lymph nodes, on slides "
        "of a hundred thousand pixels a side. Kaggle's competition *Histopathologic "
        "Cancer Detection* asks a smaller question: does the centre of a patch, 32x32 "
        "of its 96x96 pixels, hold tumour tissue? It is scored by the area under the "
        "ROC curve (AUC): the chance that a patch with tumour is ranked above one "
        "without. The patches are PatchCamelyon's (Veeling et al. 2018), cut from the "
        "slides of Camelyon16 (Ehteshami Bejnordi et al. 2017) of two laboratories."
    )
    if "counts" in home.run:
        counts = home.run["counts"]
        share = counts["positive"] / counts["train"]
        story.text(
            f"This run was given {counts['train']:,} labelled patches, "
            f"{counts['positive']:,} of them ({share:.1%}) with tumour, and predicts "
            f"{counts['test']:,} test patches."
        )
    story.slot("problem")


def tell_exploration(story, home):
    """Section 2."""
    story.text("## 2. Exploration")
    found = home.exploration
    if not found:
        story.text(
            "This run left no exploration (`figures=false`, or a blend); `python "
            "build.py eda` explores a folder of data."
        )
        story.slot("exploration")
        return
    story.table("labels", LABELS.format(*CLASSES), "Labels of the training patches.")
    share = found["positive_share"]
    tissue = found["tissue"]
    texts = [f"{tissue[name]:.0%} ({name})" for name in CLASSES if name in tissue]
    story.figure(
        home,
        "data_labels.png",
        f"Left, the classes: {share:.1%} of the patches hold tumour. Right, how much "
        f"of a patch is tissue, not glass: {' against '.join(texts)} on average.",
        f"Bar chart of the two classes, {share:.1%} tumour, beside histograms of the "
        "share of tissue by class",
    )
    story.figure(
        home,
        "data_samples.png",
        "Patches drawn at random. Only the outlined centre decides the label; what "
        "lies around it is context.",
        "Two rows of patches with tumour and two without, their 32x32 centres outlined",
    )
    brightness = found["brightness"]
    texts = [f"{brightness[n]:.0f} ({n})" for n in CLASSES if n in brightness]
    story.figure(
        home,
        "data_pixels.png",
        f"Pixel values by class. Mean brightness: {' against '.join(texts)}, of 255.",
        "Distributions of pixel values of both classes, all channels and each channel",
    )
    story.figure(
        home,
        "data_means.png",
        "The mean patch of each class and their difference: without structure, so "
        "that no place of the patch gives the label away.",
        "Mean patch without tumour, with tumour, and their difference as a heat map",
    )
    blank = {kind: part["patches"] for kind, part in found["blank"].items()}
    copies = found["duplicates"]
    counted = ", ".join(f"{number:,} {kind}" for kind, number in blank.items())
    story.figure(
        home,
        "data_oddities.png",
        f"Odd patches: {counted}; {copies['exact_pairs']:,} pairs of exact and "
        f"{copies['near_pairs']:,} of near duplicates, {copies['label_conflicts']:,} "
        "with contradicting labels.",
        f"Examples of blank patches and of duplicates: {counted}",
    )
    stains = " and ".join(f"{stain['patches']:,}" for stain in found["stains"])
    story.figure(
        home,
        "data_stains.png",
        f"Colours of stain: clusters of {stains} patches by hue (k-means), most likely "
        "the two laboratories. A network must work on both.",
        "Scatter plot of two clusters of hue, beside patches of each cluster",
    )
    story.text(f"**Cleaning.** {describe_cleaning(home.run)}")
    story.slot("exploration")


def describe_cleaning(run):
    """What was left out, in a sentence."""
    if not run.get("cleaned"):
        return "Nothing was left out; `clean=duplicates,blank` would leave those out."
    parts = [f"{len(ids):,} ({kind})" for kind, ids in run["cleaned"].items()]
    return f"Left out of training: {', '.join(parts)}. No test patch is left out."


def tell_architectures(story, runs):
    """Section 3."""
    story.text("## 3. Architectures")
    rows = {}
    for told in runs:
        settings = told.run.get("settings")
        if settings and settings["architecture"] not in rows:
            known = ARCHITECTURES[settings["architecture"]]
            rows[settings["architecture"]] = {
                "what it is": known.text,
                "parameters": f"{known.num_parameters:,}",
                "trained": f"{known.num_trainable:,}",
                "starts from": settings["weights"].replace("\\", "/").split("/")[-1],
                "input": f"{settings['input_size']} pixels",
            }
    if rows:
        text = json.dumps(rows, indent=4)
        story.table("networks", f"pd.DataFrame({text}).T", "The networks.")
    settings = runs[0].run.get("settings")
    if settings:
        story.text(describe_method(types.SimpleNamespace(**settings)))
        changed = [
            field.name
            for field in dataclasses.fields(Config)
            if field.name in settings and settings[field.name] != plain(field.default)
        ]
        names = json.dumps(changed)
        story.table(
            "settings",
            f'pd.DataFrame({{"value": {{n: run["settings"][n] for n in {names}}}}})',
            "Settings that differ from the package's defaults.",
        )
    else:
        members = runs[0].run.get("members", [])
        story.text(f"A blend of {len(members)} runs: {', '.join(members)}.")
    story.slot("architectures")


def plain(value):
    """A setting's default as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def tell_results(story, runs):
    """Section 4."""
    home = runs[0]
    run = home.run
    story.text("## 4. Results and analysis")
    if any("oof_auc" in told.run for told in runs):
        story.table(
            "runs",
            COMPARISON,
            "The runs compared: ROC AUC out of fold (each patch predicted by networks "
            "that did not train on it) with its bootstrap interval, and the "
            "leaderboard's public and private scores where they were submitted.",
        )
    if home.history is not None:
        story.text("### Training")
        story.figure(
            home,
            "curves.png",
            "Accuracy, loss and AUC per epoch; dashed on the training patches as they "
            "are augmented, solid on the validation fold.",
            "Learning curves: accuracy, loss and ROC AUC by epoch for each fold",
        )
        story.table("epochs", LAST_EPOCHS, "The last epoch of each network.")
    elif "study" not in run:
        story.text("This run has no history of its training.")
    if home.oof is not None:
        story.table("folds", OOF_AUC, "ROC AUC on each fold, computed from `oof.csv`.")
    if "evaluation" in run:
        tell_evaluation(story, home)
    for told in runs:
        if told.run.get("adds"):
            tell_blend(story, told)
    for told in runs:
        if told.study is not None:
            tell_study(story, told)
    lacking = run.get("warnings", [])
    if lacking:
        story.text(
            "**Warnings of the run.**\n\n" + "\n".join(f"- {t}" for t in lacking)
        )
    story.slot("results")


def tell_evaluation(story, home):
    """The curves, thresholds, errors and maps of a run."""
    run, evaluation = home.run, home.run["evaluation"]
    low, high = run["oof_auc_interval"]
    story.text("### How good, and how sure")
    story.figure(
        home,
        "roc.png",
        f"ROC and precision-recall curves out of fold: AUC {run['oof_auc']:.4f}, "
        f"{low:.4f} to {high:.4f} with 95 % confidence over the patches drawn. Other "
        "slides differ by more.",
        f"ROC curve with AUC {run['oof_auc']:.4f} and precision-recall curve, with "
        "confidence bands and operating points",
    )
    story.table(
        "points",
        POINTS,
        "Operating points: what calling tumour from a threshold on gives. Youden's "
        "maximises sensitivity plus specificity.",
    )
    before = run["calibration"]["before"]
    story.figure(
        home,
        "scores.png",
        "Predictions of each class, and calibration: expected calibration error "
        f"{before['ece']:.3f}, Brier score {before['brier']:.3f} (0 is perfect).",
        "Histograms of the predictions of both classes beside the calibration curve",
    )
    story.text("### Errors")
    (tn, fp), (fn, tp) = evaluation["confusion"]["counts"]
    threshold = evaluation["confusion"]["threshold"]
    story.figure(
        home,
        "errors.png",
        f"Confusion matrix at the threshold {threshold:.3f}: {fn:,} of {fn + tp:,} "
        f"tumours missed, {fp:,} of {tn + fp:,} others called "
        "tumour; and sensitivity, specificity and AUC by colour of stain.",
        f"Confusion matrix with {tn:,} and {tp:,} right, {fp:,} false alarms and "
        f"{fn:,} missed tumours, beside a bar chart by cluster of stain",
    )
    if evaluation.get("by_stain"):
        story.table("stains", BY_STAIN, "Errors by colour of stain, at that threshold.")
    story.figure(
        home,
        "gradcam.png",
        "Grad-CAM (Selvaraju et al. 2017): where the answer came from, for the surest "
        "hits and the worst errors. Orange spoke for what the network answered; *p* is "
        "the predicted probability of tumour.",
        "Patches beside their Grad-CAM maps: surest tumours, surest others, missed "
        "tumours, false alarms",
    )
    adds = evaluation["adds"]
    rows = {
        "one view, all networks": adds["auc_one_view"],
        "one network per fold": adds["auc_one_network"],
        "as submitted": adds["auc"],
    }
    story.table("adds", ADDS.format(rows=json.dumps(rows)), "What views and seeds add.")
    alike = adds["test_correlation"]
    if alike is not None:
        story.text(
            f"The networks' test predictions correlate by {alike:.3f} (Spearman, mean "
            "of the pairs): the less alike they are, the more their average gains. Out "
            "of fold that gain cannot be seen; the leaderboard shows it."
        )


def tell_blend(story, told):
    """What each member of a blend adds."""
    story.table(
        f"members of {told.name}",
        f'pd.DataFrame(runs[{json.dumps(told.name)}]["adds"]).set_index("run")'
        ".rename_axis(None)",
        f"The members of {told.name}: what each adds to the AUC out of fold.",
    )


def tell_study(story, told):
    """The trials of a study."""
    study = told.run["study"]
    words = " ".join(f"{n}={v}" for n, v in study["overrides"].items())
    name = told.run["settings"]["recipe"]
    story.text(
        f"### Tuning: {name}\n\n{study['trials']} trials on fold {study['fold']}. The "
        f"best, trial {study['winner']} with a validation AUC of "
        f"{study['winner_auc']:.4f}: `{words}`. It was chosen on that very fold, so "
        "that its AUC is too good by a little."
    )
    story.table(
        f"trials of {told.name}",
        STUDY.format(path=join(told, "study.csv")),
        "The best trials of the study.",
    )
    story.figure(
        told,
        "study.png",
        "The study's trials in order, and how much of the variance of the AUC each "
        "setting explains (fANOVA).",
        "Validation AUC by trial, beside a bar chart of the importance of the settings",
    )


def tell_conclusion(story, runs):
    """Section 5: each sentence from a number of the runs, with its figure."""
    sentences = [*conclude_run(story, runs[0]), *conclude_comparison(story, runs)]
    for told in runs:
        if told.study is not None:
            sentences += conclude_study(story, told)
    lines = "\n".join(f"- {sentence}" for sentence in sentences)
    story.text(f"## 5. Conclusion\n\n{lines}".rstrip())
    story.slot("conclusion")


def conclude_run(story, home):
    """What a run's own numbers say."""
    run = home.run
    if "evaluation" not in run:
        if "oof_auc" in run:
            yield f"The AUC out of fold is {run['oof_auc']:.4f}."
        return
    low, high = run["oof_auc_interval"]
    evaluation = run["evaluation"]
    point = evaluation["operating_points"]["specificity 95 %"]
    yield (
        f"The AUC out of fold is {run['oof_auc']:.4f} ({low:.4f} to "
        f"{high:.4f}){story.point_at('roc.png')}."
    )
    yield (
        f"With {point['specificity']:.0%} of the patches without tumour rightly "
        f"passed, {point['sensitivity']:.1%} of the tumours are found"
        f"{story.point_at('roc.png')}."
    )
    if home.history is not None:
        last = home.history.groupby(["fold", "seed"]).tail(1)
        gap = (last["auc"] - last["val_auc"]).mean()
        verdict = "the networks over-fit" if gap > LARGE_GAP else "little over-fitting"
        yield (
            f"In the last epoch the AUC on training patches is {abs(gap):.3f} "
            f"{'above' if gap > 0 else 'below'} that on validation patches: "
            f"{verdict}{story.point_at('curves.png')}."
        )
    adds = evaluation["adds"]
    if run["settings"]["tta"] != "none":
        gain = adds["auc"] - adds["auc_one_view"]
        yield (
            f"Test-time views change the AUC out of fold by {gain:+.4f}"
            f"{story.point_at('adds')}."
        )
    error = run["calibration"]["before"]["ece"]
    verdict = "can be read as such" if error < 0.05 else "are not calibrated"
    yield (
        f"The probabilities {verdict}: they are off by {error:.3f} on average"
        f"{story.point_at('scores.png')}."
    )
    stains = [row for row in evaluation.get("by_stain", []) if row["auc"] is not None]
    if len(stains) > 1:
        worst, best = (f(stains, key=lambda row: row["auc"]) for f in (min, max))
        yield (
            f"Cluster {worst['stain'] + 1} of the stains is the hardest: AUC "
            f"{worst['auc']:.4f} against {best['auc']:.4f}"
            f"{story.point_at('errors.png')}."
        )
    for part in ("public", "private"):
        score = home.scores.get(f"{part}_score")
        if score:
            gap = float(score) - run["oof_auc"]
            yield (
                f"The {part} leaderboard says {score}, {abs(gap):.4f} "
                f"{'below' if gap < 0 else 'above'} the AUC out of fold: its slides "
                "are of other patients."
            )
    if run.get("not_trained"):
        yield f"There was no time for {', '.join(run['not_trained'])}."


def conclude_comparison(story, runs):
    """What the runs say beside each other."""
    scored = [told for told in runs if "oof_auc" in told.run]
    if len(scored) < 2:
        return
    scored.sort(key=lambda told: -told.run["oof_auc"])
    best, second = scored[:2]
    gap = best.run["oof_auc"] - second.run["oof_auc"]
    interval = best.run.get("oof_auc_interval", [0])
    surely = "more" if second.run["oof_auc"] < interval[0] else "no more"
    yield (
        f"{best.name} is the best of {len(scored)} runs out of fold, {gap:.4f} before "
        f"{second.name}: {surely} than the interval of its AUC allows for chance"
        f"{story.point_at('runs')}."
    )
    patches = [set(told.oof.index) for told in (best, second)]
    if patches[0] != patches[1]:
        common = len(patches[0] & patches[1])
        yield (
            "That compares unlike patches: these two have out-of-fold predictions of "
            f"{len(patches[0]):,} and {len(patches[1]):,}, {common:,} of them the same"
            f"{story.point_at('runs')}."
        )


def conclude_study(story, told):
    """What a study says."""
    study = told.run["study"]
    name = told.run["settings"]["recipe"]
    yield (
        f"The study of {name} found {study['winner_auc']:.4f} in {study['trials']} "
        f"trials{story.point_at(join(told, 'study.png'))}."
    )
    if study["importance"]:
        setting, share = next(iter(study["importance"].items()))
        yield f"Of its settings {setting} mattered most ({share:.0%} of the variance)."


def tell_hand_in(story, home, repository):
    """Section 6."""
    address = (
        f"The code: <{repository}>"
        if repository
        else "The code: no address yet; give `--repository URL`."
    )
    story.text(f"## 6. Repository and leaderboard\n\n{address}")
    public, private = (home.scores.get(f"{p}_score") for p in ("public", "private"))
    story.figure(
        home,
        "leaderboard.png",
        "The leaderboard.",
        f"Leaderboard: public score {public or 'none'}, private {private or 'none'}",
    )
    story.figure(
        home, "screenshot.png", "Kaggle's page.", "Screenshot of Kaggle's page"
    )
    if "leaderboard.png" not in story.figures:
        story.text(
            "This run was not submitted yet (`python build.py submit`, `leaderboard`); "
            "a `screenshot.png` in its folder is shown here."
        )
