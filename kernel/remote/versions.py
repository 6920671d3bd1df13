"""What Kaggle keeps of a kernel: its latest version, its text, the state of each."""

import ast
from pathlib import Path

from ..bundle.code_id import identify_networks
from ..bundle.page import Bundle
from ..folders import RUNS
from ..records import PushRecord, read_record
from ..runs import list_runs
from .client import Client
from .datasets import is_networks
from .errors import KaggleError

ALIVE = ("QUEUED", "RUNNING")


def find_kernel(client: Client, kernel_id: str):
    """A kernel's latest version (ApiGetKernelResponse), or None without any.

    Args:
        client: Client.
        kernel_id: str, "owner/slug".
    """
    owner, slug = kernel_id.split("/")
    try:
        return client.call("kernels", "get_kernel", user_name=owner, kernel_slug=slug)
    except KaggleError as error:
        if error.status in (403, 404):  # Kaggle says 403 where there is no such kernel
            return None
        raise


def find_same(
    client: Client, stored: object, metadata: dict, bundle: Bundle, resume: bool
) -> int | None:
    """The latest version's number, if it is this build and need not be pushed again.

    Args:
        client: Client.
        stored: what `find_kernel` returned.
        metadata: dict of kernel-metadata.json, without what is resumed.
        bundle: Bundle that is about to be pushed.
        resume: bool, whether earlier networks are to be attached.

    Returns:
        int, the version if it has the same text and inputs and has not failed; else
        None.
    """
    if stored is None or not is_same_source(stored, bundle):
        return None
    kept = stored.metadata
    datasets = set(kept.dataset_data_sources or [])
    networks = set(filter(is_networks, datasets))
    if datasets - networks != set(metadata["dataset_sources"]):
        return None
    if resume and not (networks or kept.kernel_data_sources):
        return None
    answer = fetch_state(client, metadata["id"], kept.current_version_number)
    state = answer.status.name
    is_usable = state in ALIVE or (state == "COMPLETE" and not resume)
    return kept.current_version_number if is_usable else None


def recall_max_hours(
    stored: object, kernel_id: str, service: str, runs: Path = RUNS
) -> float | None:
    """The max_hours that `push` chose for the latest version, with which it is built again.

    Args:
        stored: what `find_kernel` returned.
        kernel_id: str, "owner/slug".
        service: str, "Kaggle" or "sandbox".
        runs: Path of the folder of runs.

    Returns:
        float, as the record of the version's push says, or as its text says where there
        is no such record; None where the user chose it.
    """
    if stored is None:
        return None
    version = (service, kernel_id, stored.metadata.current_version_number)
    for run in reversed(list_runs(runs)):
        record = read_record(run, PushRecord)
        if (record.service, record.kernel, record.version) == version:
            return record.max_hours
    return read_overrides(stored.blob.source or "").get("max_hours")


def read_overrides(source: str) -> dict:
    """OVERRIDES of a page's text; {} where there are none."""
    try:
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "OVERRIDES":
                return ast.literal_eval(node.value)
    except (SyntaxError, ValueError):
        return {}
    return {}


def is_same_source(stored: object, bundle: Bundle) -> bool:
    """Whether Kaggle's copy is the bundled text, apart from line ends and edges."""
    texts = (stored.blob.source or "", bundle.source)
    first, second = ("\n".join(text.strip().splitlines()) for text in texts)
    return first == second


def is_resumable(stored: object, bundle: Bundle) -> bool:
    """Whether the build would train the same networks as Kaggle's copy.

    Both may be worded differently, or differ in settings that decide no prediction, such as
    max_hours.
    """
    text = "\n".join((stored.blob.source or "").splitlines()) + "\n"
    kept = identify_networks(text)
    same = kept is not None and kept == identify_networks(bundle.source)
    return same or is_same_source(stored, bundle)


def fetch_state(client: Client, kernel_id: str, version: int):
    """The state of one version (ApiGetKernelSessionStatusResponse)."""
    fields = identify_version(kernel_id, version)
    return client.call("kernels", "get_kernel_session_status", **fields)


def identify_version(kernel_id: str, version: int) -> dict:
    """The fields of a request that identify one version."""
    owner, slug = kernel_id.split("/")
    label = f"v{version}"
    return {"user_name": owner, "kernel_slug": slug, "version_label": label}


def make_page_url(kernel_id: str) -> str:
    """The URL of a kernel's page on Kaggle."""
    return f"https://www.kaggle.com/code/{kernel_id}"
