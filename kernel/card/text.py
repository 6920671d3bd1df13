"""The text of a model card: each sentence is a fact, or follows from a number of the run."""

import collections
import re
from collections.abc import Iterable, Iterator

from pcam_kaggle.inference.kept_runs import parse_network

from ..facts.networks import load_networks
from ..facts.references import list_cited
from ..predictions import describe_interval
from ..report.assessment import Assessment
from ..report.checks import escape
from ..report.conclusion import list_limits
from ..report.data_sections import describe_size, is_competition
from ..report.methods import (
    describe_labels,
    describe_method,
    describe_several,
    describe_views,
    find_network,
)
from ..report.plans import describe_cleaning, plan_folds
from ..report.reading import ReportRun
from ..report.results import describe_calibration
from ..report.submission import name_board
from .bases import LICENSES, Base
from .measures import Group, Measures
from .network_files import NetworkFile
from .sentences import (
    EXAMPLE,
    FEW_SLIDES,
    GENERATED,
    IMPORTS,
    INTENDED,
    LOAD,
    NEEDS,
    OTHERS,
    PARTS,
    POINTS,
    PREDICT,
    PURPOSE,
    ROUGH,
    SOURCE,
)


def make_text(
    run: ReportRun,
    kept: list[NetworkFile],
    bases: list[Base],
    measures: Measures | None,
    explored: str,
    is_flat: bool,
) -> str:
    """The model card of a run as Markdown, without < and >, which Kaggle's client escapes.

    Args:
        run: ReportRun, whose texts are escaped.
        kept: its networks.
        bases: what they started from.
        measures: Measures, or None without out-of-fold predictions.
        explored: the name of the exploration that knows the groups of hue, or "".
        is_flat: whether the networks lie beside the card, with example.py.
    """
    parts = [
        f"# Model card: {run.label}",
        PURPOSE,
        *([] if is_flat else [GENERATED]),
        describe_networks(run, kept),
        f"## Intended use\n\n{INTENDED}",
        f"## Data\n\n{'' if is_competition(run) else OTHERS}{SOURCE}",
        *describe_data(run),
        f"## Training\n\n{describe_training(run)}",
    ]
    if measures is not None:
        parts += describe_measures(run, measures, describe_averaged(run, kept))
        parts += ["## By group of hue", describe_groups(measures.groups, explored)]
    parts += describe_scores(run)
    parts += ["## Limits", join_lines(describe_limits(run, measures))]
    parts += ["## License", join_lines(describe_license(bases))]
    parts += ["## How to use", *describe_use(kept, is_flat)]
    text = "\n\n".join(parts)
    if cited := list_cited(text):
        lines = join_lines(re.sub("<(.*?)>", r"\1", line) for line in cited)
        text += f"\n\n## References\n\n{lines}"
    return f"{text}\n"


def join_lines(lines: Iterable[str]) -> str:
    """Sentences as a list."""
    return "\n".join(f"- {line}" for line in lines)


def make_table(header: tuple, rows: list[tuple]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def describe_networks(run: ReportRun, kept: list[NetworkFile]) -> str:
    """A table: what the networks are, take and return."""
    record, settings = run.record, run.settings
    networks, known = f"{len(kept)}", load_networks().get(find_network(run))
    if run.members:
        networks += f", of the methods {', '.join(run.methods)}"
    elif name := find_network(run):
        networks += f" of {name}{f': {known.text}' if known else ''}"
    if "num_parameters" in record and not run.members:
        networks += f"; {record['num_parameters']:,} parameters each"
    crop, size = settings.get("crop_size", 96), settings.get("input_size", 96)
    seen = "a network sees all of it"
    seen = seen if crop == 96 else f"a network sees its center of {crop}x{crop} pixels"
    seen += f", resized to {size}x{size}" if size != crop else ""
    views = describe_views(settings) or " in one view"
    rows = [
        ("networks", networks),
        ("files", f"Keras's format, {sum(network.size for network in kept) / 1e6:.1f} MB in all"),
        ("input", f"a patch of 96x96 pixels, RGB, 8 bits{'' if run.members else f'; {seen}'}"),
        ("output", f"a probability from each network{views}; their average is the prediction"),
        ("recipe, build", f"{run.recipe}, `{record.get('build_id') or 'unknown'}`"),
    ]
    packages = record.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in ("keras", "tensorflow") if name in packages]
    trained = [record.get("finished", "")[:10], record.get("device", ""), ", ".join(versions)]
    if any(trained):
        rows.append(("trained", "; ".join(filter(None, trained))))
    return make_table(("", "what it is"), rows)


