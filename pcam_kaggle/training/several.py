"""Several methods on the same folds, one after the other, and what each adds."""

import dataclasses
import traceback
from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..data.run import Patches, Run
from ..inference.ensemble import ensemble_predictions
from ..system.device import Device
from ..system.records import Ensemble
from .members import fit_members
from .results import announce


@dataclasses.dataclass(frozen=True)
class Contribution:
    """What a member contributes to the average of several.

    `oof_auc` is its own ROC AUC out of fold, `adds` the AUC with it less the AUC without it, on
    the same patches, or None for a member alone.
    """

    member: str
    oof_auc: float
    adds: float | None


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


def join_ensembles(ensembles: dict, warnings: list = ()) -> Ensemble:
    """The networks of all methods as one ensemble, with more warnings."""
    parts = list(ensembles.values())
    joined = {
        name: [item for part in parts for item in getattr(part, name)]
        for name in ("members", "missing", "warnings", "files")
    }
    joined["warnings"] = [*warnings, *joined["warnings"]]
    return Ensemble(**{**joined, **{n: tuple(joined[n]) for n in ("warnings", "files")}})


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
    if not len(common):
        return first
    predictions = [table.loc[common, "prediction"] for table in tables.values()]
    return first.loc[common].assign(prediction=ensemble_predictions(predictions, "logit"))


def measure_contributions(tables: dict) -> list:
    """What each method adds to the others, on the patches that all have predicted.

    Args:
        tables: as for `join_oof`.

    Returns:
        list of Contribution.
    """
    whole = join_oof(tables)
    labels = whole["label"]
    found = []
    for name, table in tables.items():
        own = table["prediction"].reindex(whole.index)
        if own.isna().any():
            continue
        rest = {other: tables[other] for other in tables if other != name}
        adds = None
        if rest:
            without = join_oof(rest).loc[whole.index, "prediction"]
            adds = roc_auc_score(labels, whole["prediction"]) - roc_auc_score(labels, without)
        found.append(Contribution(name, float(roc_auc_score(labels, own)), adds))
    return found
