"""The competition's data: one archive, downloaded in parts if need be, verified, unpacked."""

import contextlib
import csv
import functools
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from pcam_kaggle.system.files import PARTIAL, short_hash, write_beside
from pcam_kaggle.system.paths import COMPETITION

from ..locks import locked
from .client import Client
from .competition import check_joined
from .errors import KaggleError, explaining
from .fetch import DAMAGED_ZIP, fetch, measure

ARCHIVE_BYTES, DATA_BYTES = 6.3e9, 7.8e9  # about, of Kaggle's archive and of what is in it
ARCHIVE = f"{COMPETITION}.zip"
WHAT = "the download of the data"  # in errors
BLOCK = 4096  # bytes of a disk that a file takes at least
SILENT_SECONDS = 10  # after which the progress is said again
SILENT_SHARE = 0.05  # of the whole


def download_data(folder: Path, say: Callable[[str], None] = print) -> Path:
    """Download the competition's data, unless it is there.

    A download that was cut off is continued. The archive is kept in `folder` until it is
    unpacked; the data appear under their name only when they are whole.

    Args:
        folder: Path in which the folder of the competition is made.
        say: function that prints a line.

    Returns:
        Path of the competition's folder.

    Raises:
        NotJoined: the account has not accepted the rules.
        KaggleError: what Kaggle refused, a connection that fails again and again, an archive
            that is damaged.
        ValueError: the folder holds another one of that name, which is not complete.
        OSError: the disk is too small.
    """
    data = folder / COMPETITION
    if not data.exists():
        client = Client()
        check_joined(client)
        with locked(folder, "download", say):
            if not data.exists():
                make_data(client, data, say)
    try:
        check_complete(data)
    except ValueError as error:
        raise ValueError(
            f"{data} is not the complete competition. {error}. Try: move the folder away and "
            "repeat the command"
        ) from None
    for path in list_left(folder):
        path.unlink()
    return data


def make_data(client: Client, data: Path, say: Callable[[str], None]) -> None:
    """Download and unpack the data.

    Raises:
        KaggleError, OSError: as `download_data`.
    """
    folder = data.parent
    for path in folder.glob(f"{PARTIAL}*{COMPETITION}"):  # of a command that was killed
        shutil.rmtree(path)
    with write_beside(data) as target:
        try:
            unpack(fetch_archive(client, folder, say), target, say)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise


def fetch_archive(client: Client, folder: Path, say: Callable[[str], None]) -> Path:
    """Download the archive, or what is missing of it.

    What was written is kept under a name that stands for the archive's size and entity tag, so
    that only parts of the same archive are put together.

    Returns:
        Path of the whole archive.

    Raises:
        KaggleError: it cannot be had.
        OSError: the disk is too small.
    """
    path = progress = others = None

    def place(size: int | None, tag: str) -> Path:
        nonlocal path, progress, others
        if not size:
            raise KaggleError(f"{WHAT}: the service does not say the archive's size")
        before, path = path, folder / f"{PARTIAL}{short_hash(f'{size} {tag}')}-{ARCHIVE}"
        if path != before:
            start = measure(path)
            say(f"archive   {size / 1e9:.2f} GB, of which {start / 1e9:.2f} GB are here")
            others = list_left(folder, path)
            need = size - start + size * DATA_BYTES / ARCHIVE_BYTES
            check_space(folder, need - sum(map(measure, others)))
            progress = make_progress("download", size, say, start)
        return path

    def count(size: int) -> None:
        while others:  # now that there is something in their place
            others.pop().unlink()
        progress(size)

    fields = {"competition_name": COMPETITION}
    ask = functools.partial(client.call, "competitions", "download_data_files", **fields)
    with explaining(WHAT):
        return fetch(client.files, ask, place, b"PK", count, say)


def list_left(folder: Path, keep: Path | None = None) -> list[Path]:
    """What is left of archives, but one."""
    return [path for path in folder.glob(f"{PARTIAL}*-{ARCHIVE}") if path != keep]


def make_progress(
    what: str, size: int, say: Callable[[str], None], start: int = 0
) -> Callable[[int], None]:
    """A function that takes how many bytes are done and says it now and then."""
    said, said_at = start, time.monotonic()

    def count(done: int) -> None:
        nonlocal said, said_at
        is_news = done == size > said or done - said > SILENT_SHARE * size
        if is_news or time.monotonic() - said_at >= SILENT_SECONDS:
            share = 100 * done // max(1, size)
            unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB")
            say(f"{what:<9} {done / unit:.2f} of {size / unit:.2f} {name}, {share} %")
            said, said_at = done, time.monotonic()

    return count


def unpack(path: Path, target: Path, say: Callable[[str], None]) -> None:
    """Unpack the archive, verified; one that is damaged is removed.

    Raises:
        KaggleError: it is damaged, or not the competition's; then it is kept.
        OSError: the disk is too small.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members, done = archive.infolist(), 0
            check_names(archive.namelist())
            check_space(path.parent, sum(-(-m.file_size // BLOCK) * BLOCK for m in members))
            progress = make_progress("unpack", sum(m.file_size for m in members), say)
            for member in members:
                archive.extract(member, target)  # compares its checksum
                progress(done := done + member.file_size)
        check_complete(target)
    except DAMAGED_ZIP as error:
        path.unlink()
        raise KaggleError(
            f"the archive of the data was damaged and is removed. Received: {error}. Try: the "
            "same command, which downloads it again"
        ) from None
    except ValueError as error:
        raise KaggleError(
            f"{path} is whole but not what was expected. {error}. Try: remove it and repeat the "
            "command, which downloads it again"
        ) from None


def check_names(names: list[str]) -> None:
    """Refuse members that would be written outside the folder.

    Raises:
        ValueError: names one.
    """
    for name in names:
        path = PureWindowsPath(name)  # knows / and \\, and drives
        if path.anchor or ".." in path.parts:
            raise ValueError(
                f"Expected: names in the folder. Received: {name!r}, outside the folder"
            )


def check_complete(data: Path) -> None:
    """Compare the images with the tables.

    Raises:
        ValueError: images are missing.
    """
    for part, table in (("train", "train_labels.csv"), ("test", "sample_submission.csv")):
        ids, names = set(), set()
        if (data / table).is_file():
            with (
                contextlib.suppress(csv.Error, UnicodeDecodeError),  # no table
                open(data / table, encoding="utf-8", newline="") as file,
            ):
                ids = {f"{row['id']}.tif" for row in csv.DictReader(file) if row.get("id")}
        if (data / part).is_dir():
            names = {entry.name for entry in os.scandir(data / part) if entry.stat().st_size}
        if not ids or ids - names:
            listed = f"{len(ids):,} images" if ids else "the images"
            raise ValueError(
                f"Expected: {listed} in {part}/ that {table} lists. Received: "
                f"{len(ids & names):,} of them"
            )


def check_space(folder: Path, need: float) -> None:
    """Refuse to start what does not fit on the disk.

    Raises:
        OSError: says what is needed.
    """
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(
            f"{folder}: expected {need / 1e9:.1f} GB of free disk space, for the archive and what "
            f"is in it. Received: {free / 1e9:.1f} GB. Try: free up disk space, or name a folder "
            "on another disk with --out"
        )
