"""A run: its checks and the patches it works on."""

import dataclasses
import datetime
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from ..system.clock import RESERVE, Budget, Clock
from ..system.files import describe_files, remove_partial, short_hash
from ..system.locks import PARENT, end_with_holder, hold_lock
from ..system.paths import find_attached, find_data, open_output
from ..system.progress import watch_progress
from ..system.provenance import choose_code_id, compute_build_id, find_versions, read_page
from ..system.records import MEMBER_FILES, check_unused, refuse_unread, take_attached
from ..system.settings import SESSION_SETTINGS, Settings, compose
from .cache import load_cached
from .competition import draw_images, find_slide_map, load_labels, load_sample, load_slides
from .settings import DataSettings

SCHEMA = 3  # of run.json
SHARED_SLIDES = "folds share slides, expect about 0.03 less on others"
UNKNOWN_SLIDES = "slides are unknown, and folds may share some"


@dataclasses.dataclass(frozen=True)
class Competition:
    """The competition's tables; no image has been read yet.

    `folder` holds the data. `train` has the columns path, id and label, `test` path and id in
    the order of sample_submission.csv. `slides` is an array of slide names, one per training
    patch, or None if there is no map.
    """

    folder: Path
    train: pd.DataFrame
    test: pd.DataFrame
    slides: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Run:
    """One execution of a recipe.

    `data` is the folder given for the input, or None. `build_id` names the page, `code` the
    code on it that decides predictions, and `edited` says whether the page was changed after it
    was built. `fingerprint` covers all that decides predictions: code, settings, data.
    """

    recipe: str
    settings: Settings
    competition: Competition
    output: Path
    data: Path | str | None
    clock: Clock
    build_id: str
    code: str
    edited: bool
    fingerprint: str

    @property
    def grouping(self) -> str:
        """What the folds do not share: "slide", "hue" or "hospital"; "patch" for nothing else."""
        split = getattr(self.settings.folds, "split", "auto")
        known = "patch" if self.competition.slides is None else "slide"
        return known if split == "auto" else split


