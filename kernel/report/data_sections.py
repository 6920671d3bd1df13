"""Sections 1 and 2 of a report: the problem, the data, their exploration and what follows."""

from pcam_kaggle.analysis.exploration import CLASSES

from .plans import describe_cleaning, plan_colors, plan_folds, plan_labels, plan_patches
from .reading import ReportRun, find_explored
from .story import HOW_TO_EXPLORE, Story

KAGGLE_TRAIN, KAGGLE_TEST = 220_025, 57_458  # patches
PROBLEM = (
    "A pathologist searches lymph nodes for metastases of breast cancer, on slides that measure a "
    "hundred thousand pixels a side. Kaggle's competition [Histopathologic Cancer Detection]"
    "(https://www.kaggle.com/c/histopathologic-cancer-detection) asks a smaller question: does the "
    "center of a patch, 32x32 of its 96x96 pixels, contain tumor tissue? Submissions are scored by "
    "the area under the ROC curve (AUC): the probability that a random patch with tumor is ranked "
    "above a random patch without. The competition's patches are those of PatchCamelyon (Veeling "
    "et al. 2018) without its duplicates, cut from the slides of Camelyon16 (Ehteshami Bejnordi et "
    f"al. 2017), which come from two hospitals: {KAGGLE_TRAIN:,} labeled ones and "
    f"{KAGGLE_TEST:,} to predict. A patch is an RGB image of 96x96 pixels with values from 0 to "
    "255, in a TIFF file."
)
LABELS = """\
labels = {counts}
labels = labels.rename({{0: {0!r}, 1: {1!r}}})
shares = (labels / labels.sum()).map("{{:.1%}}".format)
table = pd.DataFrame({{"patches": labels.map("{{:,}}".format), "share": shares}})"""
COUNT_LABELS = 'read({!r}, "patches.csv")["label"].value_counts().sort_index()'
READ_LABELS = 'pd.Series(read({!r}, "exploration.json")["labels"]).rename(int)'  # of old versions
HEAD = """\
patches = read({name!r}, {file!r})
display(patches.shape)
table = patches.head()"""
INFO = """\
meanings = {{
{meanings}
}}
table = pd.DataFrame({{"type": patches.dtypes.astype(str), "not empty": patches.count()}})
table["different values"] = patches.nunique()
table["meaning"] = [meanings.get(name, "-") for name in patches]"""
DESCRIBE = """\
categories = {categories}  # their values are names: they are counted, not averaged
table = patches.drop(columns=categories).describe().drop("count").map("{{:.3f}}".format)"""
COUNTS = """\
counted = patches.fillna(dict.fromkeys(categories, "no"))
counted = counted.replace({"stain": {-1: "none", 0: "1", 1: "2"}})  # as in the pictures
rows = {
    f"{name} = {value}": {"patches": f"{len(part):,}", "with tumor": f"{part['label'].mean():.1%}"}
    for name in categories[1:]  # the label is the other column
    for value, part in counted.groupby(name)
}
table = pd.DataFrame(rows).T"""
PLAN = """\
patches = read({name!r}, "patches.csv")
labels = patches["label"]
numbers = {{
    "patches with tumor": f"{{labels.mean():.1%}}",
    "accuracy of the more frequent label": f"{{max(labels.mean(), 1 - labels.mean()):.1%}}",
    "black or white patches": f"{{patches['blank'].isin(['black', 'white']).sum():,}}",
    "near-empty patches": f"{{(patches['blank'] == 'near-empty').sum():,}}",
}}
for name in ("brightness", "tissue"):
    auc = roc_auc_score(labels, patches[name])
    side = "more" if auc > 0.5 else "less"
    numbers[f"AUC of {{name}} alone, {{side}} as tumor"] = max(auc, 1 - auc)
for stain, rows in patches[patches["stain"] >= 0].groupby("stain"):
    numbers[f"tumor in stain {{stain + 1}}"] = f"{{rows['label'].mean():.1%}}"
shown = {{name: f"{{n:.3f}}" if isinstance(n, float) else str(n) for name, n in numbers.items()}}
table = pd.DataFrame({{"value": shown}})"""
MEANINGS = {  # of the columns, by file
    "patches.csv": {
        "id": "name of the patch; its image is train/ID.tif",
        "label": "1: the center of the patch contains tumor, 0: it does not",
        "brightness": "mean of all its values, from 0 to 255",
        "tissue": "share of its pixels that are tissue, not glass",
        "blank": "black, white or near-empty (below 5 % tissue); empty for all other patches",
        "hash": "perceptual hash: patches that look the same have nearly the same digits",
        **{
            name: f"mean optical density in {name}: 0 for white, higher for more stain"
            for name in ("red", "green", "blue")
        },
        "stain": "0: stain 1, the more frequent hue, 1: stain 2, the other; -1: no stain",
    },
    "oof.csv": {
        "id": "name of the patch; its image is train/ID.tif",
        "label": "1: the center of the patch contains tumor, 0: it does not",
        "fold": "fold that holds the patch out; networks trained on the others predict it",
        "prediction": "probability of tumor that these networks predict",
        "slide": "slide that the patch was cut from",
    },
}
CATEGORIES = {"patches.csv": ["label", "blank", "stain"], "oof.csv": ["label", "fold"]}


