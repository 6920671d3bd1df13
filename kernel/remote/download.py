"""The competition's data: one archive, downloaded in parts if need be, verified, unpacked."""

import contextlib
import csv
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath

import requests

from pcam_kaggle.system.files import DISK_FULL, PARTIAL, short_hash
from pcam_kaggle.system.paths import COMPETITION

from ..locks import locked
from . import transport
from .client import Client
from .competition import NotJoined, check_joined
from .errors import KaggleError, explaining

ARCHIVE_BYTES, DATA_BYTES = 6.3e9, 7.8e9  # about, of Kaggle's archive and of what is in it
PATIENCE = 5  # failures in a row after which a download is given up
CHUNK = 1 << 16  # bytes at a time; what a cut leaves of one is lost
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
        with locked(folder, "download", say), explaining_disk(folder):
            if not data.exists():
                unpack(fetch_archive(client, folder, say), folder, say)
    check_complete(data)
    remove_archives(folder)
    return data


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
    num_failures, path = 0, None
    while True:
        response = request_archive(client)
        with contextlib.closing(response):
            size, tag = int(response.headers["Content-Length"]), find_tag(response)
            before, path = path, name_archive(folder, size, tag)
            start = path.stat().st_size if path.exists() else 0
            if path != before:
                remove_archives(folder, keep=path)
                say(f"archive   {size / 1e9:.2f} GB, of which {start / 1e9:.2f} GB are here")
                check_space(folder, size - start + size * DATA_BYTES / ARCHIVE_BYTES)
            try:
                with explaining("the download of the data"):
                    append(client, response, path, start, size, tag, say)
                return path
            except KaggleError as error:
                grown = path.exists() and path.stat().st_size > start > 0
                num_failures = 0 if grown else num_failures + 1
                if num_failures >= PATIENCE:
                    raise
                say(f"{str(error).split('. ')[0]}; continuing")
        time.sleep(min(30, transport.BACK_OFF * 2**num_failures))


def request_archive(client: Client) -> requests.Response:
    """The answer that brings the archive, its body unread.

    Raises:
        KaggleError: an answer that is not the archive.
    """
    try:
        response = client.call("competitions", "download_data_files", competition_name=COMPETITION)
    except KaggleError as error:
        if error.status == 403:
            raise NotJoined(client.username) from None
        raise
    check_file(response)
    return response


def check_file(response: requests.Response) -> None:
    """Refuse a web page, and a file whose size is not known.

    Raises:
        KaggleError: either.
    """
    if "text/html" in response.headers.get("Content-Type", ""):
        raise KaggleError(
            "the download of the data: received a web page instead of an archive. Does this "
            "network ask for a log-in, or is the service down? The same command resumes from here."
        )
    if not re.fullmatch("[1-9][0-9]*", response.headers.get("Content-Length", "")):
        raise KaggleError("the download of the data: the service does not say the archive's size")


def find_tag(response: requests.Response) -> str:
    """What tells one archive from another: its entity tag, else its date."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified", "")


def name_archive(folder: Path, size: int, tag: str) -> Path:
    """Where an archive is kept while it is downloaded."""
    return folder / f"{PARTIAL}{short_hash(f'{size} {tag}')}-{COMPETITION}.zip"


def remove_archives(folder: Path, keep: Path | None = None) -> None:
    """Remove what is left of other archives."""
    for path in folder.glob(f"{PARTIAL}*-{COMPETITION}.zip"):
        if path != keep:
            path.unlink()


def append(
    client: Client,
    response: requests.Response,
    path: Path,
    start: int,
    size: int,
    tag: str,
    say: Callable[[str], None],
) -> None:
    """Write what is missing of the archive.

    Args:
        client: Client.
        response: the answer that brings the whole archive, unread.
        path: Path of what is there.
        start: int, its size.
        size, tag: those of the archive.
        say: function that prints a line.

    Raises:
        requests.RequestException: the connection was cut, the address has expired.
        KaggleError: the service does not send the part asked for.
    """
    if start == size:
        return
    if start:
        response.close()
        headers = {"Range": f"bytes={start}-", "If-Range": tag, "Accept-Encoding": "identity"}
        response = client.files.get(response.url, headers=headers, stream=True)
        response.raise_for_status()
        check_file(response)
        part = response.headers.get("Content-Range", "")
        if not tag or not re.fullmatch(rf"bytes {start}-\d+/{size}", part):
            path.unlink()
            raise KaggleError("the download of the data: it has to start again")
    progress = make_progress("download", size, say, start)
    with contextlib.closing(response), open(path, "ab") as file:
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            progress(len(chunk))


def make_progress(
    what: str, size: int, say: Callable[[str], None], done: int = 0
) -> Callable[[int], None]:
    """A function that counts bytes and says, now and then, how many there are."""
    said, said_at = done, time.monotonic()

    def count(num_bytes):
        nonlocal done, said, said_at
        done += num_bytes
        silent = time.monotonic() - said_at
        is_news = done == size > said or done - said > SILENT_SHARE * size
        if is_news or silent >= SILENT_SECONDS:
            share = 100 * done // max(1, size)
            say(f"{what:<9} {done / 1e9:.2f} of {size / 1e9:.2f} GB, {share} %")
            said, said_at = done, time.monotonic()

    return count


def unpack(path: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Unpack the archive, verified; one that is damaged is removed.

    Raises:
        KaggleError: it is damaged or not whole.
        OSError: the disk is too small.
    """
    target = folder / f"{PARTIAL}{COMPETITION}"
    shutil.rmtree(target, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            check_names(archive.namelist())
            check_space(folder, sum(-(-member.file_size // BLOCK) * BLOCK for member in members))
            progress = make_progress("unpack", sum(member.file_size for member in members), say)
            for member in members:
                archive.extract(member, target)  # compares its checksum
                progress(member.file_size)
        check_complete(target)
        os.replace(target, folder / COMPETITION)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        path.unlink()
        raise KaggleError(
            f"the archive of the data is damaged, and was removed. Received: {error}. Try: the "
            "same command, which downloads it again"
        ) from None
    finally:
        shutil.rmtree(target, ignore_errors=True)


def check_names(names: list[str]) -> None:
    """Refuse members that would be written outside of the folder.

    Raises:
        ValueError: names one.
    """
    for name in names:
        path = PureWindowsPath(name)  # knows / and \\, and drives
        if path.anchor or ".." in path.parts:
            raise ValueError(f"a member named {name!r}, outside of the folder")


def check_complete(data: Path) -> None:
    """Compare the images with the tables.

    Raises:
        ValueError: files are missing, or there are others.
    """
    for part, table in (("train", "train_labels.csv"), ("test", "sample_submission.csv")):
        ids, names = set(), set()
        if (data / table).is_file() and (data / part).is_dir():
            with open(data / table, encoding="utf-8", newline="") as file:
                ids = {f"{row['id']}.tif" for row in csv.DictReader(file) if row.get("id")}
            names = {entry.name for entry in os.scandir(data / part)}
        if not ids or ids != names:
            raise ValueError(
                f"{data} is not the complete competition. Expected: {len(ids)} images in {part}/, "
                f"those that {table} lists. Received: {len(ids & names)} of them and "
                f"{len(names - ids)} others. Try: move the folder away and repeat the command"
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


@contextlib.contextmanager
def explaining_disk(folder: Path) -> Iterator[None]:
    """Name what to do about a disk that has become full.

    Raises:
        OSError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OSError(
            f"the disk of {folder} is full; what was downloaded is kept. Try: free up disk space "
            "and repeat the command"
        ) from error
