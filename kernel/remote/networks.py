"""What a resumed kernel takes its finished networks from: a dataset, or its own output."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.system.files import short_hash
from pcam_kaggle.system.settings import SESSION_SETTINGS

from ..bundle.code_id import identify_networks
from ..bundle.page import Bundle
from ..folders import RUNS
from ..records import PushRecord, read_record, read_result
from ..runs import list_runs
from .client import Client
from .datasets import list_dataset_files, publish_files
from .manifest import hash_file, matches

PREFIX = "pcam-networks-"  # of the datasets' names
CHECKPOINT = "checkpoint_"  # of a network in training


@dataclasses.dataclass(frozen=True)
class Networks:
    """Networks that `output` has fetched, finished or in training.

    Attributes:
        run: Path of the folder of their run.
        version: int, the kernel's version that left them.
        paths: list of Path of their files.
    """

    run: Path
    version: int
    paths: list


def find_networks(bundle: Bundle, service: str, runs: Path = RUNS) -> Networks | None:
    """The fetched networks that a build would train itself, those of the latest push.

    Args:
        bundle: Bundle that is about to be pushed.
        service: str, "Kaggle" or "sandbox".
        runs: Path of the folder of runs.

    Returns:
        Networks of the same code and settings, or None.

    Raises:
        ValueError: a file that was damaged since it was fetched; names it.
    """
    wanted = identify_networks(bundle.source)
    for run in reversed(list_runs(runs)):
        record = read_record(run, PushRecord)
        if record.service == service and record.kernel and identify_run(run) == wanted:
            paths = list_networks(run)
            if paths:
                return Networks(run, record.version, paths)
    return None


def identify_run(run: Path) -> tuple | None:
    """The code and the settings of a fetched run, as `identify_networks` returns them."""
    result = read_result(run)
    if not result.get("code") or not result["settings"]:
        return None
    settings = result["settings"].items()
    deciding = {n: v for n, v in settings if n not in SESSION_SETTINGS}
    return result["code"], {n: tuple(v) if isinstance(v, list) else v for n, v in deciding.items()}


def list_networks(run: Path) -> list[Path]:
    """The files of a run's networks; a checkpoint only where its network is not finished.

    Raises:
        ValueError: a file that is not the one in run.json's manifest; names it.
    """
    folder, manifest = run / "folds", read_result(run).get("manifest") or {}
    names = {path.name for kind in ("npz", "keras") for path in folder.glob(f"*_seed*.{kind}")}
    kept = []
    for name in sorted(names):
        is_over = name.startswith(CHECKPOINT) and name.removeprefix(CHECKPOINT) in names
        if is_over or name.startswith("partial-"):
            continue
        entry = manifest.get(f"folds/{name}")
        if entry and not matches(folder / name, entry):
            raise ValueError(
                f"{folder / name} was damaged. Expected: the file that run.json lists. Received: "
                f"another size or sha256. Try: python build.py output {run.name}"
            )
        kept.append(folder / name)
    return kept


def upload_networks(client: Client, networks: Networks, say: Callable[[str], None]) -> str | None:
    """Make a private dataset of fetched networks, unless the same is there.

    Returns:
        str, the dataset, as owner/slug; None if its files are not the ones that were
        uploaded, since the service has unpacked them.

    Raises:
        KaggleError: what Kaggle refused.
    """
    hashes = {path.name: hash_file(path) for path in networks.paths}
    digest = short_hash(json.dumps(hashes, sort_keys=True))
    dataset = publish_files(
        client, networks.paths, f"{PREFIX}{digest}", f"PCam networks {digest}", say
    )
    missing = set(hashes) - list_dataset_files(client, f"{PREFIX}{digest}")
    if missing:
        say(f"the dataset {dataset} lacks {', '.join(sorted(missing))}; it is not used")
        return None
    return dataset


def is_networks(dataset: str) -> bool:
    """Whether `upload_networks` has made a dataset ("owner/slug")."""
    return dataset.split("/")[1].startswith(PREFIX)