@dataclasses.dataclass(frozen=True)
class Patches:
    """What a method learns from and predicts.

    `images` and `test_images` are its inputs: uint8 arrays (n, 96, 96, 3), or float16
    features (n, dim). `labels` is an int array (n,) of 0 and 1, and `pixels` the training
    patches as uint8 (n, 96, 96, 3) in either case.
    """

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    pixels: np.ndarray


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What run.json says about any run; recipes add their results.

    `counts` are numbers of patches, `stages` the time of each stage, `files` the sizes and
    hashes of the run's files by name, `complete` whether nothing is missing, `finished` the time
    in UTC.
    """

    schema: int
    recipe: str
    build_id: str
    code: str
    edited: bool
    fingerprint: str
    settings: dict
    counts: dict
    packages: dict
    stages: dict
    files: dict
    complete: bool
    seconds: float
    finished: str


def open_run(
    recipe: str,
    parts: dict,
    changes: dict,
    overrides: dict | None = None,
    build_id: str = "package",
    code_id: str = "package",
    data: Path | str | None = None,
    output: Path | str | None = None,
) -> Run:
    """Check all that can be checked before any image is read.

    Args:
        recipe: its name.
        parts: dict of part names and their classes, as its `parts` returns them.
        changes: its SETTINGS, or all settings of a page.
        overrides: settings that replace those, or None.
        build_id, code_id: the page's, or "package" outside of one.
        data, output: folders to use instead of PCAM_INPUT and PCAM_WORKING, or None.

    Raises:
        ValueError: a setting is wrong, the tables do not fit the images, the output folder is
            of another run, or there are networks to resume and the page cannot be read.
        FileNotFoundError, OSError: there is no data, or the output cannot be written.
    """
    clock = Clock()
    settings = compose(parts, changes, overrides)
    output = open_output(output)
    end_with_holder(os.environ.get(PARENT))
    tables = read_competition(find_data(data), settings.data, data)
    page = "" if build_id == "package" else read_page()
    code = choose_code_id(page, code_id)
    edited = build_id != "package" and compute_build_id(page) != build_id
    # Code that cannot be read is never the same.
    fingerprint = make_fingerprint(code or os.urandom(5).hex(), settings.flat(), tables)
    hold_lock(output / ".lock")
    remove_partial(output)
    attached = find_attached(getattr(settings.data, "member_files", MEMBER_FILES), data)
    if not code:
        refuse_unread(output, attached)
    check_unused(output, fingerprint)
    take_attached(output, fingerprint, attached)
    watch_progress(output)
    train, test = tables.train, tables.test
    print(f"recipe   {recipe}, build {build_id}{', edited since' if edited else ''}")
    counts = f"{len(train):,} train ({train['label'].sum():,} positive), {len(test):,} test"
    print(f"data     {tables.folder}: {counts}\noutput   {output}", flush=True)
    run = Run(recipe, settings, tables, output, data, clock, build_id, code, edited, fingerprint)
    if hasattr(settings, "folds"):
        print(f"folds    {describe_folds(run.grouping, tables.slides)}", flush=True)
    return run


def describe_folds(grouping: str, slides: np.ndarray | None) -> str:
    """What the folds of a run do not share, and whether they may share slides.

    Args:
        grouping: as `Run` has it.
        slides: as `Competition` has them.
    """
    if grouping == "patch":
        return f"by patch: {SHARED_SLIDES}"
    if slides is None:
        return f"grouped by {grouping}: {UNKNOWN_SLIDES}"
    kind = "the mean hue of whole slides" if grouping == "hue" else grouping
    return f"grouped by {kind} ({len(set(slides))} slides)"


def read_competition(
    folder: Path, data: DataSettings, inputs: Path | str | None = None
) -> Competition:
    """Read the tables, with as many training patches as the settings say."""
    table = load_labels(folder)
    drawn = draw_images(len(table), data.num_images, data.seed)
    table = table.iloc[drawn].reset_index(drop=True)
    slide_map = find_slide_map(data.slide_map, folder, inputs)
    slides = load_slides(slide_map, table["id"]) if slide_map else None
    return Competition(folder, table, load_sample(folder), slides)


def make_fingerprint(code: str, settings: dict, tables: Competition) -> str:
    """Return ten hex digits over all that decides the predictions: code, settings, data."""
    content = [
        code,
        {name: settings[name] for name in settings if name not in SESSION_SETTINGS},
        tables.train.drop(columns="path").to_csv(),
        tables.test["id"].to_csv(),
        None if tables.slides is None else list(tables.slides),
    ]
    return short_hash(json.dumps(content))


def load_patches(run: Run) -> Patches:
    """Decode every patch, or take them from the cache of an earlier run.

    Raises:
        ValueError: some files are not 96x96 8-bit RGB TIFFs.
    """
    train, test = run.competition.train, run.competition.test
    verify_ids = run.settings.data.verify_ids
    images = load_cached(train, verify_ids, "train")
    run.clock.end("decode_train", len(images))
    test_images = load_cached(test, verify_ids, "test")
    run.clock.end("decode_test", len(test_images))
    return Patches(images, train["label"].to_numpy(), test_images, pixels=images)


def start_budget(run: Run) -> Budget:
    """What is left of the run's `max_hours`."""
    hours = run.settings.machine.max_hours
    return Budget(hours, 3600 * hours - RESERVE - run.clock.total())


def list_facts(run: Run) -> dict:
    """The facts about its run that are stored with a network."""
    names = ("recipe", "build_id", "code", "fingerprint")
    return {**{name: getattr(run, name) for name in names}, "settings": run.settings.flat()}


def make_record(run: Run, stages: dict, files: list, complete: bool = True) -> RunRecord:
    """Make the record of a run, with `files` that lie in its output folder."""
    train, test = run.competition.train, run.competition.test
    positive = int(train["label"].sum())
    return RunRecord(
        schema=SCHEMA,
        **list_facts(run),
        edited=run.edited,
        counts={"train": len(train), "positive": positive, "test": len(test)},
        packages=find_versions(),
        stages={**run.clock.stages, **stages},
        files=describe_files(run.output, files),
        complete=complete,
        seconds=run.clock.total(),
        finished=datetime.datetime.now(datetime.UTC).isoformat(),
    )
