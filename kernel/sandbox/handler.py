"""The sandbox's HTTP: URLs to methods, credentials, errors, faults."""

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
from .methods import METHODS
from .service import Refusal

Answer = dict | str | bytes | Path | None  # JSON, a URL or a page, a file; None: streamed


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection of `server.sandbox`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the head's receipt

    @property
    def service(self):
        """The state of the sandbox."""
        return self.server.sandbox.service

    def do_POST(self):
        """A call: POST /api/v1/<service>/<Method> with JSON."""
        method = urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[-1]
        body = self.read_body()
        if body is not None:
            self.answer(method, lambda: self.call(method, body))

    def do_PUT(self):
        """An upload: PUT /upload/<token>."""
        token = urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[-1]
        body = self.read_body()
        if body is not None:
            self.answer("upload", lambda: self.keep(token, body))

    def do_GET(self):
        """A file's signed URL, or a session's log as a stream."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        kind = path.split("/")[1]
        if "/kernels/logs/stream/" in path:
            self.answer("logs", lambda: self.stream_log(path))
        else:
            self.answer(kind, lambda: self.read_file(path))

    def read_body(self) -> bytes | None:
        """The request's body, or None if the client left before its end."""
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) == length:
            return body
        self.close_connection = True
        return None

    def call(self, method: str, body: bytes) -> Answer:
        """Carry out a call.

        Raises:
            Refusal: a method that the sandbox lacks, or what the method refuses.
        """
        user = self.find_user() if method != "IntrospectToken" else None
        if method not in METHODS:
            raise Refusal(404, f"the sandbox does not speak {method}")
        with self.service.lock:
            return METHODS[method](self.service, user, json.loads(body or b"{}"))

    def find_user(self) -> str:
        """The user that the credentials name.

        Raises:
            Refusal: 401, none or wrong ones.
        """
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        user, key = self.service.username, value
        if scheme == "Basic":
            with contextlib.suppress(ValueError):
                user, _, key = base64.b64decode(value).decode().partition(":")
        expected = self.service.key.encode()
        if not secrets.compare_digest(key.encode(), expected) or not user:
            raise Refusal(401, "Unauthenticated")
        return user

    def keep(self, token: str, body: bytes) -> bytes:
        """Keep an uploaded file."""
        if token not in self.service.uploads:
            raise Refusal(404, "Not found")
        name, content = self.service.uploads[token]
        if self.headers.get("Content-Range", "").startswith("bytes */"):
            raise Refusal(308 if content is None else 200, "")
        self.service.uploads[token] = (name, body)
        return b""

    def read_file(self, path: str) -> bytes | Path:
        """A file of an output or of the competition, or a kernel's latest text."""
        service = self.service
        kind, signature, *parts = [*path.strip("/").split("/"), ""]
        if kind == "code" and f"{signature}/{parts[0]}" in service.state["kernels"]:
            kernel = service.state["kernels"][f"{signature}/{parts[0]}"]
            return kernel["versions"][-1]["request"]["text"].encode()
        return service.find_file(kind, signature, "/".join(parts[:-1]))

    def stream_log(self, path: str) -> bytes | None:
        """Stream a running session's log as events until it ends; else it as JSON."""
        owner, slug = path.split("/")[-2:]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        request = {"userName": owner, "kernelSlug": slug}
        if "versionLabel" in query:
            request["versionLabel"] = query["versionLabel"][0]
        user = self.find_user()
        with self.service.lock:
            ref, number, version = find_version(self.service, user, request)
        session = self.service.sessions.get((ref, number))
        if session is None or session.status != "RUNNING":
            return json.dumps(version["log"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        closing, sent = self.server.sandbox.closing, 0
        with contextlib.suppress(OSError):  # the reader left
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

    def answer(self, method: str, carry_out: Callable[[], Answer]) -> None:
        """Answer with what a call returns, with its error, or with a fault."""
        sandbox = self.server.sandbox
        fault = sandbox.plan.take(method)
        if fault is not None and fault.wait and sandbox.closing.wait(fault.wait):
            self.close_connection = True
            return
        try:
            result = {}
            if fault is None or fault.is_carried_out:
                result = carry_out()
            if fault is not None:
                self.fail(fault, result)
            else:
                self.reply(200, result)
        except Refusal as refusal:
            error = {"code": refusal.status, "message": str(refusal)}
            self.reply(refusal.status, error)

    def fail(self, fault: Fault, result: Answer) -> None:
        """Answer with a fault."""
        if fault.patch is not None:
            self.reply(200, {**result, **fault.patch})
            return
        if fault.wait and not (fault.after or fault.drop or fault.hang or fault.cut):
            self.reply(200, result)
            return
        if fault.hang:
            self.server.sandbox.closing.wait(fault.hang)
        if fault.drop or fault.hang:
            self.close_connection = True
        elif fault.cut:
            self.reply(200, result, cut=fault.cut)
        else:
            self.reply(fault.status, fault.body, fault.headers)

    def reply(
        self,
        status: int,
        result: Answer,
        headers: Mapping[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        """Send an answer: a dict as JSON, a URL as 302, bytes as they are.

        Args:
            status: int, HTTP status.
            result: the answer; None if it was streamed already.
            headers: further headers.
            cut: int, close the connection after this many bytes, or None.
        """
        if result is None:
            return
        kind, location = "application/octet-stream", None
        if isinstance(result, dict):
            kind, result = "application/json", json.dumps(result).encode()
        elif isinstance(result, str) and result.startswith("http"):
            status, location, result = 302, result, b""
        elif isinstance(result, str):
            kind, result = "text/html", result.encode()
        headers = {"Content-Type": kind, **(headers or {})}
        if location:
            headers["Location"] = location
        if isinstance(result, Path):
            with open(result, "rb") as file:
                self.send_file(file, headers, cut)
        else:
            self.send(status, headers, io.BytesIO(result), len(result), cut)

    def send_file(self, file: BinaryIO, headers: dict[str, str], cut: int | None) -> None:
        """Send a file, or the part of it that the client asked for."""
        found = os.fstat(file.fileno())
        size, start, stop, status = found.st_size, 0, found.st_size, 200
        tag = f'"{found.st_mtime_ns:x}-{size:x}"'
        modified = email.utils.formatdate(found.st_mtime, usegmt=True)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""), re.ASCII)
        if asked and self.headers.get("If-Range", tag) in (tag, modified):
            start, stop = int(asked[1]), min(size, int(asked[2] or size) + 1)
            status = 206 if start < stop else 416
            shown = f"{start}-{stop - 1}" if start < stop else "*"
            headers["Content-Range"] = f"bytes {shown}/{size}"
        headers |= {"Accept-Ranges": "bytes", "ETag": tag, "Last-Modified": modified}
        file.seek(min(start, size))
        self.send(status, headers, file, stop - start if status != 416 else 0, cut)

    def send(
        self, status: int, headers: dict[str, str], body: BinaryIO, length: int, cut: int | None
    ) -> None:
        """Send a head and `length` bytes of a body, or `cut` of them."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        left = length if cut is None else min(cut, length)
        while left > 0 and (part := body.read(min(left, 1 << 20))):
            self.wfile.write(part)
            left -= len(part)
        if cut is not None or left:
            self.close_connection = True

    def log_message(self, *arguments):
        """Print nothing: the terminal belongs to the commands."""
