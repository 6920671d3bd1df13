"""Requests that no client sends: each is answered, and none leaves a trace."""

import base64
import csv
import http.client
import json
import shutil
import socket
import struct
import sys
import tempfile
import threading
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from conftest import SLUG
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kernel.sandbox import handler
from kernel.sandbox.handler import METHODS, TYPES, Handler
from kernel.sandbox.server import Sandbox
from kernel.sandbox.submissions import DAILY_SUBMISSIONS
from pcam_kaggle.system.files import PARTIAL

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="resets by SO_LINGER")
ANSWERS = {200, 206, 302, 308, 400, 401, 403, 404, 405, 411, 413, 414, 416, 431, 505}
LOGS = "/api/v1/kernels/logs/stream/sandbox/one-kernel"
USERS = ("sandbox", "me", "学生")
WRONG_USERS = ("", ".", "..", "../x", "a/b", "a\\b", "a,b", "a\n1,2,A,now,1.0", '"a"', "x" * 99)


def ask(sandbox, command, path, body=None, user="sandbox", key=None, headers=()):
    """The status, the headers and the body of an answer, which is checked to be one."""
    port = sandbox.server.server_port
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = dict(headers)
    if user is not None:
        credential = f"{user}:{sandbox.service.key if key is None else key}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(credential).decode()}"
    try:
        line.putrequest(command, path, skip_accept_encoding=True)
        if body is not None and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            line.putheader(name, value)
        line.endheaders(body)
        answer = line.getresponse()
        content = answer.read()
    finally:
        line.close()
    assert answer.status in ANSWERS, (command, path, body, answer.status, content)
    if answer.headers["Content-Type"] == "application/json":
        content = json.loads(content) if command != "HEAD" else {}
        assert isinstance(content, dict)
    if answer.status >= 400 and command != "HEAD":
        assert content["code"] == answer.status and isinstance(content["message"], str)
    return answer.status, answer.headers, content


