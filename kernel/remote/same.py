"""The version that has the same build already, so that it is not pushed again."""

import dataclasses
import json
from pathlib import Path

from ..records import PushRecord, read_result_record
from .once import Undecided, wait_until_shown
from .quota import MARGIN, MAX_HOURS, has_max_hours
from .request import PushRequest
from .versions import (
    ask_state,
    compare_sources,
    find_kernel,
    get_source,
    get_version,
    is_same_source,
    list_sources,
    read_max_hours,
)

MAX_LOOKS = 10  # at versions on Kaggle, the latest first, for one that is the same build


def find_same(
    request: PushRequest, stored: object, pushes: list[tuple[Path, PushRecord]]
) -> tuple[Path | None, PushRecord] | None:
    """A version of the same build that need not be pushed again.

    The recorded ones are looked at first, the latest push first, then the latest versions on
    Kaggle, which another machine may have pushed.

    Args:
        request: PushRequest.
        stored: what `find_latest` returned.
        pushes: what `list_pushes` returned.

    Returns:
        Path of its run, or None where it is not recorded yet, and its record.

    Raises:
        Undecided: a recorded version does not show.
    """
    settings, seen = json.loads(json.dumps(request.overrides)), set()
    latest = get_version(stored)
    for run, record in pushes:
        if (record.recipe, record.settings) != (request.recipe.name, settings):
            continue
        bundle = request.bundle(record.max_hours)
        if bundle.build_id != record.build_id:
            continue
        seen.add(record.version)
        if record.version > latest:  # of a kernel that was deleted
            continue
        kept = find_recorded(request, record)
        sources = {kind: getattr(record, kind) for kind in ("dataset_sources", "kernel_sources")}
        if kept and is_same_source(kept, bundle) and can_take(request, record, sources, run):
            return run, record
    chosen = {record.version: record.max_hours for _, record in reversed(pushes)}
    versions = {*range(max(1, latest - MAX_LOOKS + 1), latest + 1)} - seen
    for version in sorted(versions, reverse=True):
        kept, max_hours = find_kernel(request.client, request.kernel_id, version), None
        if kept is None:
            continue
        if has_max_hours(request.recipe) and "max_hours" not in request.overrides:
            max_hours = chosen[version] if version in chosen else read_max_hours(kept)
        try:
            bundle = request.bundle(max_hours)
        except ValueError:  # a page that was edited by hand has hours out of range
            continue
        if not is_same_source(kept, bundle):
            continue
        timeout, sources = max_hours + MARGIN if max_hours else MAX_HOURS, list_sources(kept)
        record = request.make_record(bundle, sources, timeout, max_hours)
        record = dataclasses.replace(record, version=version)
        if can_take(request, record, sources):
            return None, record
    return None


def find_recorded(request: PushRequest, record: PushRecord) -> object:
    """What Kaggle keeps of a recorded version, as `find_kernel`, waited for if need be.

    Raises:
        Undecided: it does not show.
    """
    client, kernel_id = request.client, request.kernel_id

    def find():
        kept = find_kernel(client, kernel_id, record.version)
        return kept if kept and get_source(kept) else None

    kept = wait_until_shown(client, find, record.pushed)
    if kept is None and not request.send_anyway:
        raise Undecided(
            f"{client.service} does not show version {record.version} of {kernel_id}, which has "
            f"this build. Try: look at {record.url}. If that version was deleted, repeat the "
            "command with --send-anyway"
        )
    return kept


def can_take(
    request: PushRequest, record: PushRecord, sources: dict, run: Path | None = None
) -> bool:
    """Whether a version of the same text has the same inputs and need not be repeated.

    With `resume` it has to have networks attached, and not to lack others, or to be whole, as
    far as its output has been downloaded.

    Args:
        request: PushRequest.
        record: PushRecord of the version.
        sources: dict of keys of kernel-metadata.json to its inputs.
        run: Path of its run, or None.
    """
    resumed = compare_sources(sources, request.metadata)
    if resumed is None:
        return False
    state = ask_state(request.client, request.kernel_id, record.version, record.pushed)
    is_alive, is_over = state in ("QUEUED", "RUNNING"), state == "COMPLETE"
    if not request.resume:
        return is_alive or is_over
    result = read_result_record(run) if run else None
    is_whole = result is not None and result.complete and not result.not_trained
    return (is_alive and resumed) or (is_over and (is_whole or (resumed and result is None)))
