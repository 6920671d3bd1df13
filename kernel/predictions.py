"""The predictions of runs; runs of other folds of one recipe put together as one."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pcam_kaggle.analysis.scores import Comparison, compare_auc, describe_draws
from pcam_kaggle.data.run import SHARED_SLIDES
from pcam_kaggle.inference.ensemble import ensemble_predictions
from pcam_kaggle.system.files import short_hash
from pcam_kaggle.system.settings import SESSION_SETTINGS

from .records import read_result

OOF_COLUMNS = ["id", "label", "fold", "prediction"]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A run's predictions by id.

    Attributes:
        name: str, the run's folder, or those of the runs that were put together.
        build_id: str, ten hex digits.
        recipe: str, the recipe's name, "" for a blend.
        settings: dict of all settings, or None for a blend.
        oof: DataFrame by id of the out-of-fold predictions, as `read_oof` returns it.
        test: Series of predictions of the test images, by id.
        runs: tuple of the names of the runs in it.
        grouping: str, what its folds do not share, as in run.json; "" if unknown.
        estimate: str, as `find_estimate` returns it.
        methods: tuple of the methods in it, () for a run of one or a blend.
    """

    name: str
    build_id: str
    recipe: str
    settings: dict | None
    oof: pd.DataFrame
    test: pd.Series
    runs: tuple
    grouping: str
    estimate: str
    methods: tuple


def read_predictions(folder: Path) -> Predictions:
    """A run's predictions.

    Raises:
        ValueError: a file that is missing or is not such a table; names it.
    """
    for name in ("run.json", "oof.csv", "submission.csv"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name} is not there. Expected: the folder of a finished "
                "run. Try: python build.py output, or train; of a run of infer, which has no "
                "oof.csv, name the runs whose networks it used"
            )
    record = read_result(folder)
    oof = read_oof(folder / "oof.csv")
    test = read_table(folder / "submission.csv", ["id", "label"])["label"]
    if shared := len(oof.index.intersection(test.index)):
        raise ValueError(
            f"{folder / 'oof.csv'}: expected predictions of training patches. Received: {shared:,} "
            "of the test patches in submission.csv. Try: fetch the output again"
        )
    return Predictions(
        name=folder.name,
        build_id=record.get("build_id") or "unknown",
        recipe=record["recipe"],
        settings=record["settings"],
        oof=oof,
        test=test,
        runs=(folder.name,),
        grouping=record.get("grouping", ""),
        estimate=find_estimate(record),
        methods=tuple(list_methods(record)),
    )


def find_estimate(record: dict) -> str:
    """Why scores on other slides may be lower than those out of fold; "" if nothing says so.

    Args:
        record: the content of a run.json; that of an earlier version lacks the sentence.
    """
    return record.get("estimate", SHARED_SLIDES if record.get("grouping") == "patch" else "")


def list_methods(record: dict) -> list[str]:
    """The methods whose predictions are in a run of several; [] for other runs."""
    if "members" not in (record["settings"] or {}):
        return []
    return list(record.get("calibration", {}))


def describe_interval(num_slides: int | None, estimate: str) -> str:
    """What an interval is worth, as `describe_draws` says it, for folds that may share slides."""
    return "; ".join(filter(None, (describe_draws(num_slides), estimate)))


def describe_groupings(groupings: dict) -> str:
    """That runs group their folds differently, in a sentence; "" if they do not.

    Args:
        groupings: dict of the names of runs and what their folds do not share, "" if unknown.
    """
    known = {name: grouping for name, grouping in groupings.items() if grouping}
    if len(set(known.values())) < 2:
        return ""
    names = ", ".join(f"{name} by {grouping}" for name, grouping in known.items())
    higher = "folds by patch share slides, which raises their scores by about 0.03"
    text = higher if "patch" in known.values() else "their scores are not comparable"
    return f"the runs' folds are grouped differently ({names}): {text}"


def read_oof(path: Path) -> pd.DataFrame:
    """Out-of-fold predictions by id: label, fold and prediction, and slide where it is known.

    Raises:
        ValueError: as `read_table`.
    """
    return read_table(path, OOF_COLUMNS, ["slide"])


