"""A transcript of what was said to Kaggle and back, without secrets and names.

JSON lines: the first of every command says the versions and the date, each of the others is
one exchange, written as soon as it is over. Left out or replaced by placeholders that stay the
same within a command: credentials, user and team names, the descriptions of submissions, e-mail
addresses, the home folder, and the addresses of files. Large texts, kernels and binary files are
given by size and sha256.
"""

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import platform
import re
import sys
import time
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

import requests

from ..credentials import find_owner
from ..records import now
from . import transport
from .fetch import DAMAGED_ZIP, FileBody

MAX_TEXT = 1 << 18  # characters of a text that is written out
MAX_SOURCE = 1 << 10  # of a kernel's source
HEADERS = ("Content-Type", "Location", "Retry-After", "X-Kaggle-ApiVersion")
STORAGE = "http://storage.invalid/"  # in the place of the addresses of files

# Fields by what they hold, in JSON and in the columns of a board.
USERS = {
    *("userName", "username", "user", "ownerSlug", "ownerUser", "kernelOwner", "author"),
    *("authorName", "submittedBy", "creatorName", "displayName", "fullName", "ownerName"),
    *("ownerRef", "creatorUrl"),
    "TeamMemberUserNames",
}
TEAMS = {"teamName", "TeamName"}
NUMBERS = {"userId", "teamId", "submittedByRef", "TeamId", "ownerUserId", "authorId"}
SOURCES = {"text", "source"}
PLAIN = {"method", "status", "language", "kernelType", "machineShape"}  # may look like a name
SITE = {"code", "c", "competitions", "datasets", "kernels", "models"}  # no owners
OWNED_KEYS = ("slug", "ref", "url", "path")  # which hold an owner's name
OWNED = re.compile(r"(?:https?://[^/]+)?/?(?:(?:code|datasets)/)?([\w-]+)/[\w-]+(?:/\d+)?/?")
URL = re.compile(
    r"""(?:[a-z][a-z0-9+.-]*(?:://|%3a%2f%2f)|//[\w.-]+/)[^\s"'<>\\]+"""
    r"""|[^\s"'<>\\]*[?&](?:x-goog|x-amz|signature|sig|expires|token)[^\s"'<>\\]*""",
    re.IGNORECASE,
)
PAGE_HOSTS = ("www.kaggle.com", "kaggle.com", "127.0.0.1", "localhost")
PAGE = re.compile(r"/(?:code|c|competitions|datasets|kernels)/[\w/-]*")
# Where a word may start: not within another, but after an escape, as in "\\nname".
WORD_START = r"(?:(?<![a-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))"
EMAIL = re.compile(r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")
SECRET = "secret"  # in the place of one, wherever it stands
MESSAGES = {"submissionDescription", "description"}  # one's own words


class Transcript:
    """Writes exchanges to a file, one a line.

    Args:
        file: binary file without a buffer, so that a kill leaves whole lines.
    """

    def __init__(self, file: io.RawIOBase):
        self.file = file
        self.hider = Hider()
        self.started = time.monotonic()
        packages = ("kaggle", "kagglesdk", "requests", "urllib3")
        versions = {name: importlib.metadata.version(name) for name in packages}
        system = {"python": platform.python_version(), "system": platform.system()}
        self.write({"transcript": 1, "date": now(), **system, **versions})

    def write(self, line: dict) -> None:
        """Write a line, unless an earlier one could not be written."""
        if not self.file.closed:
            try:
                self.file.write(json.dumps(line).encode() + b"\n")
            except OSError as error:  # a full disk: the command continues
                print(f"the transcript ends here: {error.strerror}", file=sys.stderr)
                self.file.close()

    def record(
        self, request: requests.PreparedRequest, outcome: requests.Response | Exception
    ) -> None:
        """Write an exchange, or that it could not be written: the command continues."""
        try:
            line = self.describe(request, outcome)
        except Exception as error:
            line = {"unwritten": type(error).__name__}
        self.write(line)

    def describe(
        self, request: requests.PreparedRequest, outcome: requests.Response | Exception
    ) -> dict:
        """What was sent, and the response or the error."""
        hider = self.hider
        hider.learn_credentials(request.headers.get("Authorization", ""))
        path = urllib.parse.urlsplit(request.url).path
        body = (
            request.body.path.read_bytes() if isinstance(request.body, FileBody) else request.body
        )
        sent = read_body(body, request.headers.get("Content-Type", ""))
        answer, result = None, {"error": type(outcome).__name__}
        if isinstance(outcome, requests.Response):
            kind = outcome.headers.get("Content-Type", "")
            answer = read_body(outcome.content, kind)
            headers = {name: outcome.headers[name] for name in HEADERS if name in outcome.headers}
            if not is_call(path) and not outcome.ok and isinstance(answer, str):
                answer = measure(outcome.content)  # a storage error names what it refused
            result = {"status": outcome.status_code, "headers": headers, "answer": answer}
        hider.learn(sent)
        hider.learn(answer, own=not (path.endswith("Leaderboard") or isinstance(answer, list)))
        where = path.removeprefix("/api") if is_call(path) else hider.hide_url(request.url)
        line = {
            "seconds": round(time.monotonic() - self.started, 3),
            "method": request.method,
            "path": where,
            "request": sent,
            **result,
        }
        return hider.hide(line)


class Hider:
    """Replaces what is secret or personal by placeholders, the same one each time."""

    def __init__(self):
        self.placeholders: dict[tuple[str, object], object] = {}
        self.words: dict[str, str] = {}  # to be replaced in all texts
        self.hide_everywhere(str(Path.home()), "~")
        if owner := find_owner():
            self.name("user", owner)

    def name(self, kind: str, value: object, own: bool = True) -> object:
        """The placeholder of a value; of an own one it is used in all texts."""
        found = self.placeholders.get((kind, value))
        if found is None:
            number = 1 + sum(other == kind for other, _ in self.placeholders)
            found = number if kind == "number" else f"{kind}-{number}"
            self.placeholders[kind, value] = found
        if own and isinstance(value, str):
            self.hide_everywhere(value, found)
        return found

    def hide_everywhere(self, word: str, placeholder: str) -> None:
        """Replace a word in all texts, also where they are JSON.

        Not a short one without letters, or one of a letter or two: it would match anything.
        """
        size = len(word.encode("utf-8", "replace"))
        if size >= 16 or (size > 2 and re.search(r"[^\W\d_]", word)):
            for ascii_only in (True, False):
                self.words.setdefault(json.dumps(word, ensure_ascii=ascii_only)[1:-1], placeholder)
            self.words.setdefault(word, placeholder)

    def learn_credentials(self, header: str) -> None:
        """Take the user's name and the secret from a header Authorization."""
        scheme, _, value = header.partition(" ")
        if scheme == "Basic":
            user, _, secret = base64.b64decode(value).decode("utf-8", "replace").partition(":")
            self.name("user", user)
            self.hide_everywhere(secret, SECRET)
        self.hide_everywhere(value, SECRET)

    def learn(self, content: object, own: bool = True, key: str = "") -> None:
        """Take names from the fields that hold them."""
        if isinstance(content, dict):
            for name, value in content.items():
                self.learn(value, own, name)
        elif isinstance(content, list):
            for value in content:
                self.learn(value, own, key)
        elif isinstance(content, str) and content:
            owner = OWNED.fullmatch(content)
            if key in OWNED_KEYS or key.endswith("Sources"):
                if owner and owner[1] not in SITE:
                    self.name("user", owner[1])
            elif key in TEAMS:
                self.name("team", content, own)
            elif key in USERS:
                for user in split_users(content):
                    self.name("user", user, own)

    def hide(self, content: object, key: str = "") -> object:
        """The same content with placeholders."""
        if isinstance(content, dict):
            return {name: self.hide(value, name) for name, value in content.items()}
        if isinstance(content, list):
            return [self.hide(value, key) for value in content]
        if key in NUMBERS and content:
            return self.name("number", str(content), own=False)
        if not isinstance(content, str) or not content or key in PLAIN:
            return content
        if is_token(key):
            return self.name("token", content, own=False)
        if key in MESSAGES:
            last = content.split()[-1]
            return f"message {last}" if re.fullmatch(r"build=[\w-]+", last) else "message"
        if "://" not in content and (key in OWNED_KEYS or key.endswith("Sources")):
            content = self.hide_owner(content)
        if key in TEAMS:
            return self.name("team", content, own=False)
        if key in USERS:
            users = [self.name("user", user, own=False) for user in split_users(content)]
            return ",".join(users)
        if len(content) > (MAX_SOURCE if key in SOURCES else MAX_TEXT):
            return measure(content.encode("utf-8", "replace"))
        return self.hide_words(content)

    def hide_owner(self, path: str) -> str:
        """A path without the names of users among its parts, however short they are."""
        users = {name: p for (kind, name), p in self.placeholders.items() if kind == "user"}
        return "/".join(users.get(part, part) for part in path.split("/"))

    def hide_words(self, text: str) -> str:
        """A text without addresses, secrets and own names."""
        text = EMAIL.sub("someone@example.org", URL.sub(lambda url: self.hide_url(url[0]), text))
        listed = sorted(self.words, key=len, reverse=True)
        words = "|".join(map(re.escape, listed))
        secrets = (re.escape(word) for word in listed if self.words[word] == SECRET)
        known = {word.lower(): placeholder for word, placeholder in self.words.items()}
        return re.sub(
            "|".join([*secrets, rf"{WORD_START}(?:{words})(?![a-z0-9])"]),
            lambda found: known.get(found[0].lower(), "hidden"),
            text,
            flags=re.IGNORECASE,
        )

    def hide_url(self, url: str) -> str:
        """The address of a page without host, names and query; of a file only its kind."""
        if url.startswith(STORAGE):
            return url
        try:
            parts = urllib.parse.urlsplit(url)
            path, host = parts.path, parts.hostname
        except ValueError:  # brackets that are no address
            path, host = "", None
        if PAGE.fullmatch(path) and host in PAGE_HOSTS:
            return f"https://www.kaggle.com{self.hide_words(self.hide_owner(path))}"
        ending = re.search(r"\.[a-z]{2,5}$", path)
        return f"{STORAGE}{self.name('file', url, own=False)}{ending[0] if ending else ''}"


def is_call(path: str) -> bool:
    """Whether a request calls a method of the service, rather than storage."""
    return path.removeprefix("/api").startswith("/v1/")


def split_users(names: str) -> list[str]:
    """The users of a team, whose names a board separates by commas."""
    return [name.strip() for name in names.split(",")]


def is_token(key: str) -> bool:
    """Whether a field holds a token: of a log-in, an upload or a page."""
    return key.lower().endswith(("token", "tokens", "apikey"))


def read_body(body: bytes | str | None, kind: str) -> object:
    """A body as JSON or text; the table of a board; else its size and sha256."""
    body = body.encode("utf-8", "replace") if isinstance(body, str) else body
    if not body:
        return None
    if "json" in kind:
        with contextlib.suppress(ValueError):
            return json.loads(body)
    if body.startswith(b"PK\3\4"):
        return read_board(body)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return measure(body)


def read_board(body: bytes) -> object:
    """The rows of a zipped board, or the size and sha256 of another zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            text = archive.read(archive.namelist()[0]).decode("utf-8-sig")
    except (*DAMAGED_ZIP, UnicodeDecodeError):
        return measure(body)
    rows = list(csv.DictReader(io.StringIO(text)))
    return rows if rows and "TeamName" in rows[0] else measure(body)


def measure(body: bytes) -> dict:
    """What stands for a body that is not written out."""
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@contextlib.contextmanager
def recording(path: Path | None) -> Iterator[None]:
    """Record the exchanges of a block in a file, or nothing.

    A command that is repeated continues its transcript.

    Raises:
        ValueError: the file holds something else.
    """
    if path is None:
        yield
        return
    earlier = path.read_bytes() if path.exists() else b""
    if earlier and not earlier.startswith(b'{"transcript":'):
        raise ValueError(
            f"--record: expected a new file, or a transcript to continue. Received: {path}, which "
            "is neither. Try: another name"
        )
    with open(path, "ab", buffering=0) as file:
        if earlier and not earlier.endswith(b"\n"):  # a kill has cut the last line
            file.write(b"\n")
        transport.observe = Transcript(file).record
        try:
            yield
        finally:
            transport.observe = None
            print(f"transcript {path}: read it before you attach it to an issue")
