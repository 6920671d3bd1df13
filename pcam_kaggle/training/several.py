"""Several methods on the same folds, one after the other, and what each adds."""

import copy
import dataclasses
import traceback
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..analysis.contributions import describe_gain, measure_contributions
from ..analysis.scores import count_slides, describe_draws
from ..data.run import Patches, Run
from ..inference.calibration import calibrate_members
from ..inference.ensemble import ensemble_predictions
from ..system.device import Device
from ..system.records import Ensemble
from .members import fit_members, list_jobs
from .results import announce, gather_oof


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


def keep_available(methods: dict, run: Run, device: Device) -> tuple:
    """Build every network once, and leave out the methods whose weights cannot be loaded.

    A method that has finished networks, of an earlier session, stays even without its weights.

    Args:
        methods: dict of names and methods.
        run, device: as for `fit_members`.

    Returns:
        dict of the methods that remain; what `announce` says of them together; dict of the others
        as Ensembles without members, whose warnings say why.

    Raises:
        ValueError: a setting is wrong, weights are damaged or of another network, or no method
            remains.
    """
    kept, networks, left_out = {}, [], {}
    for name, method in methods.items():
        try:
            networks.append(announce(copy.copy(method).build()))  # the copy is freed with it
        except ValueError:
            raise
        except Exception as error:  # of many classes: files, downloads, frameworks
            ensemble = leave_out(Ensemble([], [name]), name, error)
            if not any(job.path.exists() for job in list_jobs(method, run, device, name)):
                left_out[name] = ensemble
                continue
            print(f"{name}: its finished networks are used", flush=True)
        kept[name] = method
    if not kept:
        raise ValueError(
            f"members: expected weights of at least one. Received: {say_why(left_out)}"
        )
    counts = {
        key: sum(facts[key] for facts in networks) for key in ("num_parameters", "num_trainable")
    }
    return kept, {"network": " + ".join(kept), **counts}, left_out


def leave_out(ensemble: Ensemble, name: str, error: Exception) -> Ensemble:
    """Print why a method is left out, in whole or in part, and add it to the warnings."""
    reason = str(error)
    if not isinstance(error, ValueError | OSError | ImportError):  # not one of our messages
        traceback.print_exception(error)
        reason = f"{type(error).__name__}: {reason}"
    warning = f"warning: {name} is left out: {reason.removeprefix('warning: ')}"
    print(warning, flush=True)
    return dataclasses.replace(ensemble, warnings=(*ensemble.warnings, warning))


def say_why(ensembles: dict) -> str:
    """The warnings of all methods in one line."""
    texts = [text for ensemble in ensembles.values() for text in ensemble.warnings]
    return "; ".join(text.removeprefix("warning: ") for text in texts)


def fit_several(
    methods: dict, patches: Patches, folds: np.ndarray, run: Run, device: Device, left_out: dict
) -> Iterator:
    """Train the networks of every method, in the order of the dict.

    What fails, or does not fit in `max_hours`, ends no other method.

    Args:
        methods, left_out: as `keep_available` returns them.
        patches, folds, run, device: as for `fit_members`.

    Yields:
        dict of names and Ensembles, after every network.

    Raises:
        ValueError: no network of any method was finished.
    """
    ensembles = dict(left_out)
    for name, method in methods.items():
        try:
            for ensemble in fit_members(method, patches, folds, run, device, name):
                ensembles[name] = ensemble
                yield dict(ensembles)
        except Exception as error:
            ensembles[name] = leave_out(ensembles.get(name, Ensemble([], [name])), name, error)
    if not any(ensemble.members for ensemble in ensembles.values()):
        raise ValueError(f"members: expected a finished network. Received: {say_why(ensembles)}")
    yield ensembles


