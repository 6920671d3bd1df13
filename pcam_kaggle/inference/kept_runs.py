"""Finished runs, their networks found and checked."""

import dataclasses
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..system.files import hash_file
from ..system.outputs import find_outputs
from .networks import FACTS
from .reuse_settings import list_ids

FACTS_SCHEMA = 1  # of the facts
MAX_SCALE = 1e6  # of a calibration
NETWORKS = "folds/*fold*_seed*.keras"
NAME = r"folds/[\w.-]*fold\d+_seed\d+\.keras"  # of a network in a manifest


@dataclasses.dataclass(frozen=True)
class KeptRun:
    """A finished run and its networks.

    `record` is its run.json, `networks` maps paths to sha256, and `maps` has the (scale, offset)
    of each network's calibration in that order, or is None.
    """

    folder: Path
    record: dict
    networks: dict
    maps: list | None

    @property
    def build_id(self) -> str:
        """What the run is known by."""
        return self.record["build_id"]

    @property
    def average(self) -> str:
        """How the run averages the networks of a method."""
        return self.record["settings"].get("ensemble", "mean")


def find_kept_runs(ids: Sequence, inputs: Path | str | None = None) -> list:
    """Find finished runs among the kernel's inputs and check their networks.

    Args:
        ids: their build ids.
        inputs: folder to use instead of PCAM_INPUT, or None.

    Returns:
        list of KeptRun, in the order of the ids.

    Raises:
        ValueError: no ids, a run that is not there, or as `find_networks` and `find_maps`.
    """
    if not ids:
        raise ValueError(
            "networks: expected the build ids of finished runs. Received: none. Try: python "
            "build.py push infer networks=RUN; or attach the output of a finished kernel (Add "
            "Input, Your Work) or a model or dataset of its run.json and folds/, and write the "
            "build_id of its run.json into OVERRIDES"
        )
    found, runs = find_outputs(inputs), []
    for build_id in ids:
        if build_id not in found:
            raise ValueError(
                f"networks: expected a run.json of build {build_id} among the inputs. Received: "
                f"{', '.join(sorted(found)) or 'none'}. Try: attach the output of that run's kernel"
            )
        folder, record = found[build_id]
        listed = record.get("files")
        networks = find_networks(folder, listed if isinstance(listed, dict) else {})
        runs.append(KeptRun(folder, record, networks, find_maps(folder, record, networks)))
    return runs


def find_kept_run(networks: str, inputs: Path | str | None = None) -> KeptRun:
    """Find the one run that a setting `networks` names, as `find_kept_runs` does.

    Raises:
        ValueError: it names several, or as `find_kept_runs`.
    """
    ids = list_ids(networks)
    if len(ids) > 1:
        raise ValueError(f"networks: expected one build id. Received: {networks}")
    return find_kept_runs(ids, inputs)[0]


def filter_networks(names: Iterable) -> list:
    """Those of the names in a manifest that are names of networks."""
    return sorted(name for name in names if re.fullmatch(NAME, name, re.ASCII))


def parse_network(path: Path | str) -> tuple:
    """The fold and the seed in the name of a network's file, wherever it lies."""
    fold, seed = re.search(r"fold(\d+)_seed(\d+)\.keras$", str(path)).groups()
    return int(fold), int(seed)


def find_networks(run: Path, listed: dict) -> dict:
    """The networks of a run's folds, checked against run.json.

    Args:
        run: the folder of run.json. The networks are in folds/, or beside it as in a dataset.
        listed: the manifest in run.json.

    Returns:
        A dict of their paths and sha256.

    Raises:
        ValueError: there are none, one is missing, or one is not what the run wrote.
    """
    # A network that is not listed, such as one cut short, is not in the submission either.
    names = set(filter_networks(listed))
    fetch = f"Try: python build.py output {run.name} if it was pushed; else delete it and its .npz "
    fetch += "and repeat the training"
    if not names or "submission.csv" not in listed or not (run / "run.json").is_file():
        raise ValueError(
            f"{run} has no networks. Expected: run.json and {NETWORKS}. Received: a run of an "
            "older version, one that submits nothing or only predicts, a blend, or an output "
            f"without them. Try: python build.py output {run.name}, or a new run"
        )
    names |= set(filter_networks(f"{n[:-4]}.keras" for n in listed if n.endswith(".npz")))
    networks = {}
    for name in sorted(names):
        path, entry = run / name, listed.get(name, {})
        if not path.is_file() and (run / path.name).is_file():
            path = run / path.name
        if not path.is_file():
            raise ValueError(f"{path} is not there. Expected: every network of the run. {fetch}")
        digest = hash_file(path)
        if digest != entry.get("sha256", digest):
            raise ValueError(
                f"{path} is damaged. Expected: sha256 {entry['sha256']}, as in run.json. "
                f"Received: {digest}. {fetch}"
            )
        networks[str(path.absolute())] = digest
    return networks


