"""A recipe's kernel to Kaggle: written, compared with what is there, sent once."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import tenacity
from slugify import slugify

from ..bundle.header import make_slug
from ..bundle.metadata import fill_metadata, write_kernel
from ..bundle.page import Bundle, bundle_kernel
from ..bundle.recipes import compose_settings, read_recipe
from ..files import write_text
from ..folders import DIST, RUNS
from ..locks import locked
from ..records import PushRecord, make_record, now, read_result_record, write_record
from ..reuse import Source
from ..runs import find_commit
from .answers import GpuBusy, check_answer
from .client import Client
from .competition import check_joined
from .datasets import check_slides
from .errors import KaggleError
from .networks import choose_attached
from .once import Note, Undecided, locate_note, recover, send_once, wait_until_shown
from .pushed import find_latest, list_pushes, recall_max_hours, record_push
from .quota import MARGIN, MAX_HOURS, expect_hours, has_max_hours, plan_hours
from .sources import choose_inputs, publish_sources
from .versions import (
    ask_state,
    compare_sources,
    find_kernel,
    get_source,
    get_version,
    hash_source,
    is_resumable,
    is_same_source,
    list_sources,
    make_page_url,
)
from .weights import find_datasets

GPU_PATIENCE = 3_600  # seconds to wait for a free GPU
MAX_LOOKS = 10  # at versions on Kaggle, the latest first, for one that is the same build


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
    push = Push(client, name, dict(overrides or {}), resume, runs, say, slides, notebook, sources)
    if slides:
        check_slides(client, slides, compose_settings(push.recipe, overrides).flat()["slide_map"])
    with locked(DIST, push.slug, say):
        push.settle(send_anyway)
        stored = find_latest(client, push.kernel_id, runs, say, send_anyway)
        check_type(stored, push.metadata)
        found = push.find_same(stored, send_anyway)
        if found is None:
            return push.send(stored, hours)
        run, record = found
        write_record(run, dataclasses.replace(record, requested=now()))
        say(f"version {record.version} already has this build; not pushed again")
        if hours and hours != record.timeout_hours:
            say(f"its time-out of {record.timeout_hours:g} h stays")
    return run


class Push:
    """The steps of `push_kernel`; takes the same arguments.

    Attributes:
        recipe: Recipe.
        slug, kernel_id: str, the kernel's name, and "owner/slug".
        metadata: dict of kernel-metadata.json, without networks to resume.
        note_path: Path of the note of a push of this kernel.
        bundles: dict of max_hours to the Bundle with it.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        overrides: dict,
        resume: bool,
        runs: Path,
        say: Callable[[str], None],
        slides: str | None,
        notebook: bool,
        sources: Sequence[Source],
    ):
        self.client, self.name, self.overrides = client, name, overrides
        self.resume, self.runs, self.say, self.sources = resume, runs, say, sources
        self.recipe = read_recipe(name)
        self.slug = make_slug(name, overrides, notebook)
        self.kernel_id = f"{client.username}/{self.slug}"
        weights = find_datasets(self.recipe, overrides, client.service, runs)
        inputs = (tuple(weights), slides)
        self.metadata = fill_metadata(name, overrides, client.username, *inputs, notebook)
        for kind, found in choose_inputs(sources, client).items():
            self.metadata[kind] = self.metadata[kind] + found
        check_title(self.metadata)
        note = f"push-{client.service}-{client.username}-{self.slug}"
        self.note_path = locate_note(runs, note)
        self.bundles: dict[float | None, Bundle] = {}

    def settle(self, send_anyway: bool) -> None:
        """Record an earlier push of the kernel that was interrupted, once its version shows.

        Raises:
            Undecided: no new version shows.
        """
        pushed = [
            record.pushed for _, record in list_pushes(self.client, self.kernel_id, self.runs)
        ]

        recorded = object()

        def find(note):
            if note.content["record"]["pushed"] in pushed:  # killed before the note was removed
                return recorded
            return self.find_sent(note)

        found = recover(self.client, self.note_path, find, self.say, send_anyway)
        if found and found[1] is recorded:
            self.note_path.unlink(missing_ok=True)
        elif found:
            self.finish(*found)

    def find_same(self, stored: object, send_anyway: bool) -> tuple[Path, PushRecord] | None:
        """A version of the same build that need not be pushed again, with its record.

        The recorded ones are looked at first, the latest push first, then the latest versions on
        Kaggle, which another machine may have pushed; one of them is then recorded.

        Args:
            stored: what `find_latest` returned.
            send_anyway: bool, skip a recorded version that does not show.

        Raises:
            Undecided: a recorded version does not show.
        """
        settings, seen = json.loads(json.dumps(self.overrides)), set()
        latest = get_version(stored)
        for run, record in list_pushes(self.client, self.kernel_id, self.runs):
            if (record.recipe, record.settings) != (self.name, settings):
                continue
            if self.bundle(record.max_hours).build_id != record.build_id:
                continue
            seen.add(record.version)
            if record.version > latest:  # of a kernel that was deleted
                continue
            kept = self.find_recorded(record, send_anyway)
            if kept and self.can_take(kept, record, run):
                return run, record
        versions = {*range(max(1, latest - MAX_LOOKS + 1), latest + 1)} - seen
        for version in sorted(versions, reverse=True):
            kept = find_kernel(self.client, self.kernel_id, version)
            max_hours = None
            if has_max_hours(self.recipe) and "max_hours" not in self.overrides:
                max_hours = recall_max_hours(self.client, kept, version, self.kernel_id, self.runs)
            try:
                bundle = self.bundle(max_hours)
            except ValueError:  # a page that was edited by hand has hours out of range
                continue
            if kept is None:
                continue
            timeout = max_hours + MARGIN if max_hours else MAX_HOURS
            record = self.make_record(bundle, list_sources(kept), timeout, max_hours)
            record = dataclasses.replace(record, version=version)
            is_same = compare_sources(list_sources(kept), self.metadata) is not None
            if is_same and self.can_take(kept, record):
                return self.keep(record), record
        return None

    def find_recorded(self, record: PushRecord, send_anyway: bool) -> object:
        """What Kaggle keeps of a recorded version, as `find_kernel`, waited for if need be.

        Raises:
            Undecided: it does not show.
        """

        def find():
            kept = find_kernel(self.client, self.kernel_id, record.version)
            return kept if kept and get_source(kept) else None

        kept = wait_until_shown(self.client, find, record.pushed)
        if kept is None and not send_anyway:
            raise Undecided(
                f"{self.client.service} does not show version {record.version} of "
                f"{self.kernel_id}, which has this build. Try: look at {record.url}. If that "
                "version was deleted, repeat the command with --send-anyway"
            )
        return kept

    def can_take(self, kept: object, record: PushRecord, run: Path | None = None) -> bool:
        """Whether a version has the same text and inputs and need not be repeated.

        With `resume` it has to have networks attached, and not to lack others, or to be whole, as
        far as its output has been downloaded.

        Args:
            kept: what `find_kernel` returned of the version.
            record: PushRecord of the version.
            run: Path of its run, or None.
        """
        if not is_same_source(kept, self.bundle(record.max_hours)):
            return False
        sources = {
            "dataset_sources": record.dataset_sources,
            "kernel_sources": record.kernel_sources,
        }
        resumed = compare_sources(sources, self.metadata)
        if resumed is None:
            return False
        state = ask_state(self.client, self.kernel_id, record.version, record.pushed)
        is_alive, is_over = state in ("QUEUED", "RUNNING"), state == "COMPLETE"
        if not self.resume:
            return is_alive or is_over
        result = read_result_record(run) if run else None
        is_whole = result is not None and result.complete and not result.not_trained
        return (is_alive and resumed) or (is_over and (is_whole or (resumed and result is None)))

    def bundle(self, max_hours: float | None = None) -> Bundle:
        """The page, with the max_hours that was chosen for it, or None."""
        if max_hours not in self.bundles:
            settings = self.add_max_hours(max_hours)
            self.bundles[max_hours] = bundle_kernel(self.name, settings)
        return self.bundles[max_hours]

    def add_max_hours(self, max_hours: float | None) -> dict:
        """The settings, with the max_hours that was chosen, or None."""
        return self.overrides if max_hours is None else {**self.overrides, "max_hours": max_hours}

    def make_record(
        self, bundle: Bundle, metadata: dict, timeout: float, max_hours: float | None
    ) -> PushRecord:
        """The record of a push that is about to be made, without its version."""
        commit, dirty = find_commit()
        return PushRecord(
            service=self.client.service,
            recipe=self.name,
            build_id=bundle.build_id,
            pushed=now(),
            settings=self.overrides,
            kernel=self.kernel_id,
            url=make_page_url(self.client, self.kernel_id),
            timeout_hours=timeout,
            max_hours=max_hours,
            expected_hours=expect_hours(self.recipe, self.overrides),
            dataset_sources=tuple(metadata["dataset_sources"]),
            kernel_sources=tuple(metadata["kernel_sources"]),
            commit=commit,
            dirty=dirty,
        )

    def send(self, stored: object, hours: float | None) -> Path:
        """Write the kernel's folder, send it once, as soon as a GPU is free, and record it.

        Args:
            stored: what `find_latest` returned.
            hours: float, the longest time-out, or None.

        Returns:
            Path of the run.
        """
        check_joined(self.client)
        publish_sources(self.sources, self.client, self.say)
        metadata = self.attach_networks(stored)
        timeout, max_hours = plan_hours(self.client, self.recipe, self.overrides, hours, self.say)
        settings = self.add_max_hours(max_hours)
        script, bundle = write_kernel(self.name, settings, DIST, metadata)
        record = self.make_record(bundle, metadata, timeout, max_hours)
        known, attempts = get_version(stored), []

        def save():
            answer = self.client.save_kernel(script.parent, round(timeout * 3600))
            check_answer(answer, metadata, self.client)
            return answer.version_number, answer.url or record.url, True

        def send():
            sent = dataclasses.replace(record, pushed=now())
            note = Note(
                what=f"push of build {bundle.build_id}",
                expected=f"a version of {self.kernel_id} after version {known}",
                page=record.url,
                known=[known],
                mark=hash_source(bundle.source),
                content={"record": dataclasses.asdict(sent), "metadata": metadata},
            )
            # While we waited for a GPU, another machine may have pushed it.
            made = self.find_sent(note) if attempts else None
            attempts.append(note)
            return note, made or send_once(
                self.client, self.note_path, note, save, self.find_sent, self.say
            )

        def say_busy(state):
            pause = state.next_action.sleep
            self.say(f"{state.outcome.exception()} Trying again in {pause:.0f} s.")

        pace = self.client.pace
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(GpuBusy),
            wait=tenacity.wait_exponential(multiplier=30 * pace, max=300 * pace),
            stop=tenacity.stop_before_delay(GPU_PATIENCE),
            before_sleep=say_busy,
            reraise=True,
        )
        return self.finish(*patiently(send))

    def attach_networks(self, stored: object) -> dict:
        """The metadata, with the networks that the kernel is to take over if it resumes."""
        bundle, metadata = self.bundle(), dict(self.metadata)
        if self.resume:
            words = (stored, bundle, self.kernel_id, self.runs, self.say)
            for kind, sources in choose_attached(self.client, *words).items():
                metadata[kind] = metadata[kind] + sources
        elif stored and is_resumable(stored, bundle):
            self.say("this starts from nothing; push --resume takes over finished networks")
        return metadata

    def find_sent(self, note: Note) -> tuple[int, str, bool] | None:
        """The new version that the push of a note has made, or None while none shows.

        Returns:
            Its number, its page, and whether it has the inputs that were sent.
        """
        latest = get_version(find_kernel(self.client, self.kernel_id))
        for version in range(latest, max(note.known), -1):
            kept = find_kernel(self.client, self.kernel_id, version)
            if kept and hash_source(get_source(kept)) == note.mark:
                resumed = compare_sources(list_sources(kept), note.content["metadata"])
                return version, make_page_url(self.client, self.kernel_id), resumed is not None
        return None

    def finish(self, note: Note, made: tuple[int, str, bool]) -> Path:
        """Record a push and remove its note; the run.

        Args:
            note: Note of the push.
            made: the version, as `find_sent` returns it.

        Raises:
            KaggleError: the version lacks inputs.
        """
        version, url, is_complete = made
        if not is_complete:
            self.note_path.unlink(missing_ok=True)
            raise KaggleError(
                f"version {version} of {self.kernel_id} has other inputs than were sent, and will "
                f"fail. Expected: those in kernel-metadata.json. See {url}. Try: correct that and "
                "push again"
            )
        content = {**note.content["record"], "version": version, "url": url}
        run = self.keep(make_record(PushRecord, content, self.note_path))
        self.note_path.unlink(missing_ok=True)
        return run

    def keep(self, record: PushRecord) -> Path:
        """Record a push in a folder of its own, with its page for the report; the folder."""
        run = record_push(self.runs, record)
        bundle = self.bundle(record.max_hours)
        if bundle.build_id == record.build_id:  # else of an earlier push, by other sources
            write_text(run / f"{run.name}.py", bundle.source)
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


def check_title(metadata: dict) -> None:
    """Refuse a title for which Kaggle would choose another slug.

    Raises:
        ValueError: names both.
    """
    slug, title = metadata["id"].split("/")[1], metadata["title"]
    if slugify(title) != slug:
        raise ValueError(
            f"kernel-metadata.json: expected a title whose slug is {slug!r}. Received: {title!r}, "
            f"whose slug is {slugify(title)!r}"
        )
