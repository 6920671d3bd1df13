"""A recipe's kernel to Kaggle: written, compared with what is there, sent once."""

import json
from collections.abc import Callable
from pathlib import Path

import tenacity
from slugify import slugify

from pcam_kaggle.system.files import write_json

from ..bundle.header import make_slug
from ..bundle.metadata import write_kernel
from ..bundle.page import Bundle
from ..bundle.recipes import read_recipe
from ..folders import DIST, RUNS
from ..locks import locked
from ..records import FILES, PushRecord, now, read_record, write_record
from ..runs import find_commit
from .answers import GpuBusy, check_answer
from .client import Client
from .competition import check_joined
from .errors import LostAnswer, search_after_lost_answer
from .networks import choose_attached
from .quota import MARGIN, MAX_HOURS, expect_hours, has_max_hours, plan_hours
from .versions import (
    find_kernel,
    find_same,
    is_resumable,
    is_same_source,
    make_page_url,
    recall_max_hours,
)
from .weights import find_datasets

GPU_PATIENCE = 3_600  # seconds to wait for a free GPU


def push_kernel(
    client: Client,
    name: str,
    overrides: dict | None = None,
    resume: bool = False,
    hours: float | None = None,
    runs: Path = RUNS,
    say: Callable[[str], None] = print,
) -> Path:
    """Push a recipe's kernel, unless the same build is there and has not failed.

    Writes kernel/dist/<slug>/ and runs/<slug>-<build id>/push.json. A repeated push
    finds the version that is queued, running or complete instead of starting another.
    The kernel's max_hours is half an hour below the time-out, and that of the latest
    version as long as it is the same build.

    Args:
        client: Client.
        name: str, the recipe's name.
        overrides: dict of typed settings.
        resume: bool, attach finished networks of an earlier version, which the new one
            takes over: those that `output` has fetched, else the kernel's own output.
        hours: float, the longest time-out; None for 12 hours. It is never longer than
            the GPU hours that are left this week.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        Path of the run.

    Raises:
        ValueError: wrong settings, or a title whose slug is not the kernel's.
        KaggleError: what Kaggle refused; an unknown input; too few GPU hours; no free
            GPU within an hour; a lost answer and no new version.
    """
    recipe, overrides = read_recipe(name), dict(overrides or {})
    slug = make_slug(name, overrides)
    kernel_id = f"{client.username}/{slug}"
    weights = find_datasets(recipe, overrides, client.service, runs)
    with locked(DIST, slug, say):
        check_joined(client)
        stored, max_hours = find_kernel(client, kernel_id), None
        if has_max_hours(recipe) and "max_hours" not in overrides:
            max_hours = recall_max_hours(stored, kernel_id, client.service, runs)
        timeout = max_hours + MARGIN if max_hours else MAX_HOURS
        script, bundle, metadata = write_folder(client, name, overrides, max_hours, weights)
        version = find_same(client, stored, metadata, bundle, resume)
        url = make_page_url(kernel_id)
        if version:
            say(f"version {version} already has this build; not pushed again")
            if hours and hours != timeout:
                say(f"its time-out of {timeout:g} h stays")
            metadata["dataset_sources"] = stored.metadata.dataset_data_sources or []
            metadata["kernel_sources"] = stored.metadata.kernel_data_sources or []
        else:
            attached = {}
            if stored and not resume and is_resumable(stored, bundle):
                say("this starts from nothing; push --resume takes over finished networks")
            if resume:
                attached = choose_attached(client, stored, bundle, kernel_id, runs, say)
            timeout, max_hours = plan_hours(client, recipe, overrides, hours, say)
            script, bundle, metadata = write_folder(
                client, name, overrides, max_hours, weights, attached
            )
            folder = script.parent
            version, url = send_kernel(client, folder, metadata, bundle, stored, timeout, say)
        commit, dirty = find_commit()
        record = PushRecord(
            service=client.service,
            recipe=name,
            build_id=bundle.build_id,
            pushed=now(),
            settings=overrides,
            kernel=kernel_id,
            version=version,
            url=url,
            timeout_hours=timeout,
            max_hours=max_hours,
            expected_hours=expect_hours(recipe, overrides),
            dataset_sources=tuple(metadata["dataset_sources"]),
            kernel_sources=tuple(metadata["kernel_sources"]),
            commit=commit,
            dirty=dirty,
        )
        run = runs / f"{slug}-{bundle.build_id}"
        record_push(run, record)
    return run


