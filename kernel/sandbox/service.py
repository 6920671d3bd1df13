"""The sandbox's state: kernels, datasets and submissions, kept in a folder."""

import datetime
import hmac
import re
import secrets
import shutil
import threading
import urllib.parse
import zipfile
from pathlib import Path

from pcam_kaggle.system.files import read_json, write_beside, write_json
from pcam_kaggle.system.paths import COMPETITION

from .judge import Judge
from .sessions import ALIVE, Session, list_files

GPU_HOURS = 30  # a week
ARCHIVE = f"{COMPETITION}.zip"  # all of the competition's files
PAGE_SIZE = 200  # the most that Kaggle returns
NAME = re.compile(r"\w[\w.-]{0,49}")  # of users, kernels and datasets
FILE = re.compile(r"\w[\w .()+,=@-]{0,199}", re.ASCII)


class Refusal(Exception):
    """An error that the service answers with; `status` is its HTTP status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Service:
    """The sandbox's kernels, datasets and submissions.

    The methods of the protocol, named as there (`METHODS`), are functions of this state, the
    user's name and the request as a dict. They return the answer (a dict, a URL to go to as
    str, or bytes) or raise a Refusal.

    Args:
        data, folder, username, python: as `Sandbox` takes them.
        judge: the Judge of submissions.

    Attributes:
        state: dict with "kernels", "datasets" and "submissions", as kept in state.json.
        sessions: dict of (kernel, version) to Session, of this sandbox.
        uploads: dict of token to the Path where the uploaded file is put.
        outputs: dict of (kernel, version) to the paths of its files, once it has ended.
        key: str, what opens this sandbox.

    Raises:
        ValueError: a state.json that is no JSON object.
    """

    def __init__(self, data: Path, judge: Judge, folder: Path, username: str, python: tuple):
        self.data, self.folder = data.absolute(), folder.absolute()
        self.judge, self.username, self.python, self.url = judge, username, python, ""
        self.key = secrets.token_hex(16)
        self.sessions: dict[tuple, Session] = {}
        self.uploads: dict[str, Path] = {}
        self.outputs: dict[tuple, list[Path]] = {}
        self.lock, self.zipping = threading.RLock(), threading.Lock()
        self.archive: Path | None = None
        (self.folder / "submissions").mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "uploads", ignore_errors=True)
        path = self.folder / "state.json"  # what an earlier sandbox has left
        self.state = {"kernels": {}, "datasets": {}, "submissions": []}
        if path.exists():
            self.state = read_json(path)
        for kernel in self.state["kernels"].values():
            for version in kernel["versions"]:
                if version["status"] in ALIVE:
                    version["status"] = "CANCEL_ACKNOWLEDGED"

    def sign(self, kind: str, path: str) -> str:
        """The URL of a file, which opens this file only."""
        return f"{self.url}/{kind}/{self.make_signature(kind, path)}/{urllib.parse.quote(path)}"

    def make_signature(self, kind: str, path: str) -> str:
        """What the URL of a file is signed with."""
        return hmac.new(self.key.encode(), f"{kind}/{path}".encode(), "sha256").hexdigest()

    def make_archive(self) -> Path:
        """All of the competition's files as a zip, which is made once."""
        with self.zipping:
            if self.archive is None:
                with (
                    write_beside(self.folder / ARCHIVE) as partial,
                    zipfile.ZipFile(partial, "w", strict_timestamps=False) as archive,
                ):
                    for path in sorted(list_files(self.data)):
                        archive.write(path, path.relative_to(self.data))
                self.archive = self.folder / ARCHIVE
        return self.archive

    def save(self) -> None:
        """Keep the state on disk."""
        with self.lock:
            write_json(self.folder / "state.json", self.state)

    def owns(self, user: str, kind: str, ref: str) -> bool:
        """Whether a kernel or a dataset (`kind` as in `state`) is there and the user's."""
        return ref in self.state[kind] and ref.startswith(f"{user}/")

    def refresh(self, ref: str, number: int) -> dict:
        """A version's state, brought up to date with its session, and kept once that has ended."""
        with self.lock:
            version = self.state["kernels"][ref]["versions"][number - 1]
            before = version["status"]
            if session := self.sessions.get((ref, number)):
                log = list(session.log)
                version.update(status=session.status, failure=session.failure, log=log)
            if before in ALIVE and version["status"] not in ALIVE:
                self.save()
        return version


def introspect_token(service: Service, user: str | None, request: dict) -> dict:
    token = request.get("token", "")
    active = secrets.compare_digest(token.encode(), service.key.encode())
    return {"active": active, "username": service.username if active else ""}


def get_accelerator_quota_statistics(service: Service, user: str, request: dict) -> dict:
    """The week's GPU hours, less those that the user's sessions have run here or reserved."""
    seconds = {"timeUsed": 0, "timeReserved": 0, "totalTimeAllowed": GPU_HOURS * 3600}
    for (ref, number), session in service.sessions.items():
        request = service.state["kernels"][ref]["versions"][number - 1]["request"]
        if ref.startswith(f"{user}/") and request.get("enableGpu"):
            is_alive = session.status in ALIVE
            name = "timeReserved" if is_alive else "timeUsed"
            seconds[name] += session.timeout if is_alive else session.seconds
    today = datetime.datetime.now(datetime.UTC).date()
    saturday = today + datetime.timedelta(days=(4 - today.weekday()) % 7 + 1)
    quota = {name: f"{int(value)}s" for name, value in seconds.items()}
    quota["hasEverRun"] = bool(service.sessions)
    return {"quotaRefreshTime": f"{saturday}T00:00:00Z", "gpuQuota": quota}


def check_name(name: str, pattern: re.Pattern = NAME) -> str:
    """The name itself, if it may become a part of a path, or a Refusal."""
    if not pattern.fullmatch(name):
        raise Refusal(400, f"{name!r} is not a valid name")
    return name


def turn_page(items: list, request: dict) -> tuple[list, dict]:
    """The items of the requested page, and the token of the next one as a dict, or a Refusal."""
    size, token = min(request.get("pageSize") or 20, PAGE_SIZE), request.get("pageToken") or "0"
    if size < 0 or not re.fullmatch("[0-9]{1,9}", token):
        raise Refusal(400, "Expected: a page's size and token")
    start = int(token)
    token = {"nextPageToken": str(start + size)} if items[start + size :] else {}
    return items[start : start + size], token


def describe_files(paths: list[Path], folder: Path, size: str) -> list[dict]:
    """The names in a folder and the sizes of files; `size` is the field of the size."""
    return [{"name": p.relative_to(folder).as_posix(), size: p.stat().st_size} for p in paths]