def average_several(ensembles: dict, folds: np.ndarray, run: Run) -> Average:
    """Average the networks of each method, then the methods: the mean of their log-odds.

    Args:
        ensembles: as `fit_several` yields them.
        folds, run: as for `fit_members`.
    """
    found = {name: ensemble.members for name, ensemble in ensembles.items() if ensemble.members}
    settings, slides = run.settings.prediction, run.competition.slides

    def calibrate_all(settings):
        oofs = {name: gather_oof(run, folds, members) for name, members in found.items()}
        return {
            name: calibrate_members(members, oofs[name], settings, slides, f"{name}_")
            for name, members in found.items()
        }

    parts = calibrate_all(settings)
    refused = [part[2].refused for part in parts.values() if part[2].refused]
    if refused:  # maps of some methods only would change the weights of all
        parts = calibrate_all(dataclasses.replace(settings, calibration="none"))
    tests, tables, calibrations = ({n: part[i] for n, part in parts.items()} for i in range(3))
    if refused:
        calibrations = {
            name: dataclasses.replace(calibration, refused=refused[0])
            for name, calibration in calibrations.items()
        }
    oof, ensemble = join_oof(tables), join_ensembles(list(ensembles.values()))
    if any(len(table) > len(oof) for table in tables.values()) or not is_common(oof, tables):
        who = "all methods" if is_common(oof, tables) else f"{next(iter(tables))} alone"
        warning = f"warning: the scores out of fold are of {len(oof):,} patches, those of {who}"
        ensemble = dataclasses.replace(ensemble, warnings=(*ensemble.warnings, warning))
    test = next(iter(tests.values()))
    if len(tests) > 1:
        test = ensemble_predictions(list(tests.values()), "logit")
    return Average(test, oof, tables, ensemble, calibrations)


def join_ensembles(parts: list) -> Ensemble:
    """The networks of several methods as one ensemble."""
    lists = {
        name: [item for part in parts for item in getattr(part, name)]
        for name in ("members", "missing", "warnings", "files")
    }
    return Ensemble(**{**lists, **{name: tuple(lists[name]) for name in ("warnings", "files")}})


def join_oof(tables: dict) -> pd.DataFrame:
    """Average the out-of-fold predictions of several methods: the mean of their log-odds.

    Args:
        tables: dict of names and DataFrames, as `gather_oof` returns them.

    Returns:
        DataFrame like each of them, of the patches that all methods have predicted, or of the
        first method's if there are none.
    """
    first, *others = tables.values()
    common = first.index
    for table in others:
        common = common.intersection(table.index)
    if not others or not len(common):
        return first
    predictions = [table.loc[common, "prediction"] for table in tables.values()]
    return first.loc[common].assign(prediction=ensemble_predictions(predictions, "logit"))


def is_common(oof: pd.DataFrame, tables: dict) -> bool:
    """Whether every method has predicted all patches of `join_oof`."""
    return all(oof.index.isin(table.index).all() for table in tables.values())


def compare_methods(average: Average) -> dict:
    """Measure what each method adds to the others, print it, and return it for run.json.

    Returns:
        dict: `adds`, a list of Contribution, empty if the methods have no patches in common, and
        `num_slides`, as `count_slides` tells it.
    """
    oof, tables = average.oof, average.tables
    slides = oof["slide"].to_numpy() if "slide" in oof else None
    num_slides = count_slides(slides)
    if not is_common(oof, tables):
        return {"adds": [], "num_slides": num_slides}

    def average_rows(rows):
        return ensemble_predictions(rows, "logit")

    rows = np.stack([table["prediction"].loc[oof.index] for table in tables.values()])
    adds = measure_contributions(list(tables), rows, oof["label"].to_numpy(), average_rows, slides)
    for part in adds:
        gain = describe_gain(part.adds, part.interval)
        gain = f", adds {gain}, {describe_draws(num_slides)}" if gain else ""
        print(f"{part.run:<13} out-of-fold AUC {part.oof_auc:.4f}{gain}", flush=True)
    return {"adds": adds, "num_slides": num_slides}
