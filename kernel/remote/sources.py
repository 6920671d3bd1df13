"""What a kernel takes the networks of finished runs from: private datasets, or kernels' outputs."""

import json
from collections.abc import Callable

from pcam_kaggle.system.files import hash_file, short_hash

from ..records import PushRecord
from ..reuse import Source
from .client import Client
from .datasets import list_dataset_files, publish_files
from .versions import find_kernel, get_version

DATASET = "pcam-run-"  # how the names of datasets of runs start


def choose_inputs(sources: list[Source], client: Client) -> dict[str, list[str]]:
    """What a kernel takes the networks from, by the keys of kernel-metadata.json.

    A private dataset of the networks that are here, else the output of the run's kernel.

    Raises:
        ValueError: neither is there.
    """
    inputs = {"dataset_sources": [], "kernel_sources": []}
    for source in sources:
        if source.kept:
            inputs["dataset_sources"].append(f"{client.username}/{name_dataset(source)}")
        elif is_latest(source.push, client):
            inputs["kernel_sources"].append(source.push.kernel)
        else:
            raise ValueError(
                f"{source.folder} has no networks. Expected: those that its run.json lists, or "
                f"a run that is its kernel's latest version on {client.service}. Try: python "
                f"build.py output {source.folder.name}"
            )
    return inputs


def is_latest(push: PushRecord | None, client: Client) -> bool:
    """Whether a run is the latest version of its kernel, whose output a kernel is given."""
    if push is None or not push.kernel or push.service != client.service:
        return False
    return get_version(find_kernel(client, push.kernel)) == push.version


def name_dataset(source: Source) -> str:
    """The name of the dataset of a run's files, the same for the same files."""
    hashes = {path.name: hash_file(path) for path in source.files}
    return f"{DATASET}{short_hash(json.dumps(hashes, sort_keys=True))}"


def publish_sources(sources: list[Source], client: Client, say: Callable[[str], None]) -> None:
    """Upload the networks that are here, unless they are there; say what is attached.

    Raises:
        ValueError: the service has unpacked the networks.
        KaggleError: what Kaggle refused.
    """
    for source in sources:
        if not source.kept:
            kernel = source.push.kernel
            say(f"networks   of {source.folder.name}: the latest output of {kernel}, attached")
            continue
        slug = name_dataset(source)
        title = f"PCam run {slug.removeprefix(DATASET)}"
        dataset = publish_files(client, source.files, slug, title, say)
        missing = {path.name for path in source.files} - list_dataset_files(client, slug)
        if missing:
            raise ValueError(
                f"the dataset {dataset} lacks {', '.join(sorted(missing))}. Expected: the files as "
                "they were uploaded. Received: unpacked ones. Try: attach the output of the run's "
                "kernel by hand (kernel_sources in kernel-metadata.json)"
            )
        say(f"networks   of {source.folder.name}, as {dataset}")
