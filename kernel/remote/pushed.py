"""What was pushed from here, by the records in runs/."""

import itertools
from pathlib import Path

from ..files import write_text
from ..records import PushRecord, read_record, write_record
from ..runs import list_records
from .once import Undecided, wait_until_shown
from .request import PushRequest
from .versions import find_kernel, get_version, make_page_url


def list_pushes(request: PushRequest) -> list[tuple[Path, PushRecord]]:
    """The runs of the kernel with their records, the latest push first."""
    wanted = (request.client.service, request.kernel_id)
    pairs = reversed(list_records(request.runs))
    return [pair for pair in pairs if (pair[1].service, pair[1].kernel) == wanted]


def find_latest(request: PushRequest, pushes: list[tuple[Path, PushRecord]]):
    """The kernel's latest version, as `find_kernel`; an answer that is out of date is not taken.

    Raises:
        Undecided: a version that was pushed from here does not show.
    """
    client, kernel_id = request.client, request.kernel_id

    def find():
        stored = find_kernel(client, kernel_id)
        return stored if get_version(stored) >= newest.version else None

    stored = find_kernel(client, kernel_id)
    newest = max((record for _, record in pushes), key=lambda record: record.pushed, default=None)
    if newest is None or get_version(stored) >= newest.version:
        return stored
    missing = f"version {newest.version} of {kernel_id}, which was pushed from here"
    request.say(f"{client.service} does not show {missing}; waiting for it")
    found = wait_until_shown(client, find, newest.pushed)
    if found is None and not request.send_anyway:
        raise Undecided(
            f"{client.service} does not show {missing}. Expected: a version that is not older. "
            f"Received: version {get_version(stored) or 'none'}. Try: look at "
            f"{make_page_url(client, kernel_id)}. If the kernel was deleted, repeat the command "
            "with --send-anyway"
        )
    return found or find_kernel(client, kernel_id)


def record_push(request: PushRequest, record: PushRecord) -> Path:
    """Record a push in a folder of its own, with its page for the report; the folder.

    It is runs/<slug>-<build id>; where that holds another push, -v<version> is added.
    """
    slug = record.kernel.split("/")[1]
    version = f"-v{record.version}"
    for ending in itertools.chain(("", version), (f"{version}-{i}" for i in itertools.count(2))):
        run = request.runs / f"{slug}-{record.build_id}{ending}"
        try:
            there = read_record(run, PushRecord)
        except ValueError:  # damaged: the folder stays as it is
            continue
        if there is None:
            write_record(run, record)
        if there is None or identify_push(there) == identify_push(record):
            break
    bundle = request.bundle(record.max_hours)
    if bundle.build_id == record.build_id:  # else of an earlier push, by other sources
        write_text(run / f"{run.name}.py", bundle.source)
    return run


def identify_push(record: PushRecord) -> tuple:
    """What no two pushes share."""
    return record.service, record.kernel, record.version, record.pushed
