"""What was pushed from here, by the records in runs/."""

import itertools
from collections.abc import Callable
from pathlib import Path

from ..records import PushRecord, read_record, write_record
from ..runs import list_records
from .client import Client
from .once import Undecided, wait_until_shown
from .versions import find_kernel, get_source, get_version, make_page_url, read_overrides


def list_pushes(client: Client, kernel_id: str, runs: Path) -> list[tuple[Path, PushRecord]]:
    """The runs of a kernel with their records, the latest push first."""
    wanted = (client.service, kernel_id)
    pairs = reversed(list_records(runs))
    return [pair for pair in pairs if (pair[1].service, pair[1].kernel) == wanted]


def find_latest(
    client: Client, kernel_id: str, runs: Path, say: Callable[[str], None], anyway: bool
):
    """A kernel's latest version, as `find_kernel`; an answer that is out of date is not taken.

    Args:
        client: Client.
        kernel_id: str, "owner/slug".
        runs: Path of the folder of runs.
        say: function that prints a line.
        anyway: bool, take it in the end.

    Raises:
        Undecided: a version that was pushed from here does not show.
    """

    def find():
        stored = find_kernel(client, kernel_id)
        return stored if get_version(stored) >= newest.version else None

    stored = find_kernel(client, kernel_id)
    records = [record for _, record in list_pushes(client, kernel_id, runs)]
    newest = max(records, key=lambda record: record.pushed, default=None)
    if newest is None or get_version(stored) >= newest.version:
        return stored
    missing = f"version {newest.version} of {kernel_id}, which was pushed from here"
    say(f"{client.service} does not show {missing}; waiting for it")
    found = wait_until_shown(client, find, newest.pushed)
    if found is None and not anyway:
        raise Undecided(
            f"{client.service} does not show {missing}. Expected: a version that is not older. "
            f"Received: version {get_version(stored) or 'none'}. Try: look at "
            f"{make_page_url(client, kernel_id)}. If the kernel was deleted, repeat the command "
            "with --send-anyway"
        )
    return found or find_kernel(client, kernel_id)


def recall_max_hours(
    client: Client, kept: object, version: int, kernel_id: str, runs: Path
) -> float | None:
    """The max_hours that `push` chose for a version, with which it is built again.

    Args:
        client: Client.
        kept: what `find_kernel` returned of the version.
        version: int, its number.
        kernel_id: str, "owner/slug".
        runs: Path of the folder of runs.

    Returns:
        float, as the record of the version's push says, or as its text says where there
        is no such record; None where the user chose it.
    """
    for _, record in list_pushes(client, kernel_id, runs):
        if record.version == version:
            return record.max_hours
    hours = read_overrides(get_source(kept)).get("max_hours") if kept else None
    return hours if isinstance(hours, int | float) else None


def record_push(runs: Path, record: PushRecord) -> Path:
    """Write push.json into a folder of its own, unless it is there already; the folder.

    It is runs/<slug>-<build id>; where that holds another push, -v<version> is added.
    """
    slug = record.kernel.split("/")[1]
    version = f"-v{record.version}"
    for ending in itertools.chain(("", version), (f"{version}-{i}" for i in itertools.count(2))):
        run = runs / f"{slug}-{record.build_id}{ending}"
        try:
            there = read_record(run, PushRecord)
        except ValueError:  # damaged: the folder stays as it is
            continue
        if there is None:
            write_record(run, record)
        if there is None or identify_push(there) == identify_push(record):
            return run


def identify_push(record: PushRecord) -> tuple:
    """What no two pushes share."""
    return record.service, record.kernel, record.version, record.pushed
