"""The sandbox's HTTP: what a request must be, who asks, files, errors, faults."""

import base64
import contextlib
import email.utils
import http.server
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import urllib.parse
from pathlib import Path
from typing import BinaryIO

from pcam_kaggle.system.files import write_beside
from pcam_kaggle.system.paths import COMPETITION

from . import kernels, service, submissions
from .faults import NO_FAULT, Fault
from .service import ARCHIVE, NAME, Refusal

Answer = dict | str | bytes | Path | None  # JSON, a URL or a page, a file; None: streamed

# What is answered: the command, the address, the most bytes of a body.
ROUTES = {
    "call": ("POST", r"/api/v1/[\w.]+/(\w+)", 8 << 20),
    "upload": ("PUT", r"/upload/(\w+)", 4 << 30),
    "file": ("GET", r"/(file|data)/(\w+)/(.+)", 0),
    "logs": ("GET", r"/api/v1/kernels/logs/stream/([^/]+)/([^/]+)", 0),
    "page": ("GET", r"/code/([^/]+)/([^/]+)", 0),
}
# The methods of the protocol: each is the function of that name in a module.
METHODS = {
    name: getattr(module, re.sub("(.)([A-Z])", r"\1_\2", name).lower())
    for module, names in (
        (service, "IntrospectToken GetAcceleratorQuotaStatistics"),
        (kernels, "SaveKernel GetKernel GetKernelSessionStatus"),
        (kernels, "ListKernelSessionOutput ListKernelFiles"),
        (submissions, "GetCompetition ListDataFiles DownloadDataFile DownloadDataFiles"),
        (submissions, "GetSubmissionLimits StartSubmissionUpload CreateSubmission"),
        (submissions, "GetSubmission ListSubmissions GetLeaderboard DownloadLeaderboard"),
        (submissions, "StartBlobUpload CreateDataset GetDatasetStatus ListDatasetFiles"),
    )
    for name in names.split()
}
# The types of a request's fields; all others are text.
TYPES = {
    **dict.fromkeys(("id", "ref", "page", "pageSize", "priority", "sessionTimeoutSeconds"), int),
    **dict.fromkeys(("contentLength", "lastModifiedEpochSeconds", "datasetVersionNumber"), int),
    "benchmarkModelVersionId": int,
    **dict.fromkeys(("isPrivate", "enableGpu", "enableTpu", "enableInternet"), bool),
    **dict.fromkeys(("overridePublic", "sandbox"), bool),
    **dict.fromkeys(("datasetDataSources", "kernelDataSources", "competitionDataSources"), list),
    **dict.fromkeys(("modelDataSources", "categoryIds", "files", "directories"), list),
}
PAGE = "This sandbox stands in for Kaggle on localhost. It has no pages: use build.py or kaggle."
IN_MEMORY = 8 << 20  # bytes of a body; a longer one is kept in a temporary file
DISCARDED = 1 << 20  # bytes of a refused body that are read, so that the client sees why


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection of `server.sandbox`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the head's receipt
    timeout = 60  # seconds without a byte, after which the connection is closed

    def respond(self) -> None:
        """Answer one request; all that it must be is checked before its body is read."""
        self.service = self.server.sandbox.service
        try:
            kind, parts, limit = self.find_route()
            user = self.find_user(kind, *parts)
            length = self.find_length(limit)
        except Refusal as refusal:
            self.close_connection = True
            self.refuse(refusal)
            self.connection.settimeout(1)
            with contextlib.suppress(OSError):
                self.rfile.read(DISCARDED)
        else:
            self.answer(kind, user, length, parts)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = respond

    def find_route(self) -> tuple[str, tuple[str, ...], int]:
        """The kind of a request, the parts of its address, the longest body."""
        try:
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        for kind, (command, pattern, limit) in ROUTES.items():
            if match := re.fullmatch(pattern, path):
                if (self.command if self.command != "HEAD" else "GET") != command:
                    raise Refusal(405, f"Expected: {command}. Received: {self.command}")
                return kind, match.groups(), limit
        raise Refusal(404, "Not found")

    def find_user(self, kind: str, part: str, signature: str = "", path: str = "") -> str:
        """The user that the credentials name; "" where the address itself is the credential."""
        if kind == "upload" and part not in self.service.uploads:
            raise Refusal(404, "Not found")
        if kind == "file":
            expected = self.service.make_signature(part, path)
            if not secrets.compare_digest(signature.encode(), expected.encode()):
                raise Refusal(403, "The address is not signed")
        if kind in ("upload", "file", "page") or (kind, part) == ("call", "IntrospectToken"):
            return ""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        user, key = self.service.username, value
        if scheme == "Basic":
            with contextlib.suppress(ValueError):
                user, _, key = base64.b64decode(value).decode().partition(":")
        expected = self.service.key.encode()
        if not secrets.compare_digest(key.encode(), expected) or not NAME.fullmatch(user):
            raise Refusal(401, "Unauthenticated")
        if kind == "call" and part not in METHODS:
            raise Refusal(404, f"the sandbox does not speak {part}")
        return user

    def find_length(self, limit: int) -> int:
        """The length of the body."""
        none = "0" if self.command not in ("POST", "PUT") else ""
        length = self.headers.get("Content-Length", none)
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,18}", length):
            raise Refusal(400, "Expected: a Content-Length")
        if int(length) > limit:
            raise Refusal(413, f"Expected: at most {limit} bytes. Received: {length}")
        return int(length)

    def answer(self, kind: str, user: str, length: int, parts: tuple[str, ...]) -> None:
        """Answer with what a call returns, with its error, or with a fault."""
        sandbox = self.server.sandbox
        try:
            with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=self.service.folder) as body:
                if copy_bytes(self.rfile, body, length):
                    raise ConnectionAbortedError("the client left")
                body.seek(0)
                fault = sandbox.take_fault(parts[0] if kind in ("call", "file") else kind)
                if sandbox.closing.wait(fault.wait):
                    raise ConnectionAbortedError("the sandbox is closed")
                act = getattr(self, f"answer_{kind}")
                result = act(user, body, *parts) if fault.is_carried_out else None
        except Refusal as refusal:
            self.refuse(refusal)
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:  # a full disk
            self.close_connection = True
            self.refuse(Refusal(500, str(error)))
        else:
            if fault.drop or fault.hang:
                sandbox.closing.wait(fault.hang)
                self.close_connection = True
            elif fault.status:
                self.reply(fault.status, fault.body, fault)
            else:
                self.reply(200, {**result, **fault.patch} if fault.patch else result, fault)

    def answer_call(self, user: str, body: BinaryIO, method: str) -> Answer:
        """Carry out a method of the protocol."""
        request = read_request(body.read())
        with self.service.lock:
            return METHODS[method](self.service, user, request)

    def answer_upload(self, user: str, body: BinaryIO, token: str) -> bytes:
        """Keep an uploaded file."""
        path = self.service.uploads[token]
        if self.headers.get("Content-Range", "").startswith("bytes */"):
            raise Refusal(200 if path.exists() else 308, "")
        with write_beside(path) as partial, open(partial, "wb") as file:
            shutil.copyfileobj(body, file)
        return b""

    def answer_file(self, user: str, body: BinaryIO, kind: str, signature: str, path: str) -> Path:
        """A file of an output or of the competition."""
        if (kind, path) == ("data", ARCHIVE):
            return self.service.make_archive()
        file = (self.service.data if kind == "data" else self.service.folder / "kernels") / path
        if not file.is_file():
            raise Refusal(404, "Not found")
        return file

    def answer_page(self, *arguments) -> str:
        """What a kernel's address shows in a browser."""
        return PAGE

    def answer_logs(self, user: str, body: BinaryIO, owner: str, slug: str) -> Answer:
        """A session's log: a stream of events until it ends if it is running, else JSON."""
        query = urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)
        request = {**dict(query), "userName": owner, "kernelSlug": slug}
        with self.service.lock:
            ref, number, version = kernels.find_version(self.service, user, request)
        session = self.service.sessions.get((ref, number))
        if session is None or session.status != "RUNNING" or self.command == "HEAD":
            return json.dumps(version["log"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        sent, is_over = 0, False
        with contextlib.suppress(ConnectionError):  # the reader left
            while not is_over and not self.server.sandbox.closing.wait(0.05):
                is_over = session.status != "RUNNING"
                events = [json.dumps(entry) for entry in session.log[sent:]]
                sent += len(events)
                for event in events + ["END_OF_LOG"] * is_over:
                    self.wfile.write(f"data: {event}\n\n".encode())
        return None

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error as Kaggle writes it."""
        self.reply(refusal.status, {"code": refusal.status, "message": str(refusal)})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is no HTTP."""
        self.close_connection = True
        self.refuse(Refusal(405 if code == 501 else int(code), message or "Bad request"))

    def reply(self, status: int, result: Answer, fault: Fault = NO_FAULT) -> None:
        """Send an answer: a dict as JSON, a URL as 302, bytes and files as they are."""
        if result is None:  # it was streamed
            return
        own = {"Content-Type": "application/octet-stream"}
        if isinstance(result, dict):
            own, result = {"Content-Type": "application/json"}, json.dumps(result).encode()
        elif isinstance(result, str) and result.startswith("http"):
            status, own["Location"], result = 302, result, b""
        elif isinstance(result, str):
            own, result = {"Content-Type": "text/html"}, result.encode()
        with open(result, "rb") if isinstance(result, Path) else io.BytesIO(result) as body:
            length = body.seek(0, os.SEEK_END)
            body.seek(0)
            if isinstance(result, Path):
                status, length = self.seek_part(body, length, own)
            self.request_version = self.protocol_version  # one of HTTP/0.9 would get no head
            self.send_response(status)
            for name, value in {**own, **fault.headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            sent = length if fault.cut is None else min(fault.cut, length)
            missing = copy_bytes(body, self.wfile, sent if self.command != "HEAD" else 0)
        if fault.cut is not None or missing:
            self.close_connection = True

    def seek_part(self, file: BinaryIO, size: int, headers: dict[str, str]) -> tuple[int, int]:
        """Go to the part of a file that is asked for; the status and the bytes from there."""
        changed = os.fstat(file.fileno())
        tag = f'"{changed.st_mtime_ns:x}-{size:x}"'
        modified = email.utils.formatdate(changed.st_mtime, usegmt=True)
        headers |= {"Accept-Ranges": "bytes", "ETag": tag, "Last-Modified": modified}
        asked = re.fullmatch("bytes=([0-9]{1,18})-([0-9]{0,18})", self.headers.get("Range", ""))
        if not asked or self.headers.get("If-Range", tag) not in (tag, modified):
            return 200, size
        start, stop = int(asked[1]), min(size, int(asked[2] or size) + 1)
        if start >= stop:
            headers["Content-Range"] = f"bytes */{size}"
            return 416, 0
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        file.seek(start)
        return 206, stop - start

    def log_message(self, *arguments) -> None:
        """Print nothing: the terminal belongs to the commands."""


def copy_bytes(source: BinaryIO, target: BinaryIO, length: int) -> int:
    """Copy up to `length` bytes; how many were missing."""
    while length > 0 and (part := source.read(min(length, 1 << 20))):
        target.write(part)
        length -= len(part)
    return length


def read_request(body: bytes) -> dict:
    """The fields of a request that are set, or a Refusal: other types, another competition."""
    try:
        request = json.loads(body or b"{}")
        json.dumps(request, ensure_ascii=False, allow_nan=False).encode()  # is it Unicode?
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise Refusal(400, "Expected: a JSON object")
    request = {name: value for name, value in request.items() if value is not None}
    for name, value in request.items():
        kind = TYPES.get(name, str)
        item = dict if name in ("files", "directories") else str
        if (
            type(value) is not kind
            or (kind is int and abs(value) >= 1 << 63)
            or (kind is list and any(type(one) is not item for one in value))
        ):
            raise Refusal(400, f"{name} is not of the expected type")
    if request.get("competitionName", COMPETITION) != COMPETITION:
        raise Refusal(404, "Not found")
    return request
