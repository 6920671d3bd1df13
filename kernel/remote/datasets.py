"""Private Kaggle datasets, made of files of this machine."""

import fnmatch
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pcam_kaggle.data.settings import SLIDE_MAPS

from ..live import LiveLine
from .client import Client
from .download import make_progress
from .errors import KaggleError, LostAnswer

NETWORKS = "pcam-networks-"  # how the names of datasets of networks start
READY_SECONDS = 900  # how long Kaggle may take to unpack a dataset


def publish_files(
    client: Client, paths: Sequence[Path], slug: str, title: str, say: Callable[[str], None]
) -> str:
    """Make a private dataset of files, unless it is there, and wait until it is ready.

    Args:
        client: Client.
        paths: the files; their names become those in the dataset.
        slug: str, the dataset's name on Kaggle, that of its title.
        title: str.
        say: function that prints a line.

    Returns:
        str, the dataset, as owner/slug.

    Raises:
        KaggleError: what Kaggle refused, or a dataset that does not become ready.
    """
    with LiveLine(say) as live:
        if fetch_dataset_status(client, slug) is None:
            size = sum(path.stat().st_size for path in paths)
            what = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
            live.say(f"uploading {what} ({size / 1e6:.0f} MB)")
            create_dataset(client, paths, slug, title, make_progress("upload", size, live.take))
        wait_until_ready(client, slug, live)
    return f"{client.username}/{slug}"


def create_dataset(
    client: Client, paths: Sequence[Path], slug: str, title: str, count: Callable[[int], None]
) -> None:
    """Upload the files and make the dataset of them; `count` takes the bytes sent so far."""
    starts = itertools.accumulate((path.stat().st_size for path in paths), initial=0)
    tokens = [
        client.upload(
            path,
            "blobs",
            "start_blob_upload",
            lambda size, start=start: count(start + size),
            type="DATASET",
            name=path.name,
        )
        for path, start in zip(paths, starts, strict=False)
    ]
    try:
        answer = client.call(
            "datasets",
            "create_dataset",
            owner_slug=client.username,
            slug=slug,
            title=title,
            license_name="other",
            is_private=True,
            files=[{"token": token} for token in tokens],
        )
    except LostAnswer:
        return  # waiting for the dataset shows whether it was made
    if answer.error:
        raise KaggleError(f"Kaggle refused the dataset: {answer.error}")


def wait_until_ready(client: Client, slug: str, live: LiveLine) -> None:
    """Wait until Kaggle has unpacked the dataset, which it says once and the live line shows.

    Raises:
        KaggleError: it failed, is not there or takes too long.
    """
    until = time.monotonic() + READY_SECONDS
    text = f"waiting until Kaggle has unpacked {client.username}/{slug}"
    while (status := fetch_dataset_status(client, slug)) != "READY":
        if status == "FAILED" or time.monotonic() > until:
            remedy = "delete it there, then repeat" if status == "FAILED" else "repeat"
            raise KaggleError(
                f"the dataset {client.username}/{slug} is not ready: {status or 'not there'}. See "
                f"kaggle.com/datasets. Try: {remedy} the command"
            )
        if live.progress.text != text:
            live.progress.text = text
            live.say(text)
        live.pause(5 * client.pace)


def fetch_dataset_status(client: Client, slug: str) -> str | None:
    """The name of a dataset's status, or None where there is no such dataset."""
    try:
        answer = client.call(
            "datasets", "get_dataset_status", owner_slug=client.username, dataset_slug=slug
        )
    except KaggleError as error:
        if error.status in (403, 404):
            return None
        raise
    return answer.status.name


def list_dataset_files(client: Client, slug: str, owner: str | None = None) -> set[str]:
    """The names of the files of a dataset, by default of the user's own."""
    files = client.call_pages(
        "datasets",
        "list_dataset_files",
        "dataset_files",
        owner_slug=owner or client.username,
        dataset_slug=slug,
    )
    return {file.name for file in files}


def check_slides(client: Client, dataset: str, slide_map: str) -> None:
    """Refuse a dataset in which a kernel would not find a map of slides.

    Args:
        client: Client.
        dataset: str, "owner/slug".
        slide_map: str, the kernel's setting.

    Raises:
        ValueError: it has no such file or several, or the setting is "none".
        KaggleError: there is no such dataset, or it is not the user's to see.
    """
    if slide_map == "none":
        raise ValueError(
            f"--slides: expected slide_map=auto. Received: --slides {dataset} and slide_map=none. "
            "Try: leave out one of the two"
        )
    owner, slug = dataset.split("/")
    try:
        files = sorted(list_dataset_files(client, slug, owner))
    except KaggleError as error:
        if error.status not in (403, 404):
            raise
        raise KaggleError(
            f"--slides: expected a dataset that you can see. Received: {dataset}, which is not "
            "there or is another user's private one. Try: the end of its address on Kaggle",
            error.status,
        ) from None
    names = SLIDE_MAPS if slide_map == "auto" else (slide_map.rsplit("/", 1)[-1],)
    maps = [file for file in files if any(fnmatch.fnmatch(file.split("/")[-1], n) for n in names)]
    if len(maps) != 1:
        received = ", ".join((maps or files)[:10]) or "no files"
        raise ValueError(
            f"--slides: expected a dataset with one CSV named {' or '.join(names)}. Received: "
            f"{dataset} with {received}. Try: a dataset of the unpacked CSV alone"
        )


def is_networks(dataset: str) -> bool:
    """Whether a dataset ("owner/slug") is one of networks."""
    return dataset.split("/")[-1].startswith(NETWORKS)