def call(sandbox, method, request, **options):
    """The status and the answer to a call of the protocol; a dict is sent as JSON."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    status, _, answer = ask(sandbox, "POST", f"/api/v1/some.Service/{method}", body, **options)
    return status, answer


@pytest.mark.parametrize(
    "command, path, headers, status",
    [
        ("POST", "/api/v1/a.B/GetCompetition", {}, 400),  # no length
        ("POST", "/api/v1/a.B/GetCompetition", {"Content-Length": "-1"}, 400),
        ("POST", "/api/v1/a.B/GetCompetition", {"Content-Length": "x"}, 400),
        ("POST", "/api/v1/a.B/GetCompetition", {"Content-Length": "9" * 30}, 400),
        ("POST", "/api/v1/a.B/GetCompetition", {"Transfer-Encoding": "chunked"}, 400),
        ("POST", "/api/v1/a.B/GetCompetition", {"Content-Length": "99999999999"}, 413),
        ("GET", LOGS, {"Content-Length": "1"}, 413),
        ("POST", "/api/v1/a.B/NoSuchMethod", {"Content-Length": "99"}, 404),
        ("GET", "/api/v1/a.B/GetCompetition", {}, 405),
        ("DELETE", LOGS, {}, 405),
        ("BREW", LOGS, {}, 405),
        ("PUT", "/upload/0123456789abcdef", {"Content-Length": "99999"}, 404),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", f"/data/{'0' * 64}/..%2f..%2fsolution.csv", {}, 403),
        ("GET", "/file/%C3%A9/a", {}, 403),
    ],
)
def test_a_wrong_request_is_refused_without_its_body(sandbox, command, path, headers, status):
    assert ask(sandbox, command, path, headers=headers)[0] == status
    assert sandbox.calls == []


def test_no_body_is_read_without_credentials(sandbox):
    for user, key in ((None, None), ("sandbox", "wrong"), ("sandbox", "é")):
        headers = {"Content-Length": "5000000"}  # of which nothing comes
        path = "/api/v1/a.B/SaveKernel"
        assert ask(sandbox, "POST", path, user=user, key=key, headers=headers)[0] == 401
    for credential in ("Basic", "Basic !", "Basic /w==", "Bearer", "Bearer x", ""):
        headers = {"Content-Length": "5000000", "Authorization": credential}
        assert ask(sandbox, "POST", path, user=None, headers=headers)[0] == 401


@pytest.mark.parametrize("user", WRONG_USERS)
def test_a_name_that_is_none_is_nobody_s(sandbox, user):
    assert call(sandbox, "GetCompetition", {"competitionName": SLUG}, user=user)[0] == 401


def test_a_body_that_the_client_refused_to_end_is_not_acted_on(sandbox, capfd):
    for part in (b"", b'{"ownerSlug":'):
        credential = base64.b64encode(f"me:{sandbox.service.key}".encode()).decode()
        head = (
            f"POST /api/v1/a.B/CreateDataset HTTP/1.1\r\nAuthorization: Basic {credential}\r\n"
            "Content-Length: 99\r\n\r\n"
        )
        assert send_bytes(sandbox, head.encode() + part) == b""
    assert sandbox.service.state["datasets"] == {} and capfd.readouterr().err == ""


def test_an_upload_lies_in_the_state_folder_once_it_is_whole(sandbox, monkeypatch):
    monkeypatch.setattr(handler, "IN_MEMORY", 10)  # bytes; more pass through a temporary file
    token = call(sandbox, "StartBlobUpload", {"name": "a.npz"})[1]["token"]
    address, asked = f"/upload/{token}", {"Content-Range": "bytes */5000"}
    assert ask(sandbox, "PUT", address, b"", user=None, headers=asked)[0] == 308
    half = f"PUT {address} HTTP/1.1\r\nContent-Length: 5000\r\n\r\nhalf"
    assert send_bytes(sandbox, half.encode()) == b""
    folder = sandbox.service.folder / "uploads"
    assert not any(path.is_file() for path in folder.rglob("*"))
    assert ask(sandbox, "PUT", address, b"whole" * 1000, user=None)[0] == 200
    assert ask(sandbox, "PUT", address, b"", user=None, headers=asked)[0] == 200
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    assert path.name == "a.npz" and path.read_bytes() == b"whole" * 1000


@LINUX
def test_clients_that_reset_their_connection_are_no_error(sandbox, competition, capfd):
    (competition / "large.bin").write_bytes(bytes(20 << 20))
    url = sandbox.service.sign("data", "large.bin").removeprefix(sandbox.url)
    token = call(sandbox, "StartBlobUpload", {"name": "a.npz"})[1]["token"]
    upload = f"PUT /upload/{token} HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nhalf"
    for request in (f"GET {url} HTTP/1.1\r\n\r\n", upload, "GET /no HTTP/1.1\r\n\r\n", "GET"):
        with socket.create_connection(("127.0.0.1", sandbox.server.server_port)) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.sendall(request.encode())
            if "large" in request:
                assert line.recv(1000).startswith(b"HTTP/1.1 200")
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join()
    assert capfd.readouterr().err == "" and not sandbox.service.uploads[token].exists()


@pytest.mark.parametrize("part", [b"", b"POST /api/v1/a.B/Save", b"GET /x HTTP/1.1\r\nA: b\r\n"])
def test_a_client_that_says_nothing_more_is_left(sandbox, monkeypatch, part):
    monkeypatch.setattr(Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", sandbox.server.server_port)) as line:
        line.sendall(part)
        assert line.recv(100) == b""


def send_bytes(sandbox, content):
    """All that the sandbox answers to bytes, after which nothing comes."""
    with socket.create_connection(("127.0.0.1", sandbox.server.server_port)) as line:
        line.sendall(content)
        line.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: line.recv(1 << 16), b""))


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"5",
        b"{",
        b"\xff",
        b'{"competitionName": NaN}',
        b'{"competitionName": "\\ud800"}',
        b"[" * 100_000,
        b'{"pageSize": 1' + b"0" * 5000 + b"}",
        b'{"pageSize": 99999999999999999999}',
        b'{"pageSize": true}',
        b'{"pageSize": -1}',
        b'{"pageSize": "5"}',
        b'{"pageToken": "x"}',
        b'{"pageToken": "-5"}',
        b'{"pageToken": 5}',
        b'{"files": ["x"]}',
        b'{"datasetDataSources": [5]}',
        b'{"competitionName": {"a": "b"}}',
    ],
)
def test_a_request_of_other_types_is_refused(sandbox, body):
    if body.startswith(b'{"p'):
        body = f'{{"competitionName": "{SLUG}", {body[1:].decode()}'.encode()
    status, answer = call(sandbox, "ListSubmissions", body)
    assert status == 400, answer


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/etc", "a\0", "a\n", "x" * 99])
def test_names_that_could_be_paths_are_refused(sandbox, name):
    request = {"ownerSlug": "sandbox", "slug": name, "title": "t", "files": []}
    assert call(sandbox, "CreateDataset", request)[0] == 400
    assert sandbox.service.state["datasets"] == {}


@pytest.mark.parametrize("name", ["..", "a\\..\\b", "C:x", "a\0", "a\n"])
def test_file_names_that_could_be_paths_are_refused(sandbox, name):
    for method, field in (("StartBlobUpload", "name"), ("StartSubmissionUpload", "fileName")):
        assert call(sandbox, method, {field: name})[0] == 400
    assert sandbox.service.uploads == {}


@pytest.mark.parametrize("seconds", [0, -1, 10**15])
def test_a_time_out_that_no_session_can_have_is_refused(sandbox, seconds):
    request = {"slug": "sandbox/one-kernel", "newTitle": "one kernel", "text": "print()"}
    assert call(sandbox, "SaveKernel", {**request, "sessionTimeoutSeconds": seconds})[0] == 400
    assert call(sandbox, "SaveKernel", {**request, "newTitle": "!?"})[0] == 400
    assert sandbox.service.state["kernels"] == {}


@pytest.mark.parametrize(
    "label", ["", "1", "v0", "v2", "v-1", "v²", "v٣", "v" + "9" * 5000, "../v1"]
)
def test_a_version_that_is_none_is_not_found(sandbox, label):
    request = {"slug": "sandbox/one-kernel", "newTitle": "one kernel", "text": "print()"}
    assert call(sandbox, "SaveKernel", request)[1]["versionNumber"] == 1
    named = {"userName": "sandbox", "kernelSlug": "one-kernel"}
    for method in ("GetKernel", "GetKernelSessionStatus", "ListKernelSessionOutput"):
        assert call(sandbox, method, {**named, "versionLabel": "v1"})[0] == 200
        assert call(sandbox, method, {**named, "versionLabel": label})[0] == 404


def test_a_signed_address_opens_its_own_file_only(sandbox):
    own, path = "train_labels.csv", "/api/v1/a.B/DownloadDataFile"
    for name in ("../solution.csv", "/etc/passwd", "", ".", "train", f"train/../{own}"):
        request = {"competitionName": SLUG, "fileName": name}
        assert call(sandbox, "DownloadDataFile", request)[0] == 404
    body = json.dumps({"competitionName": SLUG, "fileName": own}).encode()
    status, headers, _ = ask(sandbox, "POST", path, body)
    signed = headers["Location"].removeprefix(sandbox.url)
    assert status == 302 and ask(sandbox, "GET", signed, user=None)[0] == 200
    assert ask(sandbox, "HEAD", signed, user=None)[2] == b""
    for other in ("sample_submission.csv", f"{own}/", f"./{own}", f"train/../{own}", f"{SLUG}.zip"):
        assert ask(sandbox, "GET", signed.replace(own, other), user=None)[0] == 403
    assert ask(sandbox, "GET", signed.replace("/data/", "/file/"), user=None)[0] == 403


def test_a_team_s_name_stays_in_its_row(open_sandbox):
    names = ['A, "B"', "two\nlines", "1,2,C,now,1.0,1,C", "団体"]
    sandbox = open_sandbox(teams=[(name, 0.5, 0.5) for name in names])
    _, content = call(sandbox, "DownloadLeaderboard", {"competitionName": SLUG})
    with zipfile.ZipFile(BytesIO(content)) as archive:
        (member,) = archive.namelist()
        text = archive.read(member).decode()
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert sorted(row["TeamName"] for row in rows) == sorted(names)
    assert {row["Score"] for row in rows} == {"0.5000"}


ODD_TEXTS = ("../x", "sandbox/../x", "me/one-kernel", "sandbox/one-kernel", "one-kernel", "a/b/c/d")
ODD_TEXTS += (
    "\0",
    "v1",
    "v²",
    "v" + "9" * 5000,
    "-1",
    "٣",
    SLUG,
    "sandbox",
    "me",
    "🙂",
    " ",
    "one",
)
texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(
    [*TYPES, "slug", "newTitle", "text", "userName", "kernelSlug", "versionLabel", "pageToken"]
    + ["competitionName", "fileName", "blobFileTokens", "ownerSlug", "datasetSlug", "token"]
)
methods = st.sampled_from([*METHODS, "NoSuchMethod", "close", "__init__"])
paths = st.sampled_from(
    [
        "/",
        "/upload/x",
        "/file/x/y",
        "/data/x/../../y",
        "/code/sandbox/one-kernel",
        "*",
        "//",
        "/%00",
    ]
    + [
        f"{LOGS}/..",
        f"{LOGS}?versionLabel=v1&pageSize=x",
        "/api/v1/kernels/logs/stream/me/one-kernel?versionLabel=v%00",
        "/api/v1/x/",
    ]
)
commands = st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE"])
lines = st.sampled_from(
    [
        b"",
        b"\r\n",
        b"GET",
        b"GET /",
        b"GET / HTTP/9.9",
        b"GET / HTTP/x",
        b"GET http://[ HTTP/1.1",
        b"\x16\x03\x01\x02",
    ]
    + [b"GET /" + b"x" * 70_000 + b" HTTP/1.1", b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 200]
    + [b"GET / HTTP/1.1\r\nContent-Length: -5", b"GET / HTTP/1.1\r\nbroken header"]
)


class Clients(RuleBasedStateMachine):
    """Clients that push, submit and upload, among others that send what is wrong.

    It knows of every success what must be kept, and that nothing else may be.
    """

    competition = solution = None  # paths, given by the test

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "state"
        python = (sys.executable, "-I", "-S", "-c", "print('ran')")
        self.sandbox = Sandbox(self.competition, self.solution, self.folder, python=python)
        self.versions, self.submitters, self.datasets = {}, [], set()

    def teardown(self):
        self.sandbox.close()
        shutil.rmtree(self.root)

    def observe(self, method, user, status, answer):
        """Check what a call has done, and remember it."""
        if status != 200 or not isinstance(answer, dict) or "error" in answer:
            return
        if method == "SaveKernel":
            ref = answer["ref"].removeprefix("/code/")
            assert ref.startswith(f"{user}/") and len(ref.split("/")) == 2
            self.versions[ref] = self.versions.get(ref, 0) + 1
            assert answer["versionNumber"] == self.versions[ref]
        elif method == "CreateSubmission":
            self.submitters.append(user)
            assert answer["ref"] == len(self.submitters)
        elif method == "CreateDataset":
            self.datasets.add(answer["ref"].removeprefix("/datasets/"))

    def call(self, method, request, user):
        status, answer = call(self.sandbox, method, request, user=user)
        self.observe(method, user, status, answer)
        return status, answer

    @rule(user=st.sampled_from(USERS), title=st.sampled_from(["one kernel", "a second"]))
    def push(self, user, title):
        slug = f"{user}/{title.replace(' ', '-')}"
        before = self.versions.get(slug, 0)
        sources = {"competitionDataSources": [SLUG], "datasetDataSources": [f"{user}/one"]}
        request = {"slug": slug, "newTitle": title, "text": "print()", **sources}
        status, answer = self.call("SaveKernel", request, user)
        assert status == 200 and answer["versionNumber"] == before + 1

    @rule(
        user=st.sampled_from(USERS), content=st.sampled_from(["whole", "", "id,label\na,b", "\0"])
    )
    def submit(self, user, content):
        if content == "whole":
            content = (self.competition / "sample_submission.csv").read_text()
        request = {"competitionName": SLUG, "fileName": "s.csv"}
        _, upload = self.call("StartSubmissionUpload", request, user)
        request = {"competitionName": SLUG, "blobFileTokens": upload["token"]}
        assert self.call("CreateSubmission", request, user)[0] == 400  # not uploaded
        path = upload["createUrl"].removeprefix(self.sandbox.url)
        assert ask(self.sandbox, "PUT", path, content.encode(), user=None)[0] == 200
        is_allowed = self.submitters.count(user) < DAILY_SUBMISSIONS
        assert self.call("CreateSubmission", request, user)[0] == (200 if is_allowed else 400)

    @rule(user=st.sampled_from(USERS), slug=texts | st.just("one"))
    def upload(self, user, slug):
        token = self.call("StartBlobUpload", {"name": "a.npz"}, user)[1]["token"]
        assert ask(self.sandbox, "PUT", f"/upload/{token}", b"x", user=None)[0] == 200
        request = {"ownerSlug": user, "slug": slug, "files": [{"token": token}]}
        self.call("CreateDataset", request, user)

    @rule(user=st.sampled_from(USERS), method=methods, request=st.dictionaries(fields, values))
    def call_with_anything(self, user, method, request):
        self.call(method, request, user)

    @rule(method=methods, body=st.binary() | st.sampled_from([b"[" * 9999, b'{"a":' * 999]))
    def call_with_bytes(self, method, body):
        self.call(method, body, "me")

    @rule(user=st.sampled_from((*WRONG_USERS, None)), method=methods)
    def call_as_nobody(self, user, method):
        status, _ = call(self.sandbox, method, {}, user=user)
        assert status == (200 if method == "IntrospectToken" else 401)

    @rule(command=commands, path=paths, body=st.none() | st.binary(max_size=9))
    def ask_for_anything(self, command, path, body):
        ask(self.sandbox, command, path, body)

    @rule(line=lines)
    def send_anything(self, line):
        answer = send_bytes(self.sandbox, line + b"\r\n\r\n")
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or b" 505 " in answer[:13]

    @invariant()
    def what_succeeded_is_kept_and_nothing_else(self):
        state = self.sandbox.service.state
        kept = {ref: len(kernel["versions"]) for ref, kernel in state["kernels"].items()}
        assert kept == self.versions
        assert [s["submittedBy"] for s in state["submissions"]] == self.submitters
        assert set(state["datasets"]) == self.datasets
        path = self.folder / "state.json"
        if path.exists():
            stored = json.loads(path.read_text("utf-8"))
            assert len(stored["submissions"]) == len(self.submitters)
            assert set(stored["kernels"]) == set(self.versions)

    @invariant()
    def nothing_is_written_elsewhere(self):
        assert list(self.root.iterdir()) == [self.folder]
        known = {"kernels", "datasets", "submissions", "uploads", "state.json"}
        found = {path.name for path in self.folder.iterdir()}
        # A kernel that ends meanwhile has its state written beside, then renamed.
        assert {name for name in found if not name.startswith(PARTIAL)} <= known
        submitted = self.folder / "submissions"
        names = {path.name for path in submitted.iterdir()} if submitted.exists() else set()
        assert names == {f"{ref + 1}.csv" for ref in range(len(self.submitters))}
        for kind, names in (("kernels", self.versions), ("datasets", self.datasets)):
            found = {p.relative_to(self.folder / kind) for p in (self.folder / kind).glob("*/*")}
            assert found == {Path(name) for name in names}


def test_whatever_is_asked_is_answered_and_only_what_succeeds_is_kept(
    shared_competition, tmp_path, solution, capfd
):
    Clients.competition, Clients.solution = shared_competition, solution
    run_state_machine_as_test(
        Clients,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert "Traceback" not in capfd.readouterr().err
