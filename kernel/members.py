"""The predictions of runs; the folds of a recipe that ran apart, as one run."""

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd

from pcam_kaggle.config import SESSION_SETTINGS
from pcam_kaggle.ensemble import ensemble_predictions

from .runs import read_record


@dataclasses.dataclass(frozen=True)
class Member:
    """A run's predictions by id: `oof` with label, fold and prediction; `test`.

    `settings` are those of its run.json, None for a blend; `runs` names what was
    gathered into it.
    """

    name: str
    build_id: str
    oof: pd.DataFrame
    test: pd.Series
    settings: dict | None
    runs: tuple


def gather_folds(members, say=print):
    """Put together the runs that differ in their folds alone.

    Their out-of-fold predictions are of different images and become one table; the
    test predictions are averaged as one run would have done, each by its number of
    folds.

    Args:
        members: list of Member.
        say: function that prints a line.

    Returns:
        List of Member, in the order of the first of each.
    """
    groups = {}
    for place, member in enumerate(members):
        key = place
        if member.settings:
            apart = ("folds", *SESSION_SETTINGS)
            same = {n: v for n, v in member.settings.items() if n not in apart}
            key = json.dumps(same, sort_keys=True)
        fitting = [
            group
            for name, group in groups.items()
            if name[0] == key and not any(share_images(member, m) for m in group)
        ]
        (fitting[0] if fitting else groups.setdefault((key, place), [])).append(member)
    gathered = []
    for group in groups.values():
        if len(group) > 1:
            names = ", ".join(member.name for member in group)
            say(f"{len(group)} runs of other folds of one recipe as one: {names}")
        gathered.append(join_folds(group) if len(group) > 1 else group[0])
    return gathered


def share_images(first, second):
    """Whether two runs have out-of-fold predictions of the same image, or other tests.

    What shares none and predicts the same test images are other folds.
    """
    if set(first.test.index) != set(second.test.index):
        return True
    return len(first.oof.index.intersection(second.oof.index)) > 0


def join_folds(group):
    """One Member of runs of different folds."""
    num_folds = np.array([member.oof["fold"].nunique() for member in group])
    ids = group[0].test.index
    tests = np.stack([member.test.loc[ids] for member in group])
    test = ensemble_predictions(
        tests, group[0].settings["ensemble"], num_folds / num_folds.sum()
    )
    names = [member.name for member in group]
    identity = json.dumps(sorted(member.build_id for member in group))
    return Member(
        " + ".join(names),
        hashlib.sha256(identity.encode()).hexdigest()[:10],
        pd.concat([member.oof for member in group]),
        pd.Series(test, ids),
        group[0].settings,
        tuple(names),
    )


def read_member(folder):
    """A run's predictions.

    Raises:
        ValueError: a file that is missing or no such table; names it.
    """
    for name in ("run.json", "oof.csv", "submission.csv"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name} is not there. Expected: the folder of a finished run "
                "(python build.py output, or train)"
            )
    oof = read_table(folder / "oof.csv", ["id", "label", "fold", "prediction"])
    test = read_table(folder / "submission.csv", ["id", "label"])["label"]
    run = read_record(folder, "run.json")
    build_id = run.get("build_id", "unknown")
    settings = run.get("settings")
    return Member(folder.name, build_id, oof, test, settings, (folder.name,))


def read_table(path, columns):
    """A table by id, its numbers finite."""
    table = pd.read_csv(path, dtype={"id": str})
    if list(table.columns) != columns or table["id"].duplicated().any():
        raise ValueError(
            f"{path}: expected columns {','.join(columns)} and every id once. "
            f"Received: {','.join(table.columns)}"
        )
    table = table.set_index("id")
    if not np.isfinite(table.to_numpy("float64")).all():
        raise ValueError(f"{path}: expected finite numbers. Received others.")
    return table
