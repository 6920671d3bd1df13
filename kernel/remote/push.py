"""A recipe's kernel to Kaggle: compared with what is there, written, sent once."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import tenacity

from ..bundle.header import make_slug
from ..bundle.metadata import check_title, fill_metadata, write_kernel
from ..bundle.recipes import compose_settings, read_recipe
from ..folders import DIST, RUNS
from ..locks import locked
from ..records import PushRecord, make_record, now, write_record
from ..reuse import Source
from .answers import GpuBusy, check_answer
from .client import Client
from .competition import check_joined
from .datasets import check_slides
from .errors import KaggleError
from .networks import choose_attached
from .once import Note, recover, send_once
from .pushed import find_latest, list_pushes, record_push
from .quota import plan_hours
from .request import PushRequest
from .same import find_same
from .sources import choose_inputs, publish_sources
from .versions import (
    compare_sources,
    find_kernel,
    get_source,
    get_version,
    hash_source,
    list_sources,
    make_page_url,
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
    slides: str | None = None,
    notebook: bool = False,
    sources: Sequence[Source] = (),
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
        slides: str, the dataset ("owner/slug") that holds the map of slides, or None.
        notebook: bool, push the page as a notebook, which is a kernel of its own.
        sources: the finished runs whose networks the kernel uses.

    Returns:
        Path of the run.

    Raises:
        ValueError: wrong settings, a dataset without a map of slides, a title whose slug is
            not the kernel's, a kernel of the other type, or a run without networks.
        Undecided: a push was interrupted or its answer lost, and no new version shows.
        KaggleError: what Kaggle refused; an unknown input; too few GPU hours; no free
            GPU within an hour.
    """
    recipe, overrides = read_recipe(name), dict(overrides or {})
    weights = tuple(find_datasets(recipe, overrides, client.service, runs))
    metadata = fill_metadata(name, overrides, client.username, weights, slides, notebook)
    inputs = choose_inputs(sources, client)
    metadata |= {kind: metadata[kind] + names for kind, names in inputs.items()}
    check_title(metadata)
    if slides:
        check_slides(client, slides, compose_settings(recipe, overrides).flat()["slide_map"])
    request = PushRequest(
        client, recipe, overrides, metadata, resume, runs, say, send_anyway, sources
    )
    with locked(DIST, make_slug(name, overrides, notebook), say):
        settle(request)
        pushes = list_pushes(request)
        stored = find_latest(request, pushes)
        check_type(stored, metadata)
        found = find_same(request, stored, pushes)
        if found is None:
            return send_kernel(request, stored, hours)
        run, record = found
        run = run or record_push(request, record)
        write_record(run, dataclasses.replace(record, requested=now()))
        say(f"version {record.version} already has this build; not pushed again")
        if hours and hours != record.timeout_hours:
            say(f"its time-out of {record.timeout_hours:g} h stays")
    return run


def settle(request: PushRequest) -> None:
    """Record an earlier push of the kernel that was interrupted, once its version shows.

    Raises:
        Undecided: no new version shows.
    """
    if not request.note_path.exists():
        return
    recorded = {record.pushed: record for _, record in list_pushes(request)}

    def find(note):
        # One that was killed before it removed its note is recorded.
        record = recorded.get(note.content["record"]["pushed"])
        return (record.version, record.url, True) if record else find_sent(request, note)

    found = recover(request.client, request.note_path, find, request.say, request.send_anyway)
    if found:
        finish(request, *found)


def send_kernel(request: PushRequest, stored: object, hours: float | None) -> Path:
    """Write the kernel's folder, send it once, as soon as a GPU is free, and record it; the run.

    Args:
        request: PushRequest.
        stored: what `find_latest` returned.
        hours: float, the longest time-out, or None.
    """
    client, recipe, say = request.client, request.recipe, request.say
    check_joined(client)
    publish_sources(request.sources, client, say)
    metadata, attached = dict(request.metadata), choose_attached(request, stored)
    metadata |= {kind: metadata[kind] + names for kind, names in attached.items()}
    timeout, max_hours = plan_hours(client, recipe, request.overrides, hours, say)
    script, bundle = write_kernel(recipe.name, request.add_max_hours(max_hours), DIST, metadata)
    record = request.make_record(bundle, metadata, timeout, max_hours)
    known, attempts = get_version(stored), []
    find = functools.partial(find_sent, request)

    def save():
        answer = client.save_kernel(script.parent, round(timeout * 3600))
        check_answer(answer, metadata, client)
        return answer.version_number, answer.url or record.url, True

    def send():
        sent = dataclasses.replace(record, pushed=now())
        note = Note(
            what=f"push of build {bundle.build_id}",
            expected=f"a version of {request.kernel_id} after version {known}",
            page=record.url,
            known=[known],
            mark=hash_source(bundle.source),
            content={"record": dataclasses.asdict(sent), "metadata": metadata},
        )
        # While we waited for a GPU, another machine may have pushed it.
        made = find(note) if attempts else None
        attempts.append(note)
        return note, made or send_once(client, request.note_path, note, save, find, say)

    def say_busy(state):
        say(f"{state.outcome.exception()} Trying again in {state.next_action.sleep:.0f} s.")

    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(GpuBusy),
        wait=tenacity.wait_exponential(multiplier=30 * client.pace, max=300 * client.pace),
        stop=tenacity.stop_before_delay(GPU_PATIENCE),
        before_sleep=say_busy,
        reraise=True,
    )
    return finish(request, *patiently(send))


def find_sent(request: PushRequest, note: Note) -> tuple[int, str, bool] | None:
    """The new version that the push of a note has made, or None while none shows.

    Returns:
        Its number, its page, and whether it has the inputs that were sent.
    """
    client, kernel_id = request.client, request.kernel_id
    latest = get_version(find_kernel(client, kernel_id))
    for version in range(latest, max(note.known), -1):
        kept = find_kernel(client, kernel_id, version)
        if kept and hash_source(get_source(kept)) == note.mark:
            resumed = compare_sources(list_sources(kept), note.content["metadata"])
            return version, make_page_url(client, kernel_id), resumed is not None
    return None


def finish(request: PushRequest, note: Note, made: tuple[int, str, bool]) -> Path:
    """Record a push, unless it is, and remove its note; the run.

    Args:
        request: PushRequest.
        note: Note of the push.
        made: the version, as `find_sent` returns it.

    Raises:
        KaggleError: the version lacks inputs.
    """
    version, url, is_complete = made
    if not is_complete:
        request.note_path.unlink(missing_ok=True)
        raise KaggleError(
            f"version {version} of {request.kernel_id} has other inputs than were sent, and will "
            f"fail. Expected: those in kernel-metadata.json. See {url}. Try: correct that and "
            "push again"
        )
    content = {**note.content["record"], "version": version, "url": url}
    run = record_push(request, make_record(PushRecord, content, request.note_path))
    request.note_path.unlink(missing_ok=True)
    return run


def check_type(stored: object, metadata: dict) -> None:
    """Refuse to push a notebook to a script, or the reverse: Kaggle never changes the type.

    Args:
        stored: what `find_kernel` returned.
        metadata: dict of kernel-metadata.json.

    Raises:
        ValueError: names both types.
    """
    kept, wanted = stored and stored.metadata.kernel_type, metadata["kernel_type"]
    if kept and kept != wanted:
        raise ValueError(
            f"{metadata['id']} is a {kept} on Kaggle, which cannot change the type of a kernel. "
            f"Expected: a {wanted}. Received: a {kept}. Try: delete or rename it on Kaggle's page"
        )
