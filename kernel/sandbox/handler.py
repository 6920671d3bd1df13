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
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from .faults import Fault
from .kernels import find_version
from .methods import METHODS, read_request
from .service import NAME, Refusal

Answer = dict | str | bytes | Path | None  # JSON, a URL or a page, a file; None: streamed

# What is answered: the command, the address, the most bytes of a body.
ROUTES = {
    "call": ("POST", r"/api/v1/[\w.]+/(\w+)", 8 << 20),
    "upload": ("PUT", r"/upload/(\w+)", 4 << 30),
    "file": ("GET", r"/file/(\w+)/(.+)", 0),
    "data": ("GET", r"/data/(\w+)/(.+)", 0),
    "code": ("GET", r"/code/([^/]+)/([^/]+)", 0),
    "logs": ("GET", r"/api/v1/kernels/logs/stream/([^/]+)/([^/]+)", 0),
}
DISCARDED = 1 << 20  # bytes of a refused body that are read, so that the client sees why


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection of `server.sandbox`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the head's receipt
    timeout = 60  # seconds without a byte, after which the connection is closed

    def respond(self) -> None:
        """Answer one request. All that it must be is checked here, before its body is read."""
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
            return
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the client left")
        if kind == "call":
            self.answer(parts[0], lambda: self.call(user, parts[0], body))
        elif kind == "upload":
            self.answer(kind, lambda: self.keep(parts[0], body))
        elif kind in ("file", "data"):
            self.answer(kind, lambda: self.service.find_file(kind, parts[1]))
        else:
            stream = self.stream_log if kind == "logs" else self.show_code
            self.answer(kind, lambda: stream(user, *parts))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = respond

    def find_route(self) -> tuple[str, tuple[str, ...], int]:
        """The kind of a request, the parts of its address, the longest body.

        Raises:
            Refusal: 400, no address; 404, an unknown one; 405, not this command.
        """
        try:
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        for kind, (command, pattern, limit) in ROUTES.items():
            if match := re.fullmatch(pattern, path):
                if self.command not in (command, "HEAD" if command == "GET" else command):
                    raise Refusal(405, f"Expected: {command}. Received: {self.command}")
                return kind, match.groups(), limit
        raise Refusal(404, "Not found")

    def find_user(self, kind: str, part: str, path: str = "") -> str:
        """The user that the credentials name; "" where the address itself is the credential.

        Raises:
            Refusal: 401 or 403, no or wrong credentials; 404, nothing of this name.
        """
        if kind == "upload" and part not in self.service.uploads:
            raise Refusal(404, "Not found")
        if kind in ("file", "data"):
            expected = self.service.make_signature(kind, path)
            if not secrets.compare_digest(part.encode(), expected.encode()):
                raise Refusal(403, "The address is not signed")
        if kind in ("upload", "file", "data") or part == "IntrospectToken":
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
        """The length of the body.

        Raises:
            Refusal: 400, it is not said; 413, it is too long.
        """
        usual = "" if self.command in ("POST", "PUT") else "0"
        length = self.headers.get("Content-Length", usual)
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,18}", length):
            raise Refusal(400, "Expected: a Content-Length")
        if int(length) > limit:
            raise Refusal(413, f"Expected: at most {limit} bytes. Received: {length}")
        return int(length)

    def call(self, user: str, method: str, body: bytes) -> Answer:
        """Carry out a method of the protocol."""
        request = read_request(body)
        with self.service.lock:
            return METHODS[method](self.service, user, request)

    def keep(self, token: str, body: bytes) -> bytes:
        """Keep an uploaded file."""
        name, content = self.service.uploads[token]
        if self.headers.get("Content-Range", "").startswith("bytes */"):
            raise Refusal(308 if content is None else 200, "")
        self.service.uploads[token] = (name, body)
        return b""

    def show_code(self, user: str, owner: str, slug: str) -> bytes:
        """A kernel's latest text."""
        with self.service.lock:
            found = find_version(self.service, user, {"userName": owner, "kernelSlug": slug})
        return found[2]["request"].get("text", "").encode()

    def stream_log(self, user: str, owner: str, slug: str) -> bytes | None:
        """Stream a running session's log as events until it ends; else it as JSON."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        request = {"userName": owner, "kernelSlug": slug}
        if "versionLabel" in query:
            request["versionLabel"] = query["versionLabel"][0]
        with self.service.lock:
            ref, number, version = find_version(self.service, user, request)
        session = self.service.sessions.get((ref, number))
        if session is None or session.status != "RUNNING" or self.command == "HEAD":
            return json.dumps(version["log"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        closing, sent = self.server.sandbox.closing, 0
        with contextlib.suppress(ConnectionError):  # the reader left
            while not closing.is_set():
                done = session.status != "RUNNING"
                for entry in session.log[sent:]:
                    self.wfile.write(f"data: {json.dumps(entry)}\n\n".encode())
                    sent += 1
                if done:
                    self.wfile.write(b"data: END_OF_LOG\n\n")
                    break
                closing.wait(0.05)
        return None

    def answer(self, name: str, carry_out: Callable[[], Answer]) -> None:
        """Answer with what a call returns, with its error, or with a fault."""
        sandbox = self.server.sandbox
        fault = sandbox.take_fault(name)
        if fault and sandbox.closing.wait(fault.wait):
            self.close_connection = True
            return
        try:
            result = carry_out() if fault is None or fault.is_carried_out else {}
        except Refusal as refusal:
            self.refuse(refusal)
        except OSError as error:  # a full disk
            self.refuse(Refusal(500, str(error)))
        else:
            if fault:
                self.fail(fault, result)
            else:
                self.reply(200, result)

    def fail(self, fault: Fault, result: Answer) -> None:
        """Answer with a fault."""
        if fault.patch is not None:
            self.reply(200, {**result, **fault.patch})
            return
        if fault.hang:
            self.server.sandbox.closing.wait(fault.hang)
        if fault.drop or fault.hang:
            self.close_connection = True
        elif fault.cut or (fault.wait and not fault.after):
            self.reply(200, result, cut=fault.cut)
        else:
            self.reply(fault.status, fault.body, fault.headers)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error as Kaggle writes it."""
        self.reply(refusal.status, {"code": refusal.status, "message": str(refusal)})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is no HTTP."""
        self.close_connection = True
        self.refuse(Refusal(405 if code == 501 else int(code), message or "Bad request"))

    def reply(
        self,
        status: int,
        result: Answer,
        headers: Mapping[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        """Send an answer: a dict as JSON, a URL as 302, bytes and files as they are.

        Args:
            status: int, HTTP status.
            result: the answer; None if it was streamed already.
            headers: further headers.
            cut: int, close the connection after this many bytes, or None.
        """
        headers, kind = dict(headers or {}), "application/octet-stream"
        if isinstance(result, dict):
            kind, result = "application/json", json.dumps(result).encode()
        elif isinstance(result, str) and result.startswith("http"):
            status, headers["Location"], result = 302, result, b""
        elif isinstance(result, str):
            kind, result = "text/html", result.encode()
        headers = {"Content-Type": kind, **headers}
        if isinstance(result, Path):
            with open(result, "rb") as file:
                self.send_file(file, headers, cut)
        elif result is not None:
            self.send(status, headers, io.BytesIO(result), len(result), cut)

    def send_file(self, file: BinaryIO, headers: dict[str, str], cut: int | None) -> None:
        """Send a file, or the part of it that the client asked for."""
        found = os.fstat(file.fileno())
        size, start, stop, status = found.st_size, 0, found.st_size, 200
        tag = f'"{found.st_mtime_ns:x}-{size:x}"'
        modified = email.utils.formatdate(found.st_mtime, usegmt=True)
        asked = re.fullmatch("bytes=([0-9]{1,18})-([0-9]{0,18})", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", tag) in (tag, modified):
            start, stop = int(asked[1]), min(size, int(asked[2] or size) + 1)
            status, shown = 206, f"{start}-{stop - 1}"
            if start >= stop:
                status, shown, start, stop = 416, "*", 0, 0
            headers["Content-Range"] = f"bytes {shown}/{size}"
        headers |= {"Accept-Ranges": "bytes", "ETag": tag, "Last-Modified": modified}
        file.seek(start)
        self.send(status, headers, file, stop - start, cut)

    def send(
        self, status: int, headers: dict[str, str], body: BinaryIO, length: int, cut: int | None
    ) -> None:
        """Send a head and `length` bytes of a body, or `cut` of them."""
        self.request_version = self.protocol_version  # one of HTTP/0.9 would get no head
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        left = length if cut is None else min(cut, length)
        if self.command == "HEAD":
            left = 0
        while left > 0 and (part := body.read(min(left, 1 << 20))):
            self.wfile.write(part)
            left -= len(part)
        if cut is not None or left:
            self.close_connection = True

    def log_message(self, *arguments) -> None:
        """Print nothing: the terminal belongs to the commands."""