def describe_data(run: ReportRun) -> Iterator[str]:
    """How many patches the run had, which were left out, how they were split."""
    if "counts" in run.record:
        yield " ".join(filter(None, (describe_size(run, None), describe_cleaning(run))))
    lines = [*plan_folds(run, None)]
    if run.estimate:
        lines.append(f"What that means for the figures below: {run.estimate}.")
    if run.record.get("num_slides"):
        lines.append(f"The patches of {run.record['num_slides']:,} slides were told apart.")
    if lines:
        yield join_lines(lines)


def describe_training(run: ReportRun) -> str:
    """The method in a paragraph, or a list of methods."""
    return f"Here {describe_several(run)}" if run.members else describe_method(run)


def describe_averaged(run: ReportRun, kept: list[NetworkFile]) -> str:
    """That more networks predict a new patch than one out of fold, "" if they are the same."""
    folds = collections.Counter(parse_network(network.path)[0] for network in kept)
    fewest, most = min(folds.values()), max(folds.values())
    if most == len(kept):
        return ""
    number = f"{fewest} to {most}" if fewest < most else f"{most}"
    networks = "one network" if most == 1 else f"{number} networks"
    known = "has no other figure than the score of the submission below"
    if not any(run.scores.get(f"{part}_score") for part in PARTS):
        known = "was not measured on labeled patches"
    return (
        f" These figures are of {networks} per patch. The average of all {len(kept)}, which "
        f"predicts new patches, {known}."
    )


def describe_measures(run: ReportRun, measures: Measures, averaged: str) -> Iterator[str]:
    """The sections on accuracy, operating points and calibration."""
    found = measures.evaluation
    yield "## Performance out of fold"
    yield (
        f"Each of {len(run.oof):,} patches was predicted by networks that did not train on it."
        f"{averaged}"
    )
    yield make_table(("patches", "with tumor", "ROC AUC", "95 % interval"), list_aucs(run, found))
    is_rough = found.num_slides is not None and found.num_slides < FEW_SLIDES
    yield (
        f"The interval is a bootstrap {describe_interval(found.num_slides, run.estimate)}."
        f"{ROUGH * is_rough}"
    )
    yield "## Operating points"
    note = "All but 0.5 were chosen on the same predictions, which flatters these rates."
    if averaged:
        note += " An average of more networks has other thresholds: choose them anew."
    yield f"A patch from the threshold on is called tumor. {note}"
    header = ("chosen for", "threshold", "sensitivity", "specificity", "precision")
    rows = [
        (
            POINTS.get(name, name),
            f"{point.threshold:.3f}",
            *(
                f"{rate:.3f} ({low:.3f} to {high:.3f})"
                for rate, (low, high) in zip(
                    (point.sensitivity, point.specificity), measures.rates[name]
                )
            ),
            "-" if point.precision is None else f"{point.precision:.3f}",
        )
        for name, point in found.operating_points.items()
    ]
    yield make_table(header, rows)
    yield (
        "In brackets: 95 % intervals by the same draws, for the threshold as it is. Precision "
        f"holds for the share of tumor of these patches, {run.oof['label'].mean():.1%}, alone."
    )
    yield "## Calibration"
    error, brier = found.calibration["ece"], found.calibration["brier"]
    is_mapped = any(part.get("maps") for part in run.calibrations.values())
    which = "after calibration" if is_mapped else "without calibration"
    lines = [
        f"Out of fold, {which}, the expected calibration error is {error:.3f} and the Brier score "
        f"{brier:.3f} (0 is perfect).",
        *describe_calibration(run),
    ]
    yield join_lines(lines)


