"""Files of trained networks, checked when read."""

import contextlib
import dataclasses
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from .clock import Stage
from .files import read_json, write_beside
from .paths import find_attached

# fold0_seed0.npz, stain0_seed0.npz, and checkpoint_fold0_seed0.npz of either.
MEMBER_FILES = "[cfs]*_seed*.npz"
PLAIN = ("fold", "seed", "positions", "oof", "oof_one_view", "test")  # of a Member


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The patches of its validation fold that a network explains.

    `shown` are their indices in the fold's positions, `maps` float16 (m, 96, 96) from 0 to 1,
    and `patches` uint8 (m, 96, 96, 3).
    """

    shown: np.ndarray
    maps: np.ndarray
    patches: np.ndarray


@dataclasses.dataclass(frozen=True)
class Member:
    """One trained network of an ensemble: its predictions and its training.

    `positions` are the training patches of its validation fold, `oof` and `oof_one_view` their
    probabilities averaged over all views and of the unchanged patch, `test` those of the test
    patches (float32). `history` has a row per epoch, `stages` maps names to Stages.
    `explanation` is None if nothing was explained.
    """

    fold: int
    seed: int
    positions: np.ndarray
    oof: np.ndarray
    oof_one_view: np.ndarray
    test: np.ndarray
    history: pd.DataFrame
    stages: dict
    was_cut_short: bool = False
    explanation: Explanation | None = None


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The networks of a run: `members`, ordered by fold and seed.

    `missing` names the networks for which there was no time, `warnings` are lines that readers
    of the scores should see.
    """

    members: list
    missing: list
    warnings: tuple = ()


def save_member(path: Path, member: Member, fingerprint: str) -> None:
    """Write a member as one .npz of plain arrays."""
    path.parent.mkdir(exist_ok=True)
    stages = {name: dataclasses.asdict(stage) for name, stage in member.stages.items()}
    texts = {
        "history": member.history.to_json(orient="records", double_precision=15),
        "stages": json.dumps(stages),
        "fingerprint": fingerprint,
    }
    plain = {name: getattr(member, name) for name in PLAIN}
    shown = vars(member.explanation) if member.explanation else {}
    with write_beside(path) as partial:
        np.savez(partial, **plain, **texts, **shown)


def load_member(path: Path) -> Member:
    """Read what `save_member` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    with open_arrays(path) as arrays:
        plain = {name: arrays[name] for name in PLAIN}
        shown = [arrays[f.name] for f in dataclasses.fields(Explanation) if "patches" in arrays]
        history = io.StringIO(str(arrays["history"]))
        stages = json.loads(str(arrays["stages"]))
    return Member(
        **{**plain, "fold": int(plain["fold"]), "seed": int(plain["seed"])},
        history=pd.read_json(history, precise_float=True),
        stages={name: Stage(**stage) for name, stage in stages.items()},
        explanation=Explanation(*shown) if shown else None,
    )


@contextlib.contextmanager
def open_arrays(path: Path, fingerprint: str | None = None) -> Iterator:
    """Open an .npz that a run wrote, and check that it belongs to this run.

    Args:
        path: the file.
        fingerprint: the run's; None accepts any.

    Raises:
        ValueError: the file is damaged or of another run; names it.
    """
    try:
        with np.load(path) as arrays:
            found = str(arrays["fingerprint"])
            if fingerprint in (None, found):
                yield arrays
                return
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, LookupError) as error:
        raise ValueError(
            f"{path} is damaged. Expected: a file that a run wrote. Received: {error}. Try: delete "
            "it; only that network is trained again"
        ) from error
    refuse_other(path, found, fingerprint)


def refuse_other(path: Path, found: str, fingerprint: str) -> None:
    """Refuse a file that another run left.

    Raises:
        ValueError: the fingerprints differ.
    """
    if found != fingerprint:
        raise ValueError(
            f"{path} is from another run (its code, settings or data differ). Expected: an empty "
            f"output folder or this run's own. Received: fingerprint {found}, not {fingerprint}"
        )


def check_unused(output: Path, fingerprint: str) -> None:
    """Refuse an output folder that holds another run's results, or someone else's.

    Raises:
        ValueError: names the file and the two fingerprints, or a damaged file.
    """
    networks = sorted((output / "folds").glob(MEMBER_FILES))
    for path in networks:
        with open_arrays(path, fingerprint):
            pass
    run_json = output / "run.json"
    if run_json.exists():
        refuse_other(run_json, str(read_json(run_json).get("fingerprint")), fingerprint)
    elif (output / "submission.csv").exists() and not networks:
        refuse_other(output / "submission.csv", "none", fingerprint)


def take_attached(output: Path, fingerprint: str, inputs: Path | str | None = None) -> None:
    """Copy the networks that an attached earlier output has finished or started.

    Those that are damaged or of other code, settings or data are left where they are, with a
    line that says so.

    Args:
        output: the run's folder.
        fingerprint: the run's.
        inputs: folder to use instead of PCAM_INPUT, or None.
    """
    for path in find_attached(MEMBER_FILES, inputs):
        target = output / "folds" / path.name
        try:
            with open_arrays(path, fingerprint):
                pass
        except ValueError as error:
            print(f"attached {path} is not taken: {error}")
            continue
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with write_beside(target) as partial:
                shutil.copyfile(path, partial)
            print(f"attached {path}: taken over", flush=True)