def tell_problem(story: Story, runs: list) -> None:
    """Section 1."""
    home, explored = runs[0], find_explored(runs)
    story.text(f"## 1. Problem and data\n\n{PROBLEM}")
    if "counts" in home.record:
        story.text(describe_size(home, explored))
    tell_tables(story, home, explored)
    story.slot("problem")


def is_competition(run: ReportRun) -> bool:
    """Whether a run had as many patches to predict as the competition, whose they are then."""
    return run.record.get("counts", {}).get("test") == KAGGLE_TEST


def describe_size(home: ReportRun, explored: ReportRun | None) -> str:
    """How many patches a run used, and of how many."""
    counts, drawn = home.record["counts"], home.settings.get("num_images", 0)
    is_checked = home.oof is not None  # that the patches of both are the same
    whole = is_checked and explored and not explored.settings.get("num_images", 0)
    total = explored.record.get("counts", {}).get("train") if whole else None
    used = f"{counts['train']:,} labeled patches"
    if drawn and total and total > counts["train"]:
        used += f", drawn at random from the {total:,} in its folder of data"
    elif drawn:
        used += f", drawn at random (the setting num_images is {drawn:,})"
    elif counts["train"] == KAGGLE_TRAIN:
        used = f"all {used}"
    else:
        used += ", all of those in its data folder"
    predicted = f" It predicted {counts['test']:,} test patches." if home.study is None else ""
    share = counts["positive"] / counts["train"]
    return (
        f"This {home.kind} used {used}. Of these, {counts['positive']:,} ({share:.1%}) contain "
        f"tumor.{predicted}"
    )


def tell_tables(story: Story, home: ReportRun, explored: ReportRun | None) -> None:
    """Size, first rows, columns and statistics of the table of patches."""
    if explored is not None and explored.patches is not None:
        run, file = explored, "patches.csv"
        about = "labels and measurements of the training patches"
    elif home.oof is not None:
        run, file = home, "oof.csv"
        about = "labels of the patches that were predicted out of fold, and the predictions"
    else:
        return
    source = HEAD.format(name=run.name, file=file)
    story.table("head", source, f"The first rows of {file}: {about}.")
    columns = (run.patches if file == "patches.csv" else run.oof.reset_index()).columns
    known = {name: text for name, text in MEANINGS[file].items() if name in columns}
    meanings = "\n".join(f'    "{name}": "{text}",' for name, text in known.items())
    story.table("info", INFO.format(meanings=meanings), f"The columns of {file}.")
    source = DESCRIBE.format(categories=CATEGORIES[file])
    story.table("describe", source, f"Statistics of {file}, without its categories.")
    story.table("counts", COUNTS, f"The categories of {file}: patches, and how many have tumor.")