def list_aucs(run: ReportRun, found: object) -> list[tuple]:
    """The AUC of all patches and of each fold, as rows of a table."""
    counts = f"{run.oof['label'].sum():,}"
    low, high = found.interval
    rows = [(f"all, {len(run.oof):,}", counts, f"{found.auc:.4f}", f"{low:.4f} to {high:.4f}")]
    aucs = run.record.get("fold_auc", {})
    for fold, part in run.oof.groupby("fold"):
        if f"{fold:.0f}" in aucs:
            auc = f"{aucs[f'{fold:.0f}']:.4f}"
            rows.append((f"fold {fold:.0f}, {len(part):,}", f"{part['label'].sum():,}", auc, "-"))
    return rows


def describe_groups(groups: tuple[Group, ...], explored: str) -> str:
    """A table of the groups of hue, or how to get one."""
    if not groups:
        return (
            "Not known: the groups of hue are those of an exploration of these patches "
            "(`python build.py train explore --data DIR`, then `python build.py card RUN`)."
        )
    rows = [
        (
            group.number,
            f"{group.patches:,}",
            f"{group.positives:,}",
            "-" if group.auc is None else f"{group.auc:.4f}",
            "-" if group.interval is None else "{:.4f} to {:.4f}".format(*group.interval),
        )
        for group in groups
    ]
    table = make_table(("group", "patches", "with tumor", "ROC AUC", "95 % interval"), rows)
    return (
        f"{table}\n\nThe groups are those of the exploration {escape(explored)} (k-means on the "
        "color of the stain). They are no hospitals."
    )


def describe_scores(run: ReportRun) -> Iterator[str]:
    """The scores of the submission, where they are known."""
    parts = [
        f"{run.scores[f'{part}_score']} ({part} part)"
        for part in PARTS
        if run.scores.get(f"{part}_score")
    ]
    if parts:
        yield "## Score of the submission"
        yield (
            f"On {name_board(run)} the average of the networks{describe_labels(run.settings)} has "
            f"an AUC of {' and '.join(parts)}."
        )


def describe_limits(run: ReportRun, measures: Measures | None) -> Iterator[str]:
    """What the figures do not cover."""
    yield from list_limits(run, measures and Assessment(measures.evaluation))
    yield "PCam is from two hospitals: nothing is known of other scanners, laboratories and stains."
    yield "The probability says nothing of tumor outside of the center of a patch."
    if missing := run.record.get("not_trained"):
        yield f"Not trained: {', '.join(missing)}."
    yield from (f"Warning of the run: {text}" for text in run.record.get("warnings", []))


def describe_license(bases: list[Base]) -> Iterator[str]:
    """The licenses of patches, code and weights."""
    yield "The patches of PCam: CC0; the license of others is not known here. The code: MIT."
    for base in bases:
        yield f"The networks started from {base.text}."
    if any(base.license not in LICENSES for base in bases):
        yield "Clear the license of these weights before you publish the networks."


def describe_use(kept: list[NetworkFile], is_flat: bool) -> Iterator[str]:
    """How to predict with the networks."""
    needs = find_needs(kept)
    yield EXAMPLE.format(needs=NEEDS[needs]) if is_flat else PREDICT
    if any(network.is_head for network in kept):
        yield (
            "These networks, or some of them, take the features of a frozen transformer, which is "
            "not among the files: Keras alone cannot apply them to pixels."
        )
    else:
        path = kept[0].path.name if is_flat else f"folds/{kept[0].path.name}"
        yield LOAD.format(path=path, imports=IMPORTS[needs])


def find_needs(kept: list[NetworkFile]) -> str:
    """The package besides Keras that the networks need, "" for none."""
    needs = {network.needs for network in kept}
    return next((name for name in ("pcam_kaggle", "keras_hub") if name in needs), "")
