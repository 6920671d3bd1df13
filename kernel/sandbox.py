"""Kaggle on localhost: the service's protocol, for the official client.

It runs pushed kernels, keeps their versions, logs and output, scores submissions, keeps
both leaderboards, and can be told to fail. It listens on 127.0.0.1 only.
"""

import base64
import contextlib
import dataclasses
import http.server
import json
import os
import secrets
import sys
import threading
import urllib.parse

from .service import METHODS, Refusal, Service

PROXY_NAMES = ("HTTP_PROXY", "http_proxy")
NO_PROXY_NAMES = ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next `times` calls of a method.

    `after` carries the call out first, so that only its answer is lost. `patch` answers
    as ever with some fields replaced. `drop` closes the connection without an answer,
    `hang` first waits for so many seconds, `cut` closes it after so many bytes. Else
    the answer is `status` with `body` (a dict becomes JSON) and `headers`.
    """

    status: int = 500
    body: object = "<html>error</html>"
    headers: dict = dataclasses.field(default_factory=dict)
    after: bool = False
    drop: bool = False
    hang: float = 0
    cut: int | None = None
    patch: dict | None = None
    times: int = 1


class Sandbox:
    """A running stand-in for Kaggle; a context manager that stops all it started.

    Args:
        data: path of the competition's folder, which kernels get as their input.
        solution: path of a CSV id,label,Usage, which they do not get.
        folder: Path where versions, output, datasets and submissions are kept; a later
            sandbox on the same folder goes on with them.
        teams, deadline: as `Judge` takes them.
        port: int, 0 for a free one.
        username: str, the user of `environment`. Any other name comes in with the same
            key: each is a team of its own.
        python: the command that runs a kernel's script.

    Raises:
        FileNotFoundError, ValueError: data or a solution that is none.
        OSError: a port that is taken.
    """

    def __init__(
        self,
        data,
        solution,
        folder,
        teams=(),
        deadline=None,
        port=0,
        username="sandbox",
        python=(sys.executable,),
    ):
        self.service = Service(
            data, solution, folder, teams, deadline, username, python
        )
        self.faults, self.calls = {}, []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.sandbox = self
        self.service.url = self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, args=(0.05,), daemon=True
        ).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Stop the server and every session."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.service.close()

    def environment(self):
        """Variables that point the official client and ours here; None: to be unset."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            **dict.fromkeys(PROXY_NAMES, self.url),
            **dict.fromkeys(NO_PROXY_NAMES),
            "KAGGLE_API_TOKEN": self.service.key,
            "KAGGLE_USERNAME": self.service.username,
            "KAGGLE_KEY": self.service.key,
        }

    def describe(self):
        """How to use it, as lines for a terminal."""
        yield f"sandbox   {self.url}, on this machine only"
        yield f"data      {self.service.data}"
        yield f"state     {self.service.folder}"
        yield "To point build.py or the kaggle command here (the key opens this sandbox"
        yield "only; choose any user name: each is a team), in a shell:"
        shown = {**self.environment(), "KAGGLE_API_TOKEN": None}
        for name, value in shown.items():
            yield f"  export {name}={value}" if value else f"  unset {name}"
        yield "or in PowerShell:"
        for name, value in shown.items():
            if name.upper() == name:
                yield f'  $env:{name} = "{value or ""}"'
        yield "Ctrl-C stops it and every kernel that it runs."

    @contextlib.contextmanager
    def entered(self):
        """This process's environment, pointed here for as long as the block runs."""
        before = {name: os.environ.get(name) for name in self.environment()}
        try:
            set_environment(self.environment())
            yield self
        finally:
            set_environment(before)

    def script(self, method, *faults):
        """Let the next calls of a method go wrong, one fault after the other.

        Methods are named as in the protocol; "upload", "file", "data" and "logs" are
        the plain addresses.
        """
        with self.lock:
            self.faults.setdefault(method, []).extend(faults)

    def take_fault(self, method):
        """The fault that is due, or None; notes the call down."""
        with self.lock:
            self.calls.append(method)
            faults = self.faults.get(method, [])
            if not faults:
                return None
            faults[0].times -= 1
            return faults[0] if faults[0].times else faults.pop(0)


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP: addresses to methods, credentials, errors, scripted faults."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the head's receipt

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
        """A file's signed address, or a session's log as a stream."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        kind = path.split("/")[1]
        if "/kernels/logs/stream/" in path:
            self.answer("logs", lambda: self.stream_log(path))
        else:
            self.answer(kind, lambda: self.read_file(path))

    def read_body(self):
        """The request's body, or None where the client went away half-way."""
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) == length:
            return body
        self.close_connection = True
        return None

    def call(self, method, body):
        """Carry a call out."""
        sandbox = self.server.sandbox
        user = self.find_user() if method != "IntrospectToken" else None
        if method not in METHODS:
            raise Refusal(404, f"the sandbox does not speak {method}")
        with sandbox.service.lock:
            return METHODS[method](sandbox.service, user, json.loads(body or b"{}"))

    def find_user(self):
        """The user that the credentials name.

        Raises:
            Refusal: 401, none or wrong ones.
        """
        service = self.server.sandbox.service
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        user, key = service.username, value
        if scheme == "Basic":
            with contextlib.suppress(ValueError):
                user, _, key = base64.b64decode(value).decode().partition(":")
        if not secrets.compare_digest(key.encode(), service.key.encode()) or not user:
            raise Refusal(401, "Unauthenticated")
        return user

    def keep(self, token, body):
        """Keep an uploaded file."""
        blob = self.server.sandbox.service.blobs.get(token)
        if blob is None:
            raise Refusal(404, "Not found")
        if self.headers.get("Content-Range", "").startswith("bytes */"):
            raise Refusal(308 if blob["content"] is None else 200, "")
        blob["content"] = body
        return b""

    def read_file(self, path):
        """A file of an output or of the competition, or a kernel's latest text."""
        service = self.server.sandbox.service
        kind, signature, *parts = [*path.strip("/").split("/"), ""]
        if kind == "code" and f"{signature}/{parts[0]}" in service.state["kernels"]:
            kernel = service.state["kernels"][f"{signature}/{parts[0]}"]
            return kernel["versions"][-1]["request"]["text"].encode()
        roots = {"file": service.folder / "kernels", "data": service.data}
        if kind not in roots or signature != service.signature:
            raise Refusal(403, "The address is not signed")
        target = roots[kind].joinpath(*parts)
        if ".." in parts or not target.is_file():
            raise Refusal(404, "Not found")
        return target.read_bytes()

    def stream_log(self, path):
        """Send a running session's log as events until it ends; else as JSON."""
        sandbox = self.server.sandbox
        owner, slug = path.split("/")[-2:]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        request = {"userName": owner, "kernelSlug": slug}
        if "versionLabel" in query:
            request["versionLabel"] = query["versionLabel"][0]
        user = self.find_user()
        with sandbox.service.lock:
            ref, number, version = sandbox.service.find_version(user, request)
        session = sandbox.service.sessions.get((ref, number))
        if session is None or session.status != "RUNNING":
            return json.dumps(version["log"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        sent = 0
        with contextlib.suppress(OSError):  # the reader left
            while not sandbox.closing.is_set():
                done = session.status != "RUNNING"
                for entry in session.log[sent:]:
                    self.wfile.write(f"data: {json.dumps(entry)}\n\n".encode())
                    sent += 1
                if done:
                    self.wfile.write(b"data: END_OF_LOG\n\n")
                    break
                sandbox.closing.wait(0.05)
        return None

    def answer(self, method, carry_out):
        """Answer with what a call returns, with its error, or with a fault."""
        sandbox = self.server.sandbox
        fault = sandbox.take_fault(method)
        try:
            result = {}
            if fault is None or fault.after or fault.patch is not None or fault.cut:
                result = carry_out()
            if fault is not None:
                return self.fail(fault, result)
            return self.send(200, result)
        except Refusal as refusal:
            error = {"code": refusal.status, "message": str(refusal)}
            return self.send(refusal.status, error)

    def fail(self, fault, result):
        """Answer with a fault."""
        if fault.patch is not None:
            return self.send(200, {**result, **fault.patch})
        if fault.hang:
            self.server.sandbox.closing.wait(fault.hang)
        if fault.drop or fault.hang:
            self.close_connection = True
            return None
        if fault.cut:
            return self.send(200, result, cut=fault.cut)
        return self.send(fault.status, fault.body, fault.headers)

    def send(self, status, result, headers=(), cut=None):
        """Send an answer: a dict as JSON, an address as 302, bytes as they are."""
        if result is None:  # it was streamed
            return
        kind, location = "application/octet-stream", None
        if isinstance(result, dict):
            kind, result = "application/json", json.dumps(result).encode()
        elif isinstance(result, str) and result.startswith("http"):
            status, location, result = 302, result, b""
        elif isinstance(result, str):
            kind, result = "text/html", result.encode()
        self.send_response(status)
        headers = {"Content-Type": kind, **dict(headers)}
        if location:
            headers["Location"] = location
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(result)))
        self.end_headers()
        self.wfile.write(result[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *arguments):
        """Say nothing: the terminal belongs to the commands."""


def set_environment(variables):
    """Set variables of this process; None unsets one."""
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
