"""A recipe's kernel to Kaggle: written, compared with what is there, sent once."""

import dataclasses
import functools
import itertools
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
from ..records import PushRecord, make_record, now, read_record, write_record
from ..runs import find_commit
from .answers import GpuBusy, check_answer
from .client import Client
from .competition import check_joined
from .networks import choose_attached
from .once import locate_note, recover, send_once
from .quota import MARGIN, MAX_HOURS, expect_hours, has_max_hours, plan_hours
from .versions import (
    are_same_sources,
    find_kernel,
    find_latest,
    find_same,
    get_source,
    get_version,
    hash_source,
    is_resumable,
    is_usable,
    list_pushes,
    list_sources,
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
    send_anyway: bool = False,
) -> Path:
    """Push a recipe's kernel, unless the same build is there and has not failed.

    Writes kernel/dist/<slug>/ and push.json in runs/<slug>-<build id>/, which gets another
    name where that is the folder of another version: the records of earlier versions are kept.
    A repeated push finds the version that is queued, running or complete, by its record, else on
    Kaggle, instead of starting another. The kernel's max_hours is half an hour below the
    time-out, and that of the latest version as long as it is the same build.

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
        send_anyway: bool, push although the outcome of an earlier push does not show.

    Returns:
        Path of the run.

    Raises:
        ValueError: wrong settings, or a title whose slug is not the kernel's.
        Undecided: a push was interrupted or its answer lost, and no new version shows.
        KaggleError: what Kaggle refused; an unknown input; too few GPU hours; no free
            GPU within an hour.
    """
    recipe, overrides = read_recipe(name), dict(overrides or {})
    slug = make_slug(name, overrides)
    kernel_id = f"{client.username}/{slug}"
    weights = find_datasets(recipe, overrides, client.service, runs)
    with locked(DIST, slug, say):
        settle_push(client, kernel_id, runs, say, send_anyway)
        stored, max_hours = find_latest(client, kernel_id, runs, send_anyway), None
        found = find_pushed(client, stored, kernel_id, name, overrides, weights, resume, runs)
        if found:
            run, record = found
            say(f"version {record.version} already has this build; not pushed again")
            say_timeout(record, hours, say)
            return run
        if has_max_hours(recipe) and "max_hours" not in overrides:
            max_hours = recall_max_hours(stored, kernel_id, client.service, runs)
        script, bundle, metadata = write_folder(client, name, overrides, max_hours, weights)
        version = find_same(client, stored, metadata, bundle, resume)
        if version:
            timeout = max_hours + MARGIN if max_hours else MAX_HOURS
            metadata |= list_sources(stored)
        else:
            check_joined(client)
            attached = {}
            if stored and not resume and is_resumable(stored, bundle):
                say("this starts from nothing; push --resume takes over finished networks")
            if resume:
                attached = choose_attached(client, stored, bundle, kernel_id, runs, say)
            timeout, max_hours = plan_hours(client, recipe, overrides, hours, say)
            script, bundle, metadata = write_folder(
                client, name, overrides, max_hours, weights, attached
            )
        commit, dirty = find_commit()
        record = PushRecord(
            service=client.service,
            recipe=name,
            build_id=bundle.build_id,
            pushed=now(),
            settings=overrides,
            kernel=kernel_id,
            version=version,
            url=make_page_url(kernel_id),
            timeout_hours=timeout,
            max_hours=max_hours,
            expected_hours=expect_hours(recipe, overrides),
            dataset_sources=tuple(metadata["dataset_sources"]),
            kernel_sources=tuple(metadata["kernel_sources"]),
            model_sources=tuple(metadata["model_sources"]),
            commit=commit,
            dirty=dirty,
        )
        if version:
            say(f"version {version} already has this build; not pushed again")
            say_timeout(record, hours, say)
            return record_push(runs, record)
        return send_kernel(client, script.parent, metadata, bundle, stored, record, runs, say)


def say_timeout(record: PushRecord, hours: float | None, say: Callable[[str], None]) -> None:
    """Say that a version keeps its time-out, if another one is asked for."""
    if hours and hours != record.timeout_hours:
        say(f"its time-out of {record.timeout_hours:g} h stays")


