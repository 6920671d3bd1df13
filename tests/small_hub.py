"""Hugging Face's hub on 127.0.0.1, as far as a download of a model needs it."""

import contextlib
import http.server
import json
import threading
from pathlib import Path

COMMIT = "c" * 40


class Hub(http.server.ThreadingHTTPServer):
    """Serves folders as models, some of them only to those who send the token.

    Attributes:
        models: dict of "owner/name" to the Path of its folder.
        gated: set of names that need `token`.
        token: the one that has access.
        sent: the Authorization headers of all requests, None where there was none.
    """

    def __init__(self, models: dict, gated: set = frozenset(), token: str = "hf_good"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.models, self.gated, self.token, self.sent = models, gated, token, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """The three kinds of requests: what a model is, which files it has, one of them."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        token = self.headers.get("Authorization")
        self.server.sent.append(token)
        parts = self.path.partition("?")[0].strip("/").removeprefix("api/models/").split("/")
        name, kind, rest = "/".join(parts[:2]), parts[2], parts[4:]
        folder = self.server.models.get(name)
        if folder is None:
            return self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if kind in ("revision", "tree"):
            files = [path for path in sorted(folder.iterdir()) if path.is_file()]
            return self.answer(200, json.dumps(describe(name, kind, files)).encode())
        if name in self.server.gated and token != f"Bearer {self.server.token}":
            return self.answer(403 if token else 401, b"", {"X-Error-Code": "GatedRepo"})
        path = folder / Path(*rest)
        if not path.is_file():
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{path.name}"', "X-Repo-Commit": COMMIT}
        return self.answer(200, path.read_bytes(), headers)

    do_HEAD = do_GET

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing."""


def describe(name, kind, files):
    """The hub's JSON about a model or its files."""
    if kind == "revision":
        return {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path.name} for path in files]}
    return [
        {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": path.name}
        for path in files
    ]


@contextlib.contextmanager
def serve_hub(monkeypatch, cache, *arguments, **options):
    """Serve a hub and point huggingface_hub there, with an empty cache and no token."""
    from huggingface_hub import constants

    hub = Hub(*arguments, **options)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    changes = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": template}
    changes.update(HF_HUB_CACHE=str(cache), HF_TOKEN_PATH=str(cache / "token"))
    for name, value in changes.items():
        monkeypatch.setattr(constants, name, value)
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
