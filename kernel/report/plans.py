"""What follows from the data for a run: its cleaning and the plan that ends section 2."""

from collections.abc import Iterator

from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.exploration import CLASSES

from .methods import COLOR_SETTINGS
from .reading import ReportRun
from .story import Story

FEW = 0.05  # a share of tumor this near to a half is called balanced
CLEANED = ("black", "white")  # the blank patches that clean=blank leaves out


def describe_cleaning(home: ReportRun) -> str:
    """Which training patches were left out, in a sentence; "" for a blend, which trains nothing."""
    if not home.settings:
        return ""
    found = {kind: len(ids) for kind, ids in home.record.get("cleaned", {}).items()}
    parts = [f"{number:,} ({kind})" for kind, number in found.items() if number]
    if parts:
        return f"Left out of training: {', '.join(parts)}."
    if home.settings.get("num_images"):
        return "None of the drawn training patches was left out."
    return "No training patch was left out."


def plan_labels(story: Story, home: ReportRun, run: ReportRun | None) -> Iterator[str]:
    """How runs are judged, which follows from the balance of the classes, and what they beat."""
    counts = home.record.get("counts")
    if counts or run:
        known = run.exploration["positive_share"] if run else counts["positive"] / counts["train"]
        trivial = max(known, 1 - known)
        answer = CLASSES[known > 0.5]
        is_balanced = abs(known - 0.5) < FEW
        among = name_explored(home, run) if run else ""
        yield (
            f"{f'{among}t' if among else 'T'}he classes are "
            f"{'nearly' if is_balanced else 'not'} balanced ({known:.1%} tumor), and "
            f"calling every patch {answer!r} has an accuracy of {trivial:.1%} and an AUC of "
            "0.5. So runs are judged by AUC, which does not depend on the balance"
            f"{story.point_at('labels')}."
        )
    if run and run.patches is not None and run.patches["label"].nunique() == 2:
        labels, measured = run.patches["label"], run.patches[["brightness", "tissue"]]
        aucs = {name: roc_auc_score(labels, values) for name, values in measured.items()}
        name = max(aucs, key=lambda name: abs(aucs[name] - 0.5))
        auc = max(aucs[name], 1 - aucs[name])
        what = {"brightness": "mean brightness", "tissue": "share of tissue"}[name]
        reached, verdict = home.record.get("oof_auc"), ""
        if reached is not None:
            is_above = f"{'above' if round(reached, 3) > round(auc, 3) else 'not above'} it"
            verdict = f": the AUC out of fold of this run, {reached:.3f}, is {is_above}"
        yield (
            f"The {what} of a patch alone, {'more' if aucs[name] > 0.5 else 'less'} as tumor, "
            f"reaches an AUC of {auc:.3f} on the patches explored, a baseline{verdict}"
            f"{story.point_at('plan')}."
        )


def plan_folds(home: ReportRun, run: ReportRun | None) -> Iterator[str]:
    """How the folds are drawn, and what that means for the scores."""
    grouping, settings = home.record.get("grouping"), home.settings
    slides = run.exploration.get("slides", {}).get("slides") if run else None
    known = "Patches of a slide are alike, and the slides are not known"
    if slides:
        known = f"The patches come from {slides:,} slides, and those of a slide are alike"
    if grouping == "patch":
        yield (
            f"{known}. The {settings.get('num_folds', '')} folds, stratified by label and drawn by "
            "patch, may share slides, so the AUC out of fold may be too high: it serves to compare "
            "runs on the same patches."
        )
    elif grouping:
        yield (
            f"{f'{known}. ' * bool(slides)}The folds are grouped by {grouping}: no {grouping} is "
            "in two of them, so that no network is scored on one that it has seen."
        )