def write_folder(
    client: Client,
    name: str,
    overrides: dict,
    max_hours: float | None,
    weights: list[str],
    attached: dict | None = None,
) -> tuple[Path, Bundle, dict]:
    """Write a kernel's folder.

    Args:
        client: Client.
        name: str, the recipe's name.
        overrides: dict of the user's settings.
        max_hours: float, the setting of that name that was chosen, or None.
        weights: list of the datasets that hold weights.
        attached: dict of further sources, as `choose_attached` returns it, or None.

    Returns:
        Path of the script, its Bundle and its metadata.
    """
    settings = overrides if max_hours is None else {**overrides, "max_hours": max_hours}
    script, bundle = write_kernel(
        name, settings, owner=client.username, dataset_sources=tuple(weights)
    )
    path = script.with_name("kernel-metadata.json")
    metadata = read_metadata(path)
    for kind, sources in (attached or {}).items():
        metadata[kind] += sources
    write_json(path, metadata)
    return script, bundle, metadata


def record_push(run: Path, record: PushRecord) -> None:
    """Write push.json, unless it is of this version; records of others are removed."""
    earlier = read_record(run, PushRecord)
    if earlier and (earlier.service, earlier.version) == (record.service, record.version):
        return
    for kind in set(FILES) - {PushRecord}:
        (run / FILES[kind]).unlink(missing_ok=True)
    write_record(run, record)


def read_metadata(path: Path) -> dict:
    """The metadata that is about to be pushed.

    Raises:
        ValueError: a title for which Kaggle would choose another slug.
    """
    metadata = json.loads(path.read_text("utf-8"))
    slug = metadata["id"].split("/")[1]
    if slugify(metadata["title"]) != slug:
        raise ValueError(
            f"{path}: expected a title whose slug is {slug!r}. Received: "
            f"{metadata['title']!r}, whose slug is {slugify(metadata['title'])!r}"
        )
    return metadata


def send_kernel(
    client: Client,
    folder: Path,
    metadata: dict,
    bundle: Bundle,
    stored: object,
    hours: float,
    say: Callable[[str], None],
) -> tuple[int, str]:
    """Send a kernel's folder once, as soon as a GPU is free.

    Args:
        client: Client.
        folder: Path of the script and its metadata.
        metadata: dict of kernel-metadata.json.
        bundle: Bundle that the folder holds.
        stored: what `find_kernel` returned before.
        hours: float, the time-out.
        say: function that prints a line.

    Returns:
        The number of the new version and the URL of its page.
    """

    def save():
        try:
            answer = client.save_kernel(folder, round(hours * 3600))
        except LostAnswer as error:
            say(f"{error} Searching for it.")
            version = find_lost_version(client, metadata["id"], bundle, stored)
            return version, make_page_url(metadata["id"])
        check_answer(answer, metadata, client)
        return answer.version_number, answer.url or make_page_url(metadata["id"])

    def say_busy(state):
        pause = state.next_action.sleep
        say(f"{state.outcome.exception()} Trying again in {pause:.0f} s.")

    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(GpuBusy),
        wait=tenacity.wait_exponential(multiplier=30 * client.pace, max=300 * client.pace),
        stop=tenacity.stop_before_delay(GPU_PATIENCE),
        before_sleep=say_busy,
        reraise=True,
    )
    return patiently(save)


def find_lost_version(client: Client, kernel_id: str, bundle: Bundle, before: object) -> int:
    """The version that a push has made whose answer was lost.

    Raises:
        KaggleError: none shows; the same command may be run again.
    """
    known = before.metadata.current_version_number if before else 0

    def find():
        stored = find_kernel(client, kernel_id)
        version = stored.metadata.current_version_number if stored else 0
        is_new = version > known and is_same_source(stored, bundle)
        return version if is_new else None

    return search_after_lost_answer(find, "push", "no new version", client.pace)
