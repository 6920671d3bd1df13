"""A recipe's kernel to Kaggle: written, compared with what is there, sent once."""

import dataclasses
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
from .errors import KaggleError
from .networks import choose_attached
from .once import Note, locate_note, recover, send_once
from .quota import MARGIN, MAX_HOURS, expect_hours, has_max_hours, plan_hours
from .versions import (
    ALIVE,
    ask_state,
    compare_sources,
    find_kernel,
    find_latest,
    get_source,
    get_version,
    hash_source,
    is_resumable,
    is_same_source,
    list_pushes,
    list_sources,
    make_page_url,
    recall_max_hours,
)
from .weights import find_datasets

GPU_PATIENCE = 3_600  # seconds to wait for a free GPU
SOURCES = ("dataset_sources", "kernel_sources", "model_sources")  # that push.json keeps


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
    push = Push(client, name, dict(overrides or {}), resume, runs, say)
    with locked(DIST, push.slug, say):
        push.settle(send_anyway)
        stored = find_latest(client, push.kernel_id, runs, send_anyway)
        found = push.find_recorded(stored) or push.find_stored(stored)
        if found is None:
            return push.send(push.prepare(stored, hours), stored)
        run, record = found
        say(f"version {record.version} already has this build; not pushed again")
        if hours and hours != record.timeout_hours:
            say(f"its time-out of {record.timeout_hours:g} h stays")
    return run


@dataclasses.dataclass(frozen=True)
class Draft:
    """A kernel as it is written for a push.

    Attributes:
        folder: Path of the script and its metadata.
        bundle: Bundle of the script.
        metadata: dict of kernel-metadata.json.
        record: PushRecord, without the version.
    """

    folder: Path
    bundle: Bundle
    metadata: dict
    record: PushRecord


@dataclasses.dataclass(frozen=True)
class Made:
    """A version that a push has made.

    Attributes:
        version: int, its number.
        url: str, the kernel's page.
        complete: bool, whether it has the inputs that were sent.
    """

    version: int
    url: str
    complete: bool = True