def plan_patches(home: ReportRun, run: ReportRun) -> Iterator[str]:
    """What a run does about duplicates, blank patches and the light of the test patches."""
    found, settings = run.exploration, home.shared
    if not settings:
        return
    copies = found["duplicates"]
    pairs = copies["exact_pairs"] + copies["near_pairs"]
    blank = {k: part["patches"] for k, part in found["blank"].items() if k in CLEANED}
    number = sum(blank.values())
    kinds = " and ".join(f"{count:,} {kind}" for kind, count in blank.items() if count)
    for count, kind, text in (
        (
            pairs,
            "duplicates",
            f"{pairs:,} pair{'s' * (pairs != 1)} of duplicates or near-duplicates may put the "
            f"same tissue in two folds, and {copies['label_conflicts']:,} of them "
            "have contradicting labels",
        ),
        (number, "blank", f"{kinds} {'patch shows' if number == 1 else 'patches show'} no tissue"),
    ):
        if count:
            among = name_explored(home, run)
            yield f"{among}{text}: this {home.kind} {describe_kept(settings, kind)}."
    test = found.get("test", {})
    gap = measure_gap(found, test["brightness"]) if "brightness" in test else None
    if gap is not None and round(gap, 1):
        yield (
            f"The test patches are on average {abs(gap):.1f} gray levels (of 256) "
            f"{'brighter' if gap > 0 else 'darker'} than the training patches: this {home.kind} "
            f"{describe_light(home, abs(gap))}."
        )


def name_explored(home: ReportRun, run: ReportRun) -> str:
    """Of which patches the numbers of an exploration are, "" if the run has all of them."""
    if not any(one.settings.get("num_images") for one in (home, run)):
        return ""
    return f"Among the {sum(run.exploration['labels'].values()):,} patches explored, "


def describe_kept(settings: dict, kind: str) -> str:
    """What a run does with a kind of patches that its setting clean can leave out."""
    if kind in settings.get("clean", ()):
        return f"leaves such patches out (clean={kind})"
    if "clean" in settings:
        return f"keeps such patches (clean={kind} would leave them out)"
    return "keeps such patches; its recipe has no setting to leave them out"


def measure_gap(found: dict, brightness: float) -> float | None:
    """How much brighter the test patches are than the training patches; None if unknown."""
    counts, by_class = found["labels"], found["brightness"]
    numbers = {name: counts[label] for label, name in zip("01", CLASSES) if name in by_class}
    total = sum(numbers.values())
    if not total:
        return None
    return brightness - sum(n * by_class[name] for name, n in numbers.items()) / total


def describe_light(home: ReportRun, gap: float) -> str:
    """How a run's change of brightness in training compares with a gap in gray levels."""
    settings = home.shared
    if "brightness" in home.settings and "brightness" not in settings:
        return "searches how much to vary the brightness in training"
    largest = 255 * settings.get("brightness", 0)
    if not largest:
        return "does not vary the brightness in training"
    compared = "more" if largest > gap else "not more"
    return (
        f"varies the brightness in training by up to {largest:.1f} "
        f"(brightness={settings['brightness']:g}), {compared} than that"
    )


def plan_colors(story: Story, home: ReportRun, run: ReportRun) -> Iterator[str]:
    """What a run does about the spread of the stains."""
    stains = [s for s in run.exploration["stains"] if "positive_share" in s]
    if len(stains) < 2 or not home.settings:
        return
    shares = " and ".join(f"{stain['positive_share']:.1%}" for stain in stains)
    settings, does = home.shared, []
    if varied := [f"{name}={settings[name]:g}" for name in COLOR_SETTINGS if settings.get(name)]:
        does.append(f"varies the colors in training ({', '.join(varied)})")
    if searched := [name for name in COLOR_SETTINGS if name in home.settings.keys() - settings]:
        does.append(f"searches how much to vary them ({', '.join(searched)})")
    shown, among = story.point_at(run.join("data_stains.png")), name_explored(home, run)
    yield (
        f"{f'{among}s' if among else 'S'}tains 1 and 2 contain {shares} tumor, and "
        "a network that learns the color of a stain learns "
        f"this share, too: this {home.kind} "
        f"{' and '.join(does) or 'does not vary the colors'}{shown}."
    )
