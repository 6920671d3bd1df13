"""What follows from the data for a run: its cleaning and the plan that ends section 2."""

from collections.abc import Iterator

from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.exploration import CLASSES

from .methods import COLOR_SETTINGS
from .reading import ReportRun
from .story import Story

FEW = 0.05  # a share of tumor this near to a half is called balanced


def describe_cleaning(home: ReportRun) -> str:
    """Which training patches were left out, in a sentence; "" for a blend, which trains nothing."""
    if not home.settings:
        return ""
    found = {kind: len(ids) for kind, ids in home.record.get("cleaned", {}).items()}
    parts = [f"{number:,} ({kind})" for kind, number in found.items() if number]
    if parts:
        return f"Left out of training: {', '.join(parts)}."
    drawn = " of those drawn" if home.settings.get("num_images") else ""
    return f"No training patch{drawn} was left out."


def plan_labels(story: Story, home: ReportRun, run: ReportRun | None) -> Iterator[str]:
    """What follows from the balance of the classes and from what one number can tell."""
    counts = home.record.get("counts")
    if counts or run:
        known = run.exploration["positive_share"] if run else counts["positive"] / counts["train"]
        trivial = max(known, 1 - known)
        answer = CLASSES[known > 0.5]
        if abs(known - 0.5) < FEW:
            text = f"The classes are nearly balanced ({known:.1%} tumor). "
        else:
            text = f"The classes are not balanced ({known:.1%} tumor). "
        yield (
            f"{text}Calling every patch {answer!r} has an accuracy of {trivial:.1%} and an AUC of "
            f"0.5, so runs are judged by AUC{story.point_at('labels')}."
        )
    if run and run.patches is not None and run.patches["label"].nunique() == 2:
        labels, measured = run.patches["label"], run.patches[["brightness", "tissue"]]
        aucs = {name: roc_auc_score(labels, values) for name, values in measured.items()}
        name = max(aucs, key=lambda name: abs(aucs[name] - 0.5))
        auc = max(aucs[name], 1 - aucs[name])
        what = {"brightness": "mean brightness", "tissue": "share of tissue"}[name]
        yield (
            f"The {what} of a patch alone reaches an AUC of {auc:.3f} on the patches explored. A "
            "network has to do better than that."
        )


def plan_folds(home: ReportRun, run: ReportRun | None) -> Iterator[str]:
    """What the folds do not share."""
    grouping, settings = home.record.get("grouping"), home.settings
    slides = run.exploration.get("slides", {}).get("slides") if run else None
    known = ""
    if slides:
        known = f"The patches come from {slides:,} slides, and those of a slide are alike. "
    if grouping == "patch":
        yield (
            f"{known}The {settings.get('num_folds', '')} folds are stratified by label and drawn "
            "by patch, so they may share slides, which may raise the AUC out of fold."
        )
    elif grouping:
        yield f"{known}The folds are grouped by {grouping}: no {grouping} is in two of them."


def plan_patches(home: ReportRun, run: ReportRun) -> Iterator[str]:
    """What follows from duplicates, blank patches and the test patches."""
    found, clean = run.exploration, home.settings.get("clean", [])
    copies, blank = found["duplicates"], sum(p["patches"] for p in found["blank"].values())
    pairs = copies["exact_pairs"] + copies["near_pairs"]
    for number, kind, text in (
        (
            pairs,
            "duplicates",
            f"{pairs:,} pair{'s' * (pairs != 1)} of duplicates or near-duplicates may put the "
            f"same tissue in two folds, and {copies['label_conflicts']:,} contradict each other",
        ),
        (blank, "blank", f"{blank:,} blank patch{'es' * (blank != 1)} show next to no tissue"),
    ):
        if number and home.settings:
            does = "leaves them out" if kind in clean else "keeps them"
            yield f"{text[0].upper()}{text[1:]}: this run {does}."
    if test := found.get("test"):
        counts, by_class = found["labels"], found["brightness"]
        numbers = [counts[label] for label, name in zip("01", CLASSES) if name in by_class]
        values = [by_class[name] for name in CLASSES if name in by_class]
        if "brightness" in test and sum(numbers):
            train = sum(n * v for n, v in zip(numbers, values)) / sum(numbers)
            gap = test["brightness"] - train
            yield (
                f"The test patches are on average {abs(gap):.1f} gray levels "
                f"{'brighter' if gap > 0 else 'darker'} (of 256) than the training patches."
            )


def plan_colors(story: Story, home: ReportRun, run: ReportRun) -> Iterator[str]:
    """What follows from the spread of the stains."""
    stains = [s for s in run.exploration["stains"] if "positive_share" in s]
    if len(stains) < 2 or not home.settings:
        return
    shares = " and ".join(f"{stain['positive_share']:.1%}" for stain in stains)
    varied = {name: home.settings[name] for name in COLOR_SETTINGS if home.settings.get(name)}
    settings = ", ".join(f"{name} {value:g}" for name, value in varied.items())
    does = f"varies the colors in training ({settings})" if varied else "does not vary the colors"
    yield (
        f"The groups of hue contain {shares} tumor. A network that learns the color of a group "
        f"learns this share, too. This run {does}{story.point_at(run.join('data_stains.png'))}."
    )
