"""Runs as the report reads them, whichever version of the package made them."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd

from pcam_kaggle.system.files import read_json

from ..predictions import find_estimate, find_slides, list_methods, read_oof, read_table
from ..records import SubmissionRecord, read_record, read_result

OLD_CLASSES = {"no tumour": "no tumor", "tumour": "tumor"}


@dataclasses.dataclass(frozen=True)
class ReportRun:
    """A run, blend, study or exploration as the report reads it.

    Attributes:
        folder: its folder.
        name: the folder's name.
        place: the folder relative to the report's, as the notebook finds it.
        record: its run.json, as `read_result` returns it.
        scores: its submit.json, or None if nothing was submitted.
        exploration: its exploration.json, or None.
        stains: Series of stains by patch id from patches.csv, or None.
        history: history.csv, or None.
        study: study.csv, or None.
        oof: oof.csv by patch id, or None.
    """

    folder: Path
    name: str
    place: str
    record: dict
    scores: SubmissionRecord | None
    exploration: dict | None
    stains: pd.Series | None
    history: pd.DataFrame | None
    study: pd.DataFrame | None
    oof: pd.DataFrame | None

    def has(self, name: str) -> bool:
        """Whether the run has a file of this name."""
        return (self.folder / name).is_file()

    def join(self, name: str) -> str:
        """The path of a file of the run as the notebook finds it."""
        return name if self.place == "." else f"{self.place}/{name}"

    @property
    def settings(self) -> dict:
        """The run's settings by name; {} for a blend."""
        return self.record.get("settings") or {}

    @property
    def slides(self) -> np.ndarray | None:
        """The slide of every row of `oof`, or None if they are unknown."""
        return find_slides([self.oof])

    @property
    def estimate(self) -> str:
        """Why scores on other slides may be lower than out of fold, or ""."""
        return find_estimate(self.record)

    @property
    def members(self) -> list[str]:
        """The methods of a run of several, in the order of training; [] for other runs."""
        return list(self.settings.get("members", []))

    @property
    def methods(self) -> list[str]:
        """Those of `members` whose predictions are in the run."""
        return list_methods(self.record)

    @property
    def calibrations(self) -> dict:
        """What run.json says about calibration, by method; "" for that of a run of one."""
        found = self.record.get("calibration") or {}
        return found if self.members else {"": found} if found else {}

    @property
    def fold(self) -> int | None:
        """The validation fold of a study's trials, or None for other runs."""
        return self.record.get("study", {}).get("fold")

    @property
    def recipe(self) -> str:
        """The recipe's name, or "blend"."""
        return self.record["recipe"] or "blend"


def read_run(folder: Path, home: Path) -> ReportRun:
    """Read a run, blend, study or exploration.

    Args:
        folder: its folder.
        home: the folder of the report.

    Raises:
        ValueError: no run.json, or a damaged file.
    """
    if not (folder / "run.json").is_file():
        raise ValueError(
            f"{folder}: expected a finished run, blend, study or exploration, with "
            "run.json. Received: none. Try: python build.py output or train first"
        )
    record = read_result(folder)
    if "study" in record:  # older versions called the highest trial the winner
        study = record["study"]
        old = {"highest": study.get("winner"), "highest_auc": study.get("winner_auc")}
        record["study"] = {**old, **study}
    oof = None
    if (folder / "oof.csv").is_file():
        oof = read_oof(folder / "oof.csv")
    return ReportRun(
        folder=folder,
        name=folder.resolve().name,
        place=Path(os.path.relpath(folder, home)).as_posix(),
        record=record,
        scores=read_record(folder, SubmissionRecord),
        exploration=read_exploration(folder),
        stains=read_stains(folder),
        history=read_if_there(folder / "history.csv"),
        study=read_if_there(folder / "study.csv"),
        oof=oof,
    )


def read_if_there(path: Path) -> pd.DataFrame | None:
    """A CSV file as a table, or None if there is no such file."""
    return pd.read_csv(path) if path.is_file() else None


def read_exploration(folder: Path) -> dict | None:
    """exploration.json with its classes in today's spelling, or None."""
    path = folder / "exploration.json"
    if not path.is_file():
        return None
    found = read_json(path)
    for name in ("brightness", "tissue"):
        by_class = found[name].items()
        found[name] = {OLD_CLASSES.get(key, key): value for key, value in by_class}
    return found


def read_stains(folder: Path) -> pd.Series | None:
    """The stain of every patch by its id, from patches.csv, or None.

    Raises:
        ValueError: a patches.csv without these columns.
    """
    path = folder / "patches.csv"
    if not path.is_file():
        return None
    patches = pd.read_csv(path, dtype={"id": str, "hash": str})
    missing = {"id", "stain"} - set(patches.columns)
    if missing:
        raise ValueError(
            f"{path}: expected the columns id and stain. Received: "
            f"{', '.join(patches.columns)}. Try: python build.py eda --data DIR again"
        )
    return patches.drop_duplicates("id").set_index("id")["stain"]


def check_runs(runs: list) -> None:
    """Refuse runs that make no report.

    Args:
        runs: list of ReportRun, the report's own first.

    Raises:
        ValueError: a run given twice, runs of different competitions, a first one that
            is neither a run nor a blend nor a study. Names the runs.
    """
    home = runs[0]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(
            "expected each run once, in folders of different names. Received: " + ", ".join(names)
        )
    check_competition(runs)
    if home.study is None and home.oof is None:
        if home.exploration is not None:
            raise ValueError(
                f"{home.name} is an exploration. Expected: a run, blend or study as "
                "the first of the folders. Try: python build.py report RUN "
                f"{home.name}"
            )
        raise ValueError(
            f"{home.folder / 'oof.csv'} is not there. Expected: the folder of a "
            "finished run. Try: python build.py output, or train"
        )


def check_competition(runs: list) -> None:
    """Refuse runs with different test images.

    Raises:
        ValueError: names two of them.
    """
    tests = {
        run.name: set(read_table(run.folder / "submission.csv", ["id", "label"]).index)
        for run in runs
        if run.has("submission.csv")
    }
    for name, ids in tests.items():
        first = next(iter(tests))
        if ids != tests[first]:
            raise ValueError(
                f"{first} and {name}: expected runs of one competition, with the same "
                f"test images. Received: {len(tests[first]):,} and {len(ids):,} ids, "
                f"{len(ids & tests[first]):,} in common"
            )


def find_explored(runs: list) -> ReportRun | None:
    """The run whose exploration the report shows, or None.

    The first exploration among the runs; failing that, an exploration that the
    report's own run brought along, as older versions did.

    Args:
        runs: list of ReportRun, the report's own first.
    """
    for run in [*runs[1:], runs[0]]:
        if run.exploration and (run.oof is None or run is runs[0]):
            return run
    return None


def find_stains(runs: list) -> pd.Series | None:
    """The stains of the first exploration among the runs that has them, or None."""
    return next((run.stains for run in runs if run.stains is not None), None)
