"""Sections 1 and 2 of a report: the problem, the data and their exploration."""

import json

from pcam_kaggle.analysis.exploration import CLASSES

from .reading import ReportRun, find_explored
from .story import HOW_TO_EXPLORE, Story

PROBLEM = (
    "A pathologist searches lymph nodes for metastases of breast cancer, on slides "
    "that measure a hundred thousand pixels a side. Kaggle's competition "
    "*Histopathologic Cancer Detection* asks a smaller question: does the center of a "
    "patch, 32x32 of its 96x96 pixels, contain tumor tissue? Submissions are scored by "
    "the area under the ROC curve (AUC): the probability that a random patch with "
    "tumor is ranked above a random patch without. The patches are those of "
    "PatchCamelyon (Veeling et al. 2018), cut from the slides of Camelyon16 "
    "(Ehteshami Bejnordi et al. 2017), which come from two hospitals."
)

LABELS = """\
exploration = read({name}, "exploration.json")
labels = pd.Series(exploration["labels"]).rename({{"0": "{0}", "1": "{1}"}})
pd.DataFrame({{"patches": labels, "share": labels / labels.sum()}})"""


def tell_problem(story: Story, home: ReportRun) -> None:
    """Section 1."""
    story.text(f"## 1. Problem and data\n\n{PROBLEM}")
    if "counts" in home.record:
        counts = home.record["counts"]
        share = counts["positive"] / counts["train"]
        predicted = f", and predicted {counts['test']:,} test patches"
        story.text(
            f"This {'run' if home.study is None else 'study'} used {counts['train']:,} labeled "
            f"patches, of which {counts['positive']:,} ({share:.1%}) contain tumor"
            f"{predicted if home.study is None else ''}."
        )
    story.slot("problem")


def tell_exploration(story: Story, runs: list) -> None:
    """Section 2."""
    story.text("## 2. Exploration")
    run = find_explored(runs)
    if run is None:
        story.text(f"To add an exploration of the patches: {HOW_TO_EXPLORE}.")
    else:
        tell_classes(story, run)
        tell_oddities(story, run)
    story.text(f"**Cleaning.** {describe_cleaning(runs[0].record)}")
    story.slot("exploration")


def tell_classes(story: Story, run: ReportRun) -> None:
    """The two classes: how many patches each has, and how their pixels differ."""
    found = run.exploration
    name, share = json.dumps(run.name), found["positive_share"]
    story.table("labels", LABELS.format(*CLASSES, name=name), "Labels of the training patches.")
    tissue = compare_classes(found["tissue"], "{:.0%}")
    story.figure(
        run,
        "data_labels.png",
        f"Top: the classes; {share:.1%} of the patches contain tumor. Bottom: the "
        f"share of a patch that is tissue, not glass, on average {tissue}.",
        f"Bar chart of the two classes, {share:.1%} tumor, above histograms of the "
        "share of tissue by class",
    )
    story.figure(
        run,
        "data_samples.png",
        "Random patches. Only the outlined center decides the label; the rest is context.",
        "Two rows of patches with tumor and two without, their 32x32 centers outlined",
    )
    brightness = compare_classes(found["brightness"], "{:.0f}")
    story.figure(
        run,
        "data_pixels.png",
        f"Pixel values by class. The mean brightness, of 255, is {brightness}.",
        "Distributions of pixel values of both classes, all channels and each channel",
    )
    story.figure(
        run,
        "data_means.png",
        "The mean patch of each class, and their difference. Structure in the "
        "difference would mean that position alone gives the label away.",
        "Mean patch without tumor, with tumor, and their difference as a heat map",
    )


def compare_classes(values: dict, form: str) -> str:
    """A number of each class, such as "0.78 (no tumor) and 0.95 (tumor)"."""
    known = [name for name in CLASSES if name in values]
    return " and ".join(f"{form.format(values[name])} ({name})" for name in known)


def tell_oddities(story: Story, run: ReportRun) -> None:
    """Blank patches, copies and stains."""
    found = run.exploration
    blank = [f"{part['patches']:,} {kind}" for kind, part in found["blank"].items()]
    counted, copies = ", ".join(blank), found["duplicates"]
    story.figure(
        run,
        "data_oddities.png",
        f"Blank patches: {counted}. Copies: {copies['exact_pairs']:,} exact and "
        f"{copies['near_pairs']:,} near pairs, {copies['label_conflicts']:,} of them "
        "with contradicting labels.",
        f"Examples of blank patches and of copies: {counted}",
    )
    stains = " and ".join(f"{stain['patches']:,}" for stain in found["stains"])
    story.figure(
        run,
        "data_stains.png",
        f"Colors of stain: two groups of hue (k-means) of {stains} patches. A network must "
        "work on both.",
        "Scatter plot of two clusters of hue, above patches of each cluster",
    )


def describe_cleaning(record: dict) -> str:
    """Which training patches were left out, in a sentence."""
    if not record.get("cleaned"):
        return "No training patch was left out."
    parts = [f"{len(ids):,} ({kind})" for kind, ids in record["cleaned"].items()]
    return f"Left out of training: {', '.join(parts)}. No test patch was left out."
