"""Several methods on the same folds, one after the other, and what each adds."""

import dataclasses
import traceback
from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..analysis.scores import Comparison, compare_auc, describe_draws
from ..data.run import Patches, Run
from ..inference.calibration import calibrate_members
from ..inference.ensemble import ensemble_predictions
from ..system.device import Device
from ..system.records import Ensemble
from .members import fit_members
from .results import announce, gather_oof


@dataclasses.dataclass(frozen=True)
class Contribution:
    """What a member contributes to the average of several.

    `oof_auc` is its own ROC AUC out of fold, `adds` a Comparison of the AUC with it and without
    it, or None for a member alone.
    """

    member: str
    oof_auc: float
    adds: Comparison | None


@dataclasses.dataclass(frozen=True)
class Average:
    """The average of several methods.

    `test` is its prediction of the test patches, float64 (m,), `oof` the DataFrame of those out
    of fold, `tables` that of each method by name. `ensemble` has the networks of all methods,
    `calibration` the Calibration of each.
    """

    test: np.ndarray
    oof: pd.DataFrame
    tables: dict
    ensemble: Ensemble
    calibration: dict


def keep_available(methods: dict) -> tuple:
    """Build every network once, and leave out the methods whose weights cannot be had.

    Args:
        methods: dict of names and methods.

    Returns:
        The methods that remain, what `announce` says of all of them together, and the warnings
        about the others.

    Raises:
        ValueError: no method remains.
    """
    kept, networks, warnings = {}, [], []
    for name, method in methods.items():
        try:
            networks.append(announce(method.build()))
        except (ImportError, OSError, ValueError) as error:
            warnings.append(f"warning: {name} is left out: {error}")
            print(warnings[-1], flush=True)
            continue
        kept[name] = method
    if not kept:
        raise ValueError("members: expected one that can be had. " + " ".join(warnings))
    counts = ("num_parameters", "num_trainable")
    sums = {count: sum(network[count] for network in networks) for count in counts}
    return kept, {"network": " + ".join(n["network"] for n in networks), **sums}, warnings


def fit_several(
    methods: dict, patches: Patches, folds: np.ndarray, run: Run, device: Device
) -> Iterator:
    """Train the networks of every method, in the order of the dict.

    Args:
        methods: dict of names and methods, as `keep_available` returns it.
        patches, folds, run, device: as for `fit_members`.

    Yields:
        dict of names and Ensembles, after every network. A method without a network has no
        members, and says why in its warnings: what fails or does not fit in `max_hours` ends no
        other method.

    Raises:
        ValueError: no network of any method was finished.
    """
    ensembles = {}
    for name, method in methods.items():
        try:
            for ensemble in fit_members(method, patches, folds, run, device, name):
                ensembles[name] = ensemble
                yield dict(ensembles)
        except Exception as error:  # ends no other method
            traceback.print_exc()
            found = ensembles.get(name, Ensemble([], [name]))
            warning = f"warning: {name}: {type(error).__name__}: {error}"
            ensembles[name] = dataclasses.replace(found, warnings=(*found.warnings, warning))
    if not any(ensemble.members for ensemble in ensembles.values()):
        reasons = [text for ensemble in ensembles.values() for text in ensemble.warnings]
        raise ValueError("members: expected a network that was finished. " + " ".join(reasons))
    yield ensembles


def average_several(ensembles: dict, folds: np.ndarray, run: Run, left_out: list) -> Average:
    """Average the networks of each method, then the methods: the mean of their log-odds.

    Args:
        ensembles: as `fit_several` yields them.
        folds, run: as for `fit_members`.
        left_out: the warnings of `keep_available`.
    """
    tables, tests, calibration = {}, [], {}
    settings, slides = run.settings.prediction, run.competition.slides
    for name, ensemble in ensembles.items():
        if ensemble.members:
            tables[name] = gather_oof(run, folds, ensemble.members)
            test, calibration[name] = calibrate_members(
                ensemble.members, tables[name], settings, slides, f"{name}_"
            )
            tests.append(test)
    test = ensemble_predictions(tests, "logit") if len(tests) > 1 else tests[0]
    ensemble = join_ensembles(list(ensembles.values()), left_out)
    return Average(test, join_oof(tables), tables, ensemble, calibration)


def join_ensembles(parts: list, left_out: list) -> Ensemble:
    """The networks of several methods as one ensemble."""
    lists = {
        name: [item for part in parts for item in getattr(part, name)]
        for name in ("members", "missing", "warnings", "files")
    }
    warnings = (*left_out, *lists["warnings"])
    return Ensemble(lists["members"], lists["missing"], warnings, tuple(lists["files"]))


def join_oof(tables: dict) -> pd.DataFrame:
    """Average the out-of-fold predictions of several methods: the mean of their log-odds.

    Args:
        tables: dict of names and DataFrames, as `gather_oof` returns them.

    Returns:
        DataFrame like each of them, of the patches that all methods have predicted, or of the
        first method's if there are none yet.
    """
    first, *others = tables.values()
    common = first.index
    for table in others:
        common = common.intersection(table.index)
    if not others or not len(common):
        return first
    predictions = [table.loc[common, "prediction"] for table in tables.values()]
    return first.loc[common].assign(prediction=ensemble_predictions(predictions, "logit"))


def measure_contributions(tables: dict) -> list:
    """Measure what each method adds to the others, on the patches that all have predicted.

    Args:
        tables: as for `join_oof`.

    Returns:
        list of Contribution; empty if there are no such patches.
    """
    whole = join_oof(tables)
    slides = whole["slide"].to_numpy() if "slide" in whole else None
    labels, found = whole["label"].to_numpy(), []
    if any(len(table.index.intersection(whole.index)) < len(whole) for table in tables.values()):
        return []
    for name, table in tables.items():
        own = table["prediction"].loc[whole.index]
        rest = {other: tables[other].loc[whole.index] for other in tables if other != name}
        gain = None
        if rest:
            without = join_oof(rest)["prediction"].to_numpy()
            gain = compare_auc(labels, whole["prediction"].to_numpy(), without, slides)
        found.append(Contribution(name, float(roc_auc_score(labels, own)), gain))
    return found


def print_contributions(contributions: list) -> None:
    """Print a line for each member: its AUC, and what it adds with its 95 % interval."""
    for part in contributions:
        line = f"{part.member:<13} out-of-fold AUC {part.oof_auc:.4f}"
        if part.adds:
            low, high = part.adds.interval
            line += f", adds {part.adds.difference:+.4f} ({low:+.4f} to {high:+.4f}, "
            line += f"{describe_draws(part.adds.num_slides)})"
        print(line, flush=True)