def read_facts(path: Path, fingerprint: str | None = None) -> dict:
    """Check every byte of a kept network and read the facts about it.

    Args:
        path, fingerprint: as for `load_network`.

    Raises:
        ValueError: as `load_network`.
    """
    if not path.is_file():
        raise ValueError(
            f"{path} is not there. Expected: a network that a run kept. "
            "Try: python build.py output, which fetches it"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            found = FACTS in archive.namelist()
            facts = json.loads(archive.read(FACTS)) if found and not damaged else {}
    except Exception as error:  # a damaged file raises errors of many classes
        damaged, facts = first_line(error), {}
    if damaged:
        raise ValueError(
            f"{path} is damaged. Expected: a network that a run kept. Received: {damaged}. "
            "Try: delete it and fetch it again (python build.py output)"
        )
    if not isinstance(facts, dict) or facts.get("schema") != FACTS_SCHEMA:
        raise ValueError(
            f"{path} is not a network that this version kept. Expected: {FACTS} of schema "
            f"{FACTS_SCHEMA} in it. Received: {'another' if facts else 'none'}. Try: name a run's "
            "folder"
        )
    if fingerprint and facts["fingerprint"] != fingerprint:
        raise ValueError(
            f"{path} is of another run. Expected: fingerprint {fingerprint}, as in run.json. "
            f"Received: {facts['fingerprint']}. Try: fetch the output again"
        )
    return facts


def find_maps(run: Path, record: dict, networks: dict) -> list | None:
    """The calibration of every network, (scale, offset), or None if the run has none.

    Raises:
        ValueError: a network lacks one, or an earlier version mapped the average.
    """
    calibration = record.get("calibration") or {}
    parts = [part for part in (calibration, *calibration.values()) if isinstance(part, dict)]
    found = [part["maps"] for part in parts if part.get("maps")]
    maps = {name: pair for part in found if isinstance(part, dict) for name, pair in part.items()}
    names = [Path(path).stem for path in networks]
    if calibration.get("map") or (found and not all(is_scaling(maps.get(name)) for name in names)):
        raise ValueError(
            f"{run} cannot be calibrated. Expected: scale and offset of each network "
            f"({', '.join(names)}) in run.json. Received: {found or 'those of their average'}. "
            "Try: the version that trained it"
        )
    return [maps[name] for name in names] if found else None


def is_scaling(pair: object) -> bool:
    """Whether a value is a scale and an offset."""
    is_pair = isinstance(pair, list) and len(pair) == 2
    return is_pair and all(type(x) in (int, float) and abs(x) < MAX_SCALE for x in pair)


def read_oof(run: KeptRun) -> pd.DataFrame:
    """The run's out-of-fold predictions, as `gather_oof` returns them.

    Raises:
        ValueError: oof.csv is not there, or not the file that the run wrote.
    """
    path = run.folder / "oof.csv"
    expected = run.record["files"].get("oof.csv", {}).get("sha256")
    found = hash_file(path) if path.is_file() else "none"
    if found != expected:
        raise ValueError(
            f"{path} is missing or damaged. Expected: sha256 {expected}, as in run.json. "
            f"Received: {found}. Try: fetch the output again"
        )
    try:
        return pd.read_csv(path, dtype={"id": str}).astype({"id": str, "label": int})
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: expected the columns id and label. Received: {error}") from error


def refuse_ranks(run: KeptRun, labels: str) -> None:
    """Refuse hard labels (ValueError) of a run that averages ranks."""
    if run.average == "rank" and labels == "hard":
        raise ValueError(
            f"labels: run {run.build_id} averages ranks, which are no probabilities. Expected: "
            "labels=probability. Received: labels='hard'"
        )


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