def tell_exploration(story: Story, runs: list) -> None:
    """Section 2."""
    story.text("## 2. Exploration")
    run, home = find_explored(runs), runs[0]
    if run is None:
        story.prompt(f"To add an exploration of the patches: {HOW_TO_EXPLORE}.")
    else:
        tell_classes(story, run)
        tell_oddities(story, run)
    if cleaning := describe_cleaning(home):
        story.text(f"**Cleaning.** {cleaning}")
    if run and run.patches is not None and run.patches["label"].nunique() == 2:
        source = PLAN.format(name=run.name)
        story.table("plan", source, "The numbers of the plan, computed from patches.csv.")
    lines = [*plan_labels(story, home, run), *plan_folds(home, run)]
    lines += [] if run is None else [*plan_patches(home, run), *plan_colors(story, home, run)]
    if lines:
        bullets = "\n".join(f"- {line}" for line in lines)
        what = f"What the data show, and what this {home.kind} does about it."
        story.text(f"**Plan.** {what}\n\n{bullets}")
    story.slot("exploration")


def tell_classes(story: Story, run: ReportRun) -> None:
    """The two classes: how many patches each has, and how their pixels differ."""
    found = run.exploration
    share = found["positive_share"]
    counts = READ_LABELS if run.patches is None else COUNT_LABELS
    source = LABELS.format(*CLASSES, counts=counts.format(run.name))
    story.table("labels", source, "Labels of the training patches.")
    tissue = compare_classes(found["tissue"], "{:.0%}")
    story.figure(
        run,
        "data_labels.png",
        f"The classes: {share:.1%} of the patches contain tumor. The share of a patch that is "
        f"tissue, not glass, is on average {tissue}.",
        f"Bar chart of the two classes, {share:.1%} tumor, and histograms of the share of tissue "
        "by class",
    )
    story.figure(
        run,
        "data_samples.png",
        "Random patches. Only the outlined center decides the label.",
        "Random patches of each class, their 32x32 centers outlined",
    )
    brightness = compare_classes(found["brightness"], "{:.0f}")
    story.figure(
        run,
        "data_pixels.png",
        f"Pixel values by class. The mean brightness, of 255, is {brightness}.",
        "Distributions of pixel values by class, of all channels and of each",
    )
    story.figure(
        run,
        "data_means.png",
        "The mean patch of each class, and their difference.",
        "Mean patch of each class, and their difference as a heat map",
    )


def compare_classes(values: dict, form: str) -> str:
    """A number of each class, such as "0.78 (no tumor) and 0.95 (tumor)"."""
    known = [name for name in CLASSES if name in values]
    return " and ".join(f"{form.format(values[name])} ({name})" for name in known)


def tell_oddities(story: Story, run: ReportRun) -> None:
    """Blank patches, duplicates and stains."""
    found = run.exploration
    counted, copies = count_blanks(found), found["duplicates"]
    story.figure(
        run,
        "data_oddities.png",
        f"Blank patches: {counted}. Pairs of duplicates: {copies['exact_pairs']:,}, of "
        f"near-duplicates: {copies['near_pairs']:,}; {copies['label_conflicts']:,} of these pairs "
        "have contradicting labels.",
        f"Examples of blank patches ({counted}) and of duplicates, as far as there are any",
    )
    stains = " and ".join(
        f"stain {number} of {stain['patches']:,}" for number, stain in enumerate(found["stains"], 1)
    )
    story.figure(
        run,
        "data_stains.png",
        f"Colors of stain, grouped by hue (k-means): {stains or 'none of any'} patches.",
        "Scatter plot of the stains by hue, and patches of each",
    )


def count_blanks(found: dict) -> str:
    """How many blank patches of each kind there are, such as "1 black and 3 white"."""
    return ", ".join(f"{part['patches']:,} {kind}" for kind, part in found["blank"].items())