def find_pushed(
    client: Client,
    stored: object,
    kernel_id: str,
    name: str,
    overrides: dict,
    weights: list[str],
    resume: bool,
    runs: Path,
) -> tuple[Path, PushRecord] | None:
    """The latest recorded push of the same build and inputs that need not be repeated, or None.

    Args:
        client, name, overrides, weights: as `write_folder` takes them.
        stored: what `find_latest` returned.
        kernel_id: str, "owner/slug".
        resume: bool, whether earlier networks are to be attached.
        runs: Path of the folder of runs.
    """
    settings = json.loads(json.dumps(overrides))
    for run, record in list_pushes(client, kernel_id, runs):
        is_shown = record.version <= get_version(stored)  # else it was deleted on Kaggle
        if not is_shown or (record.recipe, record.settings) != (name, settings):
            continue
        _, bundle, metadata = write_folder(client, name, overrides, record.max_hours, weights)
        kinds = ("dataset_sources", "kernel_sources", "model_sources")
        sources = {kind: list(getattr(record, kind)) for kind in kinds}
        resumed = are_same_sources(sources, metadata)
        if bundle.build_id != record.build_id or resumed is None or resume > resumed:
            continue
        if is_usable(client, kernel_id, record.version, resume):
            return run, record
    return None


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
    script, bundle = write_kernel(name, settings, DIST, client.username, tuple(weights))
    path = script.with_name("kernel-metadata.json")
    metadata = read_metadata(path)
    for kind, sources in (attached or {}).items():
        metadata[kind] += sources
    write_json(path, metadata)
    return script, bundle, metadata


def record_push(runs: Path, record: PushRecord) -> Path:
    """Write push.json into a folder of its own, unless it is there already; the folder.

    It is runs/<slug>-<build id>; where that holds another push, -v<version> is added.
    """
    slug = record.kernel.split("/")[1]
    version = f"-v{record.version}"
    for ending in itertools.chain(("", version), (f"{version}-{i}" for i in itertools.count(2))):
        run = runs / f"{slug}-{record.build_id}{ending}"
        there = read_record(run, PushRecord)
        if there is None:
            write_record(run, record)
        if there is None or identify_push(there) == identify_push(record):
            return run


def identify_push(record: PushRecord) -> tuple:
    """What no two pushes share."""
    return record.service, record.kernel, record.version, record.pushed


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
    record: PushRecord,
    runs: Path,
    say: Callable[[str], None],
) -> Path:
    """Send a kernel's folder once, as soon as a GPU is free, and record its version.

    Args:
        client: Client.
        folder: Path of the script and its metadata.
        metadata: dict of kernel-metadata.json.
        bundle: Bundle that the folder holds.
        stored: what `find_latest` returned before.
        record: PushRecord, without the version.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        Path of the run.
    """
    path = locate_push_note(runs, client.service, record.kernel)
    note = {
        "what": "push",
        "kernel": record.kernel,
        "known": get_version(stored),
        "source": hash_source(bundle.source),
        "record": dataclasses.asdict(record),
        "expected": f"a version of {record.kernel} after version {get_version(stored)}",
        "page": record.url,
    }

    def save():
        answer = client.save_kernel(folder, round(record.timeout_hours * 3600))
        check_answer(answer, metadata, client)
        return answer.version_number, answer.url

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
    find = functools.partial(find_version, client)
    version, url = patiently(lambda: send_once(client, path, note, save, find, say))
    return finish_push(runs, path, dataclasses.replace(record, version=version), url)


def settle_push(
    client: Client, kernel_id: str, runs: Path, say: Callable[[str], None], send_anyway: bool
) -> None:
    """Record an earlier push of a kernel that was interrupted, once its version shows.

    Raises:
        Undecided: no new version shows.
    """
    path = locate_push_note(runs, client.service, kernel_id)
    found = recover(client, path, functools.partial(find_version, client), say, send_anyway)
    if found:
        note, (version, url) = found
        record = make_record(PushRecord, {**note["record"], "version": version}, path)
        finish_push(runs, path, record, url)


def finish_push(runs: Path, path: Path, record: PushRecord, url: str) -> Path:
    """Record a push and remove its note; the run."""
    run = record_push(runs, dataclasses.replace(record, url=url or record.url))
    path.unlink()
    return run


def locate_push_note(runs: Path, service: str, kernel_id: str) -> Path:
    """Where the note of a push of a kernel is kept."""
    return locate_note(runs, f"push-{service}-{kernel_id.replace('/', '-')}")


def find_version(client: Client, note: dict) -> tuple[int, str] | None:
    """The new version that a push has made and its page's URL, or None while none shows."""
    kernel_id = note["kernel"]
    for version in range(get_version(find_kernel(client, kernel_id)), note["known"], -1):
        stored = find_kernel(client, kernel_id, version)
        if stored and hash_source(get_source(stored)) == note["source"]:
            return version, make_page_url(kernel_id)
    return None