def read_table(path: Path, columns: list[str], texts: Sequence[str] = ()) -> pd.DataFrame:
    """A table by id, its numbers finite.

    Args:
        path: Path of a CSV.
        columns: its columns, in order, "id" first.
        texts: columns of text that may follow.

    Raises:
        ValueError: no table, other columns, an id twice, a number that is not finite, a text
            missing.
    """
    types = dict.fromkeys(["id", *texts], str)
    try:
        table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])  # slide "NA"
    except ValueError as error:  # of many classes: empty, not a table, not UTF-8
        raise ValueError(f"{path}: expected a table. Received: {error}") from error
    known = (columns, [*columns, *texts])
    if list(table.columns) not in known or table["id"].duplicated().any():
        raise ValueError(
            f"{path}: expected columns {','.join(columns)} and every id once. "
            f"Received: {','.join(table.columns)}"
        )
    if table["id"].isna().any():
        raise ValueError(f"{path}: expected every id. Received: empty fields")
    table = table.set_index("id")
    table[columns[1:]] = table[columns[1:]].apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(table[columns[1:]].to_numpy("float64")).all():
        raise ValueError(f"{path}: expected finite numbers. Received: others")
    if table.isna().any(axis=None):
        raise ValueError(f"{path}: expected every {' and '.join(texts)}. Received: empty fields")
    return table


def compare_oof(first: pd.DataFrame, second: pd.DataFrame) -> Comparison:
    """Compare two runs on the patches that both predicted out of fold, by slide where known.

    Args:
        first, second: out-of-fold predictions as `read_oof` returns them.

    Raises:
        ValueError: they cannot be compared; says why.
    """
    ids = first.index.intersection(second.index)
    rows, others = first.loc[ids], second.loc[ids]
    if not len(ids):
        raise ValueError("cannot be compared: no common patches")
    if (rows["label"] != others["label"]).any():
        raise ValueError("cannot be compared: other labels")
    if rows["label"].nunique() < 2:
        raise ValueError(f"cannot be compared: {len(ids):,} common patches of one label")
    labels, slides = rows["label"].to_numpy(), find_slides([rows, others])
    return compare_auc(labels, *(t["prediction"].to_numpy() for t in (rows, others)), slides)


def find_slides(tables: list[pd.DataFrame]) -> np.ndarray | None:
    """The slides of patches, from the first table of these patches that has them, or None."""
    return next((table["slide"].to_numpy() for table in tables if "slide" in table), None)


def gather_folds(
    all_predictions: list[Predictions], say: Callable[[str], None] = print
) -> list[Predictions]:
    """Put together the runs that differ in their folds alone.

    Their out-of-fold predictions are of different images and become one table; the
    test predictions are averaged as one run would have done, each by its number of
    folds.

    Args:
        all_predictions: list of Predictions, one for each run.
        say: function that prints a line.

    Returns:
        List of Predictions, in the order of the first run of each.
    """
    groups = {}
    for place, predictions in enumerate(all_predictions):
        key = find_experiment(predictions) or place
        fitting = [
            group
            for (other, _), group in groups.items()
            if other == key and not any(share_images(predictions, p) for p in group)
        ]
        group = fitting[0] if fitting else groups.setdefault((key, place), [])
        group.append(predictions)
    gathered = []
    for group in groups.values():
        if len(group) > 1:
            names = ", ".join(predictions.name for predictions in group)
            say(f"{len(group)} runs of other folds of one recipe as one: {names}")
        gathered.append(join_folds(group) if len(group) > 1 else group[0])
    return gathered


def find_experiment(predictions: Predictions) -> str | None:
    """The same text for runs that may differ in their folds alone; None for a blend.

    Runs of several methods of which one lacks a method are different experiments.
    """
    if not predictions.settings:
        return None
    apart = ("folds", *SESSION_SETTINGS)
    same = {n: v for n, v in predictions.settings.items() if n not in apart}
    return json.dumps([predictions.recipe, same, sorted(predictions.methods)], sort_keys=True)


def share_images(first: Predictions, second: Predictions) -> bool:
    """Whether two runs overlap out of fold or have different test images.

    Runs that share none and predict the same test images are of other folds.
    """
    if set(first.test.index) != set(second.test.index):
        return True
    return len(first.oof.index.intersection(second.oof.index)) > 0


def join_folds(group: list[Predictions]) -> Predictions:
    """Runs of different folds as one."""
    num_folds = np.array([predictions.oof["fold"].nunique() for predictions in group])
    first = group[0]
    ids = first.test.index
    tests = np.stack([predictions.test.loc[ids] for predictions in group])
    method = "logit" if first.methods else first.settings.get("ensemble", "mean")
    test = ensemble_predictions(tests, method, num_folds / num_folds.sum())
    names = tuple(predictions.name for predictions in group)
    build_ids = sorted(predictions.build_id for predictions in group)
    oof = pd.concat([predictions.oof for predictions in group])
    return Predictions(
        name=" + ".join(names),
        build_id=short_hash(json.dumps(build_ids)),
        recipe=first.recipe,
        settings=first.settings,
        oof=oof.dropna(axis="columns"),  # slides that one of the runs does not know
        test=pd.Series(test, ids),
        runs=names,
        grouping=first.grouping,
        estimate=first.estimate,
        methods=first.methods,
    )
