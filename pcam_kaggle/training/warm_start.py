"""A second stage: each network starts from the one that an earlier run trained for its fold."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.run import Run
from ..system.device import Device
from ..system.files import hash_file
from ..system.outputs import find_outputs
from ..system.weights import load_file
from .members import list_jobs


def warm_start(method: object, folds: np.ndarray, run: Run, device: Device) -> object:
    """Give a method the networks to start from if its `weights` are a build id.

    Args:
        method: Finetune.
        folds: int array (n,), the validation fold of every patch.
        run, device: as for `fit_members`.

    Returns:
        The method, with a network for every random seed. None of them was trained on a patch
        that its fold holds out.

    Raises:
        FileNotFoundError: the build is not among the inputs.
        ValueError: its folds or its network differ, or a network is missing or damaged.
    """
    build_id, ids = method.network.weights, run.competition.train["id"]
    if build_id.endswith(".keras"):  # its held-out patches could not be checked
        raise ValueError(f"weights: expected the build id of a run. Received: weights={build_id!r}")
    if not re.fullmatch("[0-9a-f]{10}", build_id):
        return method
    outputs = find_outputs(run.data)
    if build_id not in outputs:
        raise FileNotFoundError(
            f"weights: expected the output of build {build_id} among the inputs. Received: "
            f"{', '.join(outputs) or 'none'}. Try: attach it, or python build.py, which does"
        )
    folder, files = outputs[build_id][0], outputs[build_id][1]["files"]
    oof = pd.read_csv(check_file(folder, "oof.csv", files), dtype={"id": str})
    starts = {}
    for job in list_jobs(method, run, device):
        own = f"folds/fold{job.fold}_seed{job.seed}.keras"
        found = sorted(n for n in files if re.match(rf"folds/fold{job.fold}_seed\d+\.keras", n))
        if own not in found and len(found) != 1:
            raise ValueError(
                f"weights: expected one network of fold {job.fold} in build {build_id}, or the one "
                f"of seed {job.seed}. Received: {', '.join(found) or 'none'}. Try: folds=... with "
                "the folds of that run"
            )
        first, held_out = set(oof["id"][oof["fold"] == job.fold]), set(ids[folds == job.fold])
        if first != held_out:
            raise ValueError(
                f"weights: fold {job.fold} of build {build_id} is another, so that its network was "
                f"trained on patches that are held out here. Expected: these {len(held_out)} "
                f"patches held out. Received: {len(first)}, of which {len(first & held_out)} are "
                "the same. Try: the num_folds, seed, num_images and slide map of that run"
            )
        starts[job.seed] = check_file(folder, own if own in found else found[0], files)
    network = dataclasses.replace(method.network, weights="none")
    method = dataclasses.replace(method, network=network, starts=starts)
    load_file(method.build(), next(iter(starts.values())))  # refuses another network early
    print(f"start    from the networks of build {build_id}, in {folder}", flush=True)
    return method


def check_file(folder: Path, name: str, files: dict) -> Path:
    """Return the path of a file of a run, which a dataset keeps without its folder."""
    path = folder / name if (folder / name).is_file() else folder / Path(name).name
    if not path.is_file() or hash_file(path) != files.get(name, {}).get("sha256"):
        raise ValueError(
            f"weights: {path} is missing, damaged or of another build. Expected: the file whose "
            "sha256 is in run.json beside it. Try: fetch it again (python build.py output)"
        )
    return path
