"""Files of trained networks, checked when read."""

import dataclasses
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from .clock import Stage
from .files import read_json, write_beside

MEMBER_FILES = "*fold*_seed*.npz"  # vit_fold0_seed0.npz, or fold0_seed0.npz in a run of one method
CHECKPOINT = "checkpoint_"  # starts the names of those in training
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
    `place` is the device on which it was trained. `explanation` is None if nothing was
    explained; `warning` says why if that failed.
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
    place: str = ""
    explanation: Explanation | None = None
    warning: str = ""


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The networks of a run that are finished: `members`, ordered by fold and seed.

    `missing` names the other networks, `warnings` are lines that readers of the scores should
    see, and `files` are those of the networks, in the output folder.
    """

    members: list
    missing: list
    warnings: tuple = ()
    files: tuple = ()


def list_finished(folder: Path, prefix: str = "*") -> list:
    """The files of finished networks whose names have that before "fold"; of all by default."""
    paths = sorted(folder.glob(f"{prefix}fold*_seed*.npz"))
    return [path for path in paths if not path.name.startswith(CHECKPOINT)]


def save_member(path: Path, member: Member, fingerprint: str) -> None:
    """Write a member as one .npz of plain arrays."""
    path.parent.mkdir(exist_ok=True)
    stages = {name: dataclasses.asdict(stage) for name, stage in member.stages.items()}
    texts = {
        "history": member.history.to_json(orient="records", double_precision=15),
        "stages": json.dumps(stages),
        "place": member.place,
        "warning": member.warning,
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
    arrays = read_arrays(path)
    plain = {name: arrays[name] for name in PLAIN}
    shown = [arrays[f.name] for f in dataclasses.fields(Explanation) if "patches" in arrays]
    stages = json.loads(str(arrays["stages"]))
    return Member(
        **{**plain, "fold": int(plain["fold"]), "seed": int(plain["seed"])},
        history=pd.read_json(io.StringIO(str(arrays["history"])), precise_float=True),
        stages={name: Stage(**stage) for name, stage in stages.items()},
        explanation=Explanation(*shown) if shown else None,
        **{name: str(arrays.get(name, "")) for name in ("place", "warning")},
    )


def read_arrays(path: Path, fingerprint: str | None = None) -> dict:
    """Read all arrays of an .npz that a run wrote; None accepts any run's fingerprint.

    Raises:
        ValueError: the file is damaged or of another run; names it.
    """
    try:
        with np.load(path) as file:
            arrays = dict(file)
        found = str(arrays["fingerprint"])
    except Exception as error:  # a damaged file raises errors of many classes
        raise ValueError(
            f"{path} is damaged. Expected: a file that a run wrote. Received: {error}. Try: delete "
            "it; only that network is trained again"
        ) from error
    if fingerprint is not None:
        refuse_other(path, found, fingerprint)
    return arrays


def refuse_other(path: Path, found: str, fingerprint: str) -> None:
    """Refuse another run's file.

    Raises:
        ValueError: the fingerprints differ.
    """
    if found != fingerprint:
        raise ValueError(
            f"{path} is from another run: other code (an added cell counts), settings or data. "
            f"Expected: no files, or this run's. Received: fingerprint {found}, not {fingerprint}"
        )


def check_unused(output: Path, fingerprint: str) -> None:
    """Refuse an output folder that holds another run's results, or someone else's.

    Raises:
        ValueError: names the file and the two fingerprints, or a damaged file.
    """
    networks = sorted((output / "folds").glob(MEMBER_FILES))
    for path in networks:
        read_arrays(path, fingerprint)
    run_json = output / "run.json"
    if run_json.exists():
        refuse_other(run_json, str(read_json(run_json).get("fingerprint")), fingerprint)
    elif (output / "submission.csv").exists() and not networks:
        refuse_other(output / "submission.csv", "none", fingerprint)


def refuse_unread(output: Path, attached: list) -> None:
    """Refuse networks, finished or in training, of which nobody knows whether they are this code's.

    Args:
        output, attached: as for `take_attached`.

    Raises:
        ValueError: names the first of them.
    """
    found = [*(output / "folds").glob(MEMBER_FILES), *attached]
    if found:
        raise ValueError(
            f"{min(found)} cannot be resumed: the code that runs cannot be read. Expected: a "
            "script, or a notebook whose cells IPython keeps as In, with the mark # %% Imports. "
            "Received: neither. Try: one of these, or no networks in the output and the inputs"
        )


def take_attached(output: Path, fingerprint: str, attached: list) -> None:
    """Copy the networks that an attached earlier output has finished or started.

    Others stay. A line names each damaged one, and the first of another run.

    Args:
        output: the run's folder.
        fingerprint: the run's.
        attached: paths of networks among the inputs.
    """
    folder, num_other = output / "folds", 0
    for path in (path for path in attached if not (folder / path.name).exists()):
        try:
            read_arrays(path, fingerprint)
        except ValueError as error:
            num_other += not error.__cause__  # else damaged
            if error.__cause__ or num_other == 1:
                print(f"attached, not taken: {error}")
            continue
        folder.mkdir(exist_ok=True)
        network = path.with_suffix(".keras")
        for source in [network] * is_whole(network) + [path]:  # .npz last: it says "finished"
            with write_beside(folder / source.name) as partial:
                shutil.copyfile(source, partial)
        print(f"attached {path}: taken over", flush=True)


def is_whole(path: Path) -> bool:
    """Whether a file is a zip archive without damage; says where the damage is."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # as in read_arrays
        damaged = error
    if damaged:
        print(f"attached, not taken: {path} is damaged at {damaged}")
    return not damaged
