"""One file over HTTP: continued where it was cut, and never a web page in its place."""

import itertools
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from pcam_kaggle.system.files import write_beside

from . import transport
from .errors import KaggleError, describe_failure

CHUNK = 1 << 16  # bytes at a time; what a cut leaves of one is lost
# What a body that was cut raises.
CUT = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
PLAIN = {"Accept-Encoding": "identity"}  # so that bytes can be counted
# What zipfile raises for an archive that is cut, changed, empty or encrypted.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, IndexError, RuntimeError)


def fetch(
    files: requests.Session,
    ask: Callable[[], requests.Response],
    place: Callable[[int | None, str], Path],
    begin: bytes = b"",
    count: Callable[[int], None] = lambda size: None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Download a file, or what is missing of it.

    It is given up once PATIENCE seconds have passed in which it has not grown.

    Args:
        files: Session that asks for the rest of a file.
        ask: function that asks for the whole file and returns the response, its body unread.
        place: function that takes the file's size, None where it is not known, and its entity
            tag, and returns the Path of the part that is kept of that file.
        begin: bytes, how the file has to begin.
        count: function that takes the size of what was written so far.
        say: function that prints a line.

    Returns:
        Path of the whole file.

    Raises:
        requests.RequestException: an answer that is not the file, a connection that fails.
        OSError: the disk is full.
    """
    known, num_failures, since = {}, 0, time.monotonic()
    while True:
        with ask() as response:
            check_status(response, 200)
            path = place(*(file := identify(response)))
            if known.setdefault(path, file) != file:
                path.unlink(missing_ok=True)
                known[path] = file
            start = measure(path)
            if start and start == file[0]:
                return path
            try:
                with continue_from(start, files, response, say) as rest:
                    save_body(rest, path, begin, count)
                return path
            except (*CUT, requests.HTTPError) as error:
                if measure(path) > start:
                    num_failures, since = 0, time.monotonic()
                elif time.monotonic() - since >= transport.PATIENCE:
                    raise
                say(f"{describe_failure(error).split('. ')[0]}; continuing")
        transport.pause(num_failures)
        num_failures += 1


class FileBody:
    """A file as the body of a request; each attempt reads it from its start.

    Args:
        path: Path of the file.
        count: function that takes how many bytes were sent so far.
    """

    def __init__(self, path: Path, count: Callable[[int], None]):
        self.path, self.count = path, count

    def __len__(self) -> int:
        return self.path.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        with open(self.path, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
                self.count(file.tell())


def identify(response: requests.Response) -> tuple[int | None, str]:
    """What tells one file from another: its size, and its entity tag, else its date."""
    headers = response.headers
    length = "" if "Content-Encoding" in headers else headers.get("Content-Length", "")
    size = int(length) if re.fullmatch("[0-9]+", length) else None
    return size, headers.get("ETag") or headers.get("Last-Modified", "")


def measure(path: Path) -> int:
    """The size of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def check_status(response: requests.Response, *expected: int) -> None:
    """Refuse what does not bring a file.

    Raises:
        requests.HTTPError: an error's status.
        WrongAnswer: a web page, or another status.
    """
    response.raise_for_status()
    if transport.is_web_page(response):
        raise transport.WrongAnswer(transport.WEB_PAGE)
    if response.status_code not in expected:
        raise transport.WrongAnswer(f"received HTTP {response.status_code}, not the file")


def continue_from(
    start: int, files: requests.Session, response: requests.Response, say: Callable[[str], None]
) -> requests.Response:
    """The response that brings the rest of a file, with status 206, or again the whole file.

    Raises:
        requests.HTTPError, WrongAnswer: any other answer; the service may give a better one.
    """
    size, tag = identify(response)
    if not start:
        return response
    if size and tag:
        response.close()
        headers = {"Range": f"bytes={start}-", "If-Range": tag, **PLAIN}
        response = files.get(response.url, headers=headers, stream=True)
        check_status(response, 200, 206)
        part = response.headers.get("Content-Range")
        if response.status_code == 206 and part == f"bytes {start}-{size - 1}/{size}":
            return response
        if response.status_code == 206 or identify(response) != (size, tag):
            response.close()
            raise transport.WrongAnswer(
                "received another part of the file than requested. Try: the same command again"
            )
    say(f"the service cannot continue a download: it starts again, without {start / 1e9:.2f} GB")
    return response


def save_body(
    response: requests.Response, path: Path, begin: bytes, count: Callable[[int], None]
) -> None:
    """Write a response's body to a file, or append it if it is the rest of that file.

    Raises:
        WrongAnswer: a web page, whatever its Content-Type says, or another beginning; the file
            is as it was.
    """
    is_rest, chunks = response.status_code == 206, response.iter_content(CHUNK)
    first = next(chunks, b"")
    if not is_rest:
        text = first[:100].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        is_page = text.startswith((b"<!doctype html", b"<html"))
        if is_page and not transport.is_page_name(path.name):
            raise transport.WrongAnswer(transport.WEB_PAGE)
        if not first.startswith(begin):
            raise transport.WrongAnswer(
                "received something else than the file. Try: the same command again; does this "
                "network ask for a log-in?"
            )
    with open(path, "ab" if is_rest else "wb") as file:
        for chunk in itertools.chain([first], chunks):
            file.write(chunk)
            count(file.tell())


def unwrap(path: Path, name: str) -> None:
    """Replace a zip by the first file in it; any other file stays as it is.

    Raises:
        KaggleError: a damaged zip.
    """
    with open(path, "rb") as file:
        if file.read(4) not in (b"PK\3\4", b"PK\5\6"):
            return
    try:
        with (
            write_beside(path) as content,
            zipfile.ZipFile(path) as archive,
            archive.open(archive.infolist()[0]) as member,
            open(content, "wb") as file,
        ):
            shutil.copyfileobj(member, file)
    except DAMAGED_ZIP:
        raise KaggleError(
            f"the download of {name}: expected a zip that is whole. Received: a damaged one. "
            "Try: the same command again"
        ) from None
