"""Runs as the report reads them, whichever version of the package made them."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from pcam_kaggle.system.files import read_json

from ..predictions import find_estimate, find_slides, list_methods, read_oof
from ..records import PushRecord, read_content, read_record, read_result
from .checks import (
    CALIBRATION,
    EXPLORATION,
    RUN,
    SUBMISSION,
    check_content,
    check_folder,
    escape,
    read_csv,
    wrong,
)
from .spaces import parse_space, share_settings

HISTORY = ("fold", "seed", "epoch", "accuracy", "auc", "val_accuracy", "val_auc")
PATCHES = ("label", "brightness", "tissue", "stain")  # columns of patches.csv
TRIALS_PER_SETTING = 10  # completed ones, below which a study cannot tell what matters
MADE = re.compile(  # what the report makes of a run
    r"(curves|roc|scores|errors|gradcam|study|network_\w+)\.png|(evaluation|tables)\.json"
)
OLD_CLASSES = {"no tumour": "no tumor", "tumour": "tumor"}


@dataclasses.dataclass(frozen=True)
class ReportRun:
    """A run, blend, study or exploration as the report reads it.

    Attributes:
        folder: its folder.
        name: the folder's name; in a report, that of `name_runs`.
        made: the folder of what the report makes of it, by default the same.
        place: the folder relative to the report's, as the notebook finds it.
        record: its run.json, as `read_result` returns it; all texts escaped for Markdown, and
            without entries that are null.
        scores: its submit.json in the same way, {} if nothing was submitted.
        service: where it was pushed, "Kaggle" or "sandbox"; "" for a run at home.
        exploration: its exploration.json in the same way, or None.
        patches: patches.csv, or None.
        history: history.csv, or None.
        study: study.csv, or None.
        oof: oof.csv by patch id, or None.
    """

    folder: Path
    made: Path
    name: str
    place: str
    record: dict
    scores: dict
    service: str
    exploration: dict | None
    patches: pd.DataFrame | None
    history: pd.DataFrame | None
    study: pd.DataFrame | None
    oof: pd.DataFrame | None

    @property
    def label(self) -> str:
        """Its name, escaped for Markdown."""
        return escape(self.name)

    @property
    def stains(self) -> pd.Series | None:
        """The stain of every patch by its id, or None if they are unknown."""
        return None if self.patches is None else self.patches.set_index("id")["stain"]

    def has(self, name: str) -> bool:
        """Whether the run has a file of this name."""
        return self.find(name).is_file()

    def find(self, name: str) -> Path:
        """The path of a file of the run, or of one that the report makes of it."""
        return (self.made if MADE.fullmatch(name) else self.folder) / name

    def join(self, name: str) -> str:
        """The path of a file of the run as the notebook finds it."""
        return name if self.place == "." else f"{self.place}/{name}"

    @property
    def settings(self) -> dict:
        """The run's settings by name; {} for a blend."""
        return self.record.get("settings") or {}

    @property
    def space(self) -> dict:
        """The search space of a study, as `parse_space` returns it; {} for other runs."""
        return self.record.get("study", {}).get("space", {})

    @property
    def shared(self) -> dict:
        """The settings that all trials of a study share; of other runs, all settings."""
        return share_settings(self.settings, self.space)

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
    def importance(self) -> dict:
        """The share of the AUC's variance that each setting of a study explains.

        The largest first; {} if there are too few completed trials to estimate it.
        """
        shares = self.record["study"]["importance"]
        is_enough = sum(self.study["state"] == "COMPLETE") >= TRIALS_PER_SETTING * len(shares)
        return shares if is_enough else {}

    @property
    def kind(self) -> str:
        """What a text calls it: "run" or "study"."""
        return "run" if self.study is None else "study"

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
    if not (folder / "run.json").is_file() and (folder / "study.log").is_file():
        raise ValueError(
            f"{folder}: expected a finished study. Received: no run.json, so it is not finished. "
            "Try: repeat `python build.py train`, which keeps its trials"
        )
    if not (folder / "run.json").is_file():
        raise ValueError(
            f"{folder}: expected a finished run, blend, study or exploration, with "
            "run.json. Received: none. Try: python build.py output or train first"
        )
    check_folder(folder)
    pushed, record = read_record(folder, PushRecord), read_run_json(folder)
    path = folder / "submit.json"
    return ReportRun(
        folder=folder,
        made=folder,
        name=folder.resolve().name,
        place=Path(os.path.relpath(folder, home)).as_posix(),
        record=record,
        scores=check_content(read_content(folder, path.name), SUBMISSION, path),
        service=escape(pushed.service) if pushed else "",
        exploration=read_exploration(folder),
        patches=read_patches(folder / "patches.csv"),
        history=read_csv(folder / "history.csv", HISTORY),
        study=read_study(folder / "study.csv") if "study" in record else None,
        oof=read_scores(folder / "oof.csv"),
    )


def read_run_json(folder: Path) -> dict:
    """run.json as ReportRun has it.

    Raises:
        ValueError: an entry that is not as expected; names it.
    """
    path = folder / "run.json"
    result = read_result(folder)
    record = check_content(result, RUN, path)
    counts, settings = record.get("counts"), record.get("settings", {})
    if counts and counts["positive"] > counts["train"]:
        raise wrong(path, "counts.positive", "no more than counts.train", str(counts))
    calibration = record.get("calibration") or {}
    for found in calibration.values() if "members" in settings else [calibration]:
        if found:
            check_content(found, CALIBRATION, path)
    if "study" in record:  # older versions called the highest trial the winner
        study = record["study"]
        old = {"highest": study.get("winner"), "highest_auc": study.get("winner_auc")}
        record["study"] = study = {**old, **study}
        if None in (study["highest"], study["highest_auc"]):
            raise wrong(path, "study", "highest and highest_auc", str(sorted(study)))
        if "space" in study:
            study["space"] = parse_space(result["study"]["space"], path)
    return record


def read_study(path: Path) -> pd.DataFrame | None:
    """study.csv, or None; older ones lack times and epochs."""
    study = read_csv(path, ("number", "value"), ("state",))
    more = () if study is None else study.columns.intersection(["seconds", "epochs_trained"])
    return read_csv(path, ("number", "value", *more), ("state",))


def read_scores(path: Path) -> pd.DataFrame | None:
    """oof.csv by patch id, or None.

    Raises:
        ValueError: other labels than 0 and 1, one of them alone, or no probabilities.
    """
    if not path.is_file():
        return None
    oof = read_oof(path)
    if set(oof["label"]) != {0, 1}:
        raise wrong(path, "its column label", "0 and 1", str(sorted(set(oof["label"]))[:5]))
    if not oof["prediction"].between(0, 1).all():
        outside = oof["prediction"][~oof["prediction"].between(0, 1)]
        raise wrong(path, "its column prediction", "probabilities", str(outside.iloc[0]))
    return oof


def read_exploration(folder: Path) -> dict | None:
    """exploration.json with its classes in today's spelling, or None."""
    path = folder / "exploration.json"
    if not path.is_file():
        return None
    found = check_content(read_json(path), EXPLORATION, path)
    for name in ("brightness", "tissue"):
        by_class = found[name].items()
        found[name] = {OLD_CLASSES.get(key, key): value for key, value in by_class}
    return found


def read_patches(path: Path) -> pd.DataFrame | None:
    """patches.csv, each patch once, or None."""
    patches = read_csv(path, PATCHES, ("id", "blank"))
    return None if patches is None else patches.drop_duplicates("id")


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
