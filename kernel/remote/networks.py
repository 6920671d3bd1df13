"""What a resumed kernel takes its finished networks from: a dataset, or its own output."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.system.files import PARTIAL, hash_file, short_hash
from pcam_kaggle.system.settings import SESSION_SETTINGS

from ..bundle.code_id import identify_networks
from ..bundle.page import Bundle
from ..records import read_result, read_result_record
from ..runs import list_records
from .client import Client
from .datasets import NETWORKS, list_dataset_files, publish_files
from .manifest import matches
from .request import PushRequest
from .versions import is_resumable

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


def choose_attached(request: PushRequest, stored: object) -> dict[str, list[str]]:
    """What a kernel takes its networks from, said in a line: nothing unless it resumes.

    Networks that `output` has fetched are uploaded as a private dataset. Without any the
    kernel's own output is attached, which Kaggle may refuse.

    Returns:
        dict of the key in kernel-metadata.json to the sources to add.

    Raises:
        ValueError: no network of the same code and settings.
        KaggleError: what Kaggle refused.
    """
    client, bundle, say = request.client, request.bundle(), request.say
    if not request.resume:
        if stored and is_resumable(stored, bundle):
            say("this starts from nothing; push --resume takes over finished networks")
        return {}
    networks = find_networks(request)
    dataset = upload_networks(client, networks, say) if networks else None
    if dataset:
        count = len(networks.paths)
        files = f"{count} file{'s' * (count > 1)}"
        say(f"resume     {files} of version {networks.version}, as {dataset}")
        latest = stored.metadata.current_version_number if stored else 0
        if latest > networks.version:
            say(
                f"           version {latest} is later, and its output was not fetched: python "
                "build.py output fetches it"
            )
        return {"dataset_sources": [dataset]}
    check_resume(stored, bundle)
    say(
        f"resume     the kernel's own output, attached as {request.kernel_id}. If Kaggle refuses "
        "that: python build.py output, then push --resume, which uploads the networks as a dataset"
    )
    return {"kernel_sources": [request.kernel_id]}


def check_resume(stored: object, bundle: Bundle) -> None:
    """Refuse to resume without an earlier version whose networks would be the same.

    Raises:
        ValueError: none, or one of other code or settings.
    """
    if stored and is_resumable(stored, bundle):
        return
    kept = "one of other code or settings" if stored else "no version"
    raise ValueError(
        "--resume: expected a latest version on Kaggle of the same code and settings as build "
        f"{bundle.build_id}, whose finished networks are taken over. Received: {kept}. Try: "
        "push without --resume"
    )


def find_networks(request: PushRequest) -> Networks | None:
    """The fetched networks that the build would train itself, those of the latest push.

    Returns:
        Networks of the same code and settings, or None.

    Raises:
        ValueError: a file that was damaged since it was fetched; names it.
    """
    wanted, service = identify_networks(request.bundle().source), request.client.service
    for run, record in reversed(list_records(request.runs)):
        if read_result_record(run) is None:
            continue
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
        if is_over or name.startswith(PARTIAL):
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
        client, networks.paths, f"{NETWORKS}{digest}", f"PCam networks {digest}", say
    )
    missing = set(hashes) - list_dataset_files(client, f"{NETWORKS}{digest}")
    if missing:
        say(f"the dataset {dataset} lacks {', '.join(sorted(missing))}; it is not used")
        return None
    return dataset