class Push:
    """The steps of `push_kernel`, whose arguments these are."""

    def __init__(
        self,
        client: Client,
        name: str,
        overrides: dict,
        resume: bool,
        runs: Path,
        say: Callable[[str], None],
    ):
        self.client, self.name, self.overrides = client, name, overrides
        self.resume, self.runs, self.say = resume, runs, say
        self.recipe = read_recipe(name)
        self.slug = make_slug(name, overrides)
        self.kernel_id = f"{client.username}/{self.slug}"
        self.weights = find_datasets(self.recipe, overrides, client.service, runs)
        note = f"push-{client.service}-{client.username}-{self.slug}"
        self.note_path = locate_note(runs, note)

    def settle(self, send_anyway: bool) -> None:
        """Record an earlier push of the kernel that was interrupted, once its version shows.

        Raises:
            Undecided: no new version shows.
        """
        found = recover(self.client, self.note_path, self.find_version, self.say, send_anyway)
        if found:
            note, made = found
            self.finish(make_record(PushRecord, note.content["record"], self.note_path), made)

    def find_recorded(self, stored: object) -> tuple[Path, PushRecord] | None:
        """The latest recorded push of the same build and inputs that need not be repeated.

        Args:
            stored: what `find_latest` returned.

        Returns:
            The run and its record, or None.
        """
        settings = json.loads(json.dumps(self.overrides))
        for run, record in list_pushes(self.client, self.kernel_id, self.runs):
            is_shown = record.version <= get_version(stored)  # else it was deleted on Kaggle
            if not is_shown or (record.recipe, record.settings) != (self.name, settings):
                continue
            draft = self.write(record.timeout_hours, record.max_hours)
            if draft.bundle.build_id != record.build_id:
                continue
            sources = {kind: list(getattr(record, kind)) for kind in SOURCES}
            if self.can_take(record.version, sources, draft.metadata):
                return run, record
        return None

    def find_stored(self, stored: object) -> tuple[Path, PushRecord] | None:
        """The latest version on Kaggle, if it is the same build and need not be pushed again.

        It is recorded, as on the machine that pushed it.
        """
        max_hours = None
        if has_max_hours(self.recipe) and "max_hours" not in self.overrides:
            max_hours = recall_max_hours(self.client, stored, self.kernel_id, self.runs)
        draft = self.write(max_hours + MARGIN if max_hours else MAX_HOURS, max_hours)
        if stored is None or not is_same_source(stored, draft.bundle):
            return None
        version, sources = get_version(stored), list_sources(stored)
        if not self.can_take(version, sources, draft.metadata):
            return None
        inputs = {kind: tuple(sources[kind]) for kind in SOURCES}
        record = dataclasses.replace(draft.record, version=version, **inputs)
        return record_push(self.runs, record), record

    def can_take(self, version: int, sources: dict, metadata: dict) -> bool:
        """Whether a version of the same text has the same inputs and need not be repeated.

        With `resume` it has to have networks attached, and to be under way.
        """
        resumed = compare_sources(sources, metadata)
        if resumed is None or (self.resume and not resumed):
            return False
        state = ask_state(self.client, self.kernel_id, version)
        return state in ALIVE or (state == "COMPLETE" and not self.resume)

    def prepare(self, stored: object, hours: float | None) -> Draft:
        """The kernel that is to be pushed, with its hours and the networks to take over."""
        check_joined(self.client)
        bundle = self.write(MAX_HOURS).bundle
        attached = {}
        if self.resume:
            attached = choose_attached(
                self.client, stored, bundle, self.kernel_id, self.runs, self.say
            )
        elif stored and is_resumable(stored, bundle):
            self.say("this starts from nothing; push --resume takes over finished networks")
        plan = plan_hours(self.client, self.recipe, self.overrides, hours, self.say)
        return self.write(*plan, attached)

    def write(
        self, timeout: float, max_hours: float | None = None, attached: dict | None = None
    ) -> Draft:
        """Write the kernel's folder.

        Args:
            timeout: float, hours after which Kaggle stops the run.
            max_hours: float, the setting of that name that was chosen, or None.
            attached: dict of further sources, as `choose_attached` returns it, or None.

        Raises:
            ValueError: a title for which Kaggle would choose another slug.
        """
        settings = dict(self.overrides)
        if max_hours is not None:
            settings["max_hours"] = max_hours
        script, bundle = write_kernel(
            self.name, settings, DIST, self.client.username, tuple(self.weights)
        )
        path = script.with_name("kernel-metadata.json")
        metadata = json.loads(path.read_text("utf-8"))
        check_title(path, metadata)
        for kind, sources in (attached or {}).items():
            metadata[kind] += sources
        write_json(path, metadata)
        commit, dirty = find_commit()
        record = PushRecord(
            service=self.client.service,
            recipe=self.name,
            build_id=bundle.build_id,
            pushed=now(),
            settings=self.overrides,
            kernel=self.kernel_id,
            url=make_page_url(self.kernel_id),
            timeout_hours=timeout,
            max_hours=max_hours,
            expected_hours=expect_hours(self.recipe, self.overrides),
            **{kind: tuple(metadata[kind]) for kind in SOURCES},
            commit=commit,
            dirty=dirty,
        )
        return Draft(script.parent, bundle, metadata, record)

    def send(self, draft: Draft, stored: object) -> Path:
        """Send a kernel's folder once, as soon as a GPU is free, and record its version.

        Returns:
            Path of the run.
        """
        known = get_version(stored)
        note = Note(
            what="push",
            expected=f"a version of {self.kernel_id} after version {known}",
            page=draft.record.url,
            known=[known],
            mark=hash_source(draft.bundle.source),
            content={"record": dataclasses.asdict(draft.record), "metadata": draft.metadata},
        )

        def save():
            seconds = round(draft.record.timeout_hours * 3600)
            answer = self.client.save_kernel(draft.folder, seconds)
            check_answer(answer, draft.metadata, self.client)
            return Made(answer.version_number, answer.url or draft.record.url)

        def send():
            return send_once(self.client, self.note_path, note, save, self.find_version, self.say)

        def say_busy(state):
            pause = state.next_action.sleep
            self.say(f"{state.outcome.exception()} Trying again in {pause:.0f} s.")

        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(GpuBusy),
            wait=tenacity.wait_exponential(
                multiplier=30 * self.client.pace, max=300 * self.client.pace
            ),
            stop=tenacity.stop_before_delay(GPU_PATIENCE),
            before_sleep=say_busy,
            reraise=True,
        )
        return self.finish(draft.record, patiently(send))

    def find_version(self, note: Note) -> Made | None:
        """The new version that the push of a note has made, or None while none shows."""
        latest = get_version(find_kernel(self.client, self.kernel_id))
        for version in range(latest, max(note.known), -1):
            stored = find_kernel(self.client, self.kernel_id, version)
            if stored and hash_source(get_source(stored)) == note.mark:
                metadata = note.content["metadata"]
                same = compare_sources(list_sources(stored), metadata) is not None
                return Made(version, make_page_url(self.kernel_id), same)
        return None

    def finish(self, record: PushRecord, made: Made) -> Path:
        """Record a push and remove its note; the run.

        Raises:
            KaggleError: the version lacks inputs.
        """
        if made.complete:
            run = record_push(
                self.runs, dataclasses.replace(record, version=made.version, url=made.url)
            )
        self.note_path.unlink()
        if not made.complete:
            raise KaggleError(
                f"version {made.version} of {self.kernel_id} has other inputs than were sent, and "
                f"will fail. Expected: those in kernel-metadata.json. See {made.url}. Try: correct "
                "that and push again"
            )
        return run


def check_title(path: Path, metadata: dict) -> None:
    """Refuse a title for which Kaggle would choose another slug.

    Raises:
        ValueError: names both.
    """
    slug = metadata["id"].split("/")[1]
    if slugify(metadata["title"]) != slug:
        raise ValueError(
            f"{path}: expected a title whose slug is {slug!r}. Received: "
            f"{metadata['title']!r}, whose slug is {slugify(metadata['title'])!r}"
        )


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
