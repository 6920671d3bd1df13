"""What Kaggle keeps of a kernel: its latest version, its text, the state of each."""

import ast

from pcam_kaggle.system.files import short_hash
from pcam_kaggle.system.provenance import join_code

from ..bundle.code_id import identify_networks
from ..bundle.notebook import read_source
from ..bundle.page import Bundle
from ..records import measure_age
from .client import Client
from .datasets import is_networks
from .errors import KaggleError

SHOW_SECONDS = 600  # how long the service may take to show what it has done


def find_kernel(client: Client, kernel_id: str, version: int | None = None):
    """A version of a kernel (ApiGetKernelResponse), the latest if None; None without any.

    Args:
        client: Client.
        kernel_id: str, "owner/slug".
        version: int, its number, or None.
    """
    owner, slug = kernel_id.split("/")
    label = {} if version is None else {"version_label": f"v{version}"}
    try:
        kept = client.call("kernels", "get_kernel", user_name=owner, kernel_slug=slug, **label)
        return kept if kept.metadata else None
    except KaggleError as error:
        if error.status in (403, 404):  # Kaggle says 403 where there is no such kernel
            return None
        raise


def get_version(stored: object) -> int:
    """The latest version's number of what `find_kernel` returned; 0 without any."""
    return (stored.metadata.current_version_number or 0) if stored else 0


def list_sources(stored: object) -> dict[str, list[str]]:
    """The inputs of a version on Kaggle, by their keys in kernel-metadata.json."""
    kept = stored.metadata
    return {
        "competition_sources": kept.competition_data_sources or [],
        "dataset_sources": kept.dataset_data_sources or [],
        "kernel_sources": kept.kernel_data_sources or [],
        "model_sources": kept.model_data_sources or [],
    }


def compare_sources(sources: dict[str, list[str]], metadata: dict) -> bool | None:
    """Compare the inputs of a version with those of kernel-metadata.json.

    Args:
        sources: dict of keys of kernel-metadata.json to inputs; a key may be missing.
        metadata: dict of kernel-metadata.json.

    Returns:
        bool, whether the version has networks to resume beside the same inputs; None where
        the inputs differ.
    """

    def list_inputs(kind, names):
        own = {name for name in names if is_networks(name) or name == metadata["id"]}
        # A competition is named with or without a path before it.
        is_competition = kind == "competition_sources"
        inputs = {n.split("/")[-1] if is_competition else n for n in set(names) - own}
        return inputs, bool(own)

    resumed = False
    for kind, names in sources.items():
        inputs, has_networks = list_inputs(kind, names)
        if inputs != list_inputs(kind, metadata[kind])[0]:
            return None
        resumed = resumed or has_networks
    return resumed


def read_overrides(source: str) -> dict:
    """OVERRIDES of a page's text; {} where there are none."""
    try:
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "OVERRIDES":
                found = ast.literal_eval(node.value)
                return found if isinstance(found, dict) else {}
    except (SyntaxError, ValueError, RecursionError):
        return {}
    return {}


def read_max_hours(stored: object) -> float | None:
    """The max_hours in the text of what `find_kernel` returned; None without a number."""
    hours = read_overrides(get_source(stored)).get("max_hours")
    return hours if isinstance(hours, int | float) else None


def is_same_source(stored: object, bundle: Bundle) -> bool:
    """Whether Kaggle's copy is the bundled code, as a script or as a notebook."""
    return hash_source(get_source(stored)) == hash_source(bundle.source)


def get_source(stored: object) -> str:
    """The code of what `find_kernel` returned, as `read_source` returns it."""
    return read_source((stored.blob.source if stored.blob else None) or "")


def hash_source(text: str) -> str:
    """A hash of a kernel's code, apart from line ends, the edges of cells and cells of text."""
    return short_hash(join_code("\n".join(text.strip().splitlines())))


def is_resumable(stored: object, bundle: Bundle) -> bool:
    """Whether the build would train the same networks as Kaggle's copy.

    Both may be worded differently, or differ in settings that decide no prediction, such as
    max_hours.
    """
    text = "\n".join(get_source(stored).splitlines()) + "\n"
    kept = identify_networks(text)
    same = kept is not None and kept == identify_networks(bundle.source)
    return same or is_same_source(stored, bundle)


def ask_state(client: Client, kernel_id: str, version: int, pushed: str) -> str:
    """The name of a version's state; QUEUED where one that was just pushed does not show.

    Args:
        client: Client.
        kernel_id: str, "owner/slug".
        version: int, its number.
        pushed: str, when it was pushed (UTC, ISO 8601).
    """
    try:
        answer = fetch_state(client, kernel_id, version)
    except KaggleError as error:
        is_new = measure_age(pushed) < SHOW_SECONDS * client.pace
        if error.status not in (403, 404) or not is_new:
            raise
        return "QUEUED"
    return answer.status.name if answer.status else "QUEUED"


def fetch_state(client: Client, kernel_id: str, version: int):
    """The state of one version (ApiGetKernelSessionStatusResponse)."""
    fields = identify_version(kernel_id, version)
    return client.call("kernels", "get_kernel_session_status", **fields)


def identify_version(kernel_id: str, version: int) -> dict:
    """The fields of a request that identify one version."""
    owner, slug = kernel_id.split("/")
    label = f"v{version}"
    return {"user_name": owner, "kernel_slug": slug, "version_label": label}


def make_page_url(client: Client, kernel_id: str) -> str:
    """The URL of a kernel's page."""
    return f"{client.site}/code/{kernel_id}"
