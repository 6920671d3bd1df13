"""The client against the sandbox: credentials, retries, time-outs, clear errors."""

import contextlib
import dataclasses
import json
import random
import socket
import ssl
import zipfile

import pytest
import requests
import tenacity
import urllib3
from conftest import SLUG, run_python

from kernel.folders import ROOT
from kernel.remote import transport
from kernel.remote.client import Client
from kernel.remote.errors import KaggleError, LostAnswer
from kernel.remote.transport import choose_pause, is_unsent
from kernel.sandbox.faults import Fault

SECRET = "0123456789abcdef0123456789abcdef"
EMPTY_ZIP = b"PK\5\6" + bytes(18)
FINE = Fault(wait=0.001)  # none: a call that is answered as usual
HTML = {"status": 200, "headers": {"Content-Type": "text/html"}}


def get_competition(client):
    return client.call("competitions", "get_competition", competition_name=SLUG)


def use_key(monkeypatch, user, key):
    """The two variables, in the place of the token."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", user)
    monkeypatch.setenv("KAGGLE_KEY", key)


def test_the_tests_cannot_reach_another_machine():
    with pytest.raises(PermissionError, match=r"may not connect to '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    assert "PermissionError: a test may not connect" in run_python(["-c", code]).stderr


def test_a_token_names_its_owner(sandbox, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    client = Client()
    assert (client.username, client.service) == ("sandbox", "sandbox")
    assert get_competition(client).title == "Histopathologic Cancer Detection"


def test_user_name_and_key_from_variables_and_from_the_file(sandbox, home, monkeypatch):
    use_key(monkeypatch, "student", sandbox.service.key)
    assert get_competition(Client()).evaluation_metric == "AUC - ROC"
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    (home / ".kaggle").mkdir()
    credential = {"username": "teacher", "key": sandbox.service.key}
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps(credential))
    client = Client()
    assert client.username == "teacher" and get_competition(client)


def test_a_stale_access_token_does_not_spoil_a_good_key(sandbox, home, monkeypatch):
    use_key(monkeypatch, "student", sandbox.service.key)
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text("stale")
    assert get_competition(Client())
    sandbox.script("IntrospectToken", Fault(401, {"code": 401, "message": "expired"}))
    client = Client()
    assert client.username == "student" and get_competition(client)


def test_no_credentials_is_one_message_with_three_ways(sandbox, home, monkeypatch):
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.setenv(name, "")  # a secret that a workflow's repository lacks
    result = run_python([ROOT / "build.py", "push", "demo"])
    assert result.returncode == 1 and result.stdout == ""
    for way in ("kaggle auth login", "kaggle.json", "KAGGLE_USERNAME and KAGGLE_KEY"):
        assert way in result.stderr
    assert str(home) in result.stderr
    assert "SaveKernel" not in sandbox.calls


def test_a_token_that_is_refused_and_nothing_else(sandbox, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    with pytest.raises(KaggleError, match="an access token that was refused") as error:
        Client()
    assert SECRET not in str(error.value)


def test_refused_credentials_say_so_and_are_not_shown(sandbox, monkeypatch):
    use_key(monkeypatch, "student", SECRET)
    with pytest.raises(KaggleError, match="the credentials were refused") as error:
        get_competition(Client())
    assert error.value.status == 401 and SECRET not in str(error.value)


def test_a_home_that_cannot_be_written_is_named(sandbox, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "file" / "folder"))
    result = run_python([ROOT / "build.py", "push", "demo"])
    assert result.returncode == 1
    assert "settings folder" in result.stderr and "Traceback" not in result.stderr
    monkeypatch.delenv("KAGGLE_CONFIG_DIR")
    for name in ("HOME", "USERPROFILE"):  # without a folder for settings, which none needs
        monkeypatch.setenv(name, str(tmp_path / "file" / "folder"))
    result = run_python([ROOT / "build.py", "doctor", "demo"])
    assert result.returncode == 0 and "sandbox, by the access token" in result.stdout


def test_no_secret_is_printed_even_under_verbose(sandbox, monkeypatch, tmp_path):
    use_key(monkeypatch, "student", sandbox.service.key)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pathlib, build; "
        f"build.RUNS = pathlib.Path({str(tmp_path / 'runs')!r}); "
        "sys.exit(build.main(['run', 'demo']))"
    )
    result = run_python(["-c", code], VERBOSE="1", KAGGLE_LOG_LEVEL="DEBUG")
    assert result.returncode == 0, result.stderr
    basic = requests.auth._basic_auth_str("student", sandbox.service.key)
    for secret in (sandbox.service.key, basic):
        assert secret not in result.stdout + result.stderr
        for path in (tmp_path / "runs").rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes()


@pytest.mark.parametrize("name", ["LOCAL", "TEST", "localhost"])
def test_a_misspelt_environment_never_reaches_kaggle(sandbox, monkeypatch, name):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", name)
    with pytest.raises(KaggleError, match=f"expected LOCALHOST.*Received: {name!r}"):
        Client()


def test_the_sandbox_is_never_sought_on_another_machine(sandbox, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:80")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:80")
    with pytest.raises(KaggleError, match=r"expected a server on this machine"):
        Client()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(502),
        Fault(503, {"code": 503, "message": "busy"}),
        Fault(429, {"code": 429, "message": "slow"}, {"Retry-After": "0"}),
        Fault(**HTML),
        Fault(drop=True),
        Fault(cut=20),
        Fault(hang=3),
    ],
    ids=["500", "502", "503", "429", "html", "drop", "cut", "hang"],
)
def test_a_read_is_repeated_until_it_is_answered(sandbox, fault):
    client = Client()
    times = 1 if fault.hang else 2
    sandbox.script("GetCompetition", dataclasses.replace(fault, times=times))
    assert get_competition(client).max_daily_submissions == 5
    assert sandbox.calls.count("GetCompetition") > 1


@pytest.mark.parametrize(
    "fault, words",
    [
        (Fault(503, times=-1), "HTTP 503: try later"),
        (Fault(**HTML, times=-1), "received a web page instead of an answer"),
        (Fault(drop=True, times=-1), "the connection failed"),
        (Fault(404, {"code": 404, "message": "Not found"}), "404, Not found"),
        (Fault(403, {"code": 403, "message": "denied"}), "accept its rules"),
        (Fault(200, {"code": 400, "message": "bad"}), "bad"),
        (Fault(patch={"tags": 5}), "install --upgrade kaggle"),
    ],
    ids=["503", "html", "drop", "404", "403", "error in 200", "unknown answer"],
)
def test_an_error_that_stays_is_said_in_plain_words(sandbox, fault, words, monkeypatch):
    monkeypatch.setattr(transport, "PATIENCE", 0.2)
    client = Client()
    sandbox.script("GetCompetition", fault)
    with pytest.raises(KaggleError, match=words) as error:
        get_competition(client)
    assert "://" not in str(error.value)


@pytest.mark.parametrize(
    "fault",
    [Fault(500), Fault(503), Fault(**HTML), Fault(drop=True), Fault(hang=3)],
    ids=["500", "503", "html", "drop", "hang"],
)
def test_a_write_is_never_repeated(sandbox, fault):
    client = Client()
    sandbox.script("CreateSubmission", fault)
    with pytest.raises(LostAnswer):
        client.call("competitions", "create_submission", competition_name=SLUG)
    assert sandbox.calls.count("CreateSubmission") == 1


def refuse_connections(stack):
    """The address of a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def ignore_connections(stack):
    """The address of a port where a full queue lets no connection be made."""
    server = stack.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    stack.enter_context(socket.create_connection(server.getsockname()))
    return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "open_proxy",
    [refuse_connections, ignore_connections, lambda stack: "http://nowhere.invalid:80"],
    ids=["refused", "silent", "no such name"],
)
def test_a_write_is_not_lost_where_no_connection_was_made(sandbox, open_proxy, monkeypatch):
    use_key(monkeypatch, "student", sandbox.service.key)  # no request yet
    monkeypatch.setattr(transport, "FIRST_PATIENCE", 0.2)
    client = Client((0.1, 1), patience=10_000)
    with contextlib.ExitStack() as stack:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, open_proxy(stack))
        with pytest.raises(KaggleError, match="the connection failed") as error:
            client.call("competitions", "create_submission", competition_name=SLUG)
    assert not isinstance(error.value, LostAnswer)
    assert "CreateSubmission" not in sandbox.calls


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "by proxy"])
def test_an_error_tells_whether_anything_was_sent(sandbox, direct, monkeypatch):
    sandbox.script("GetCompetition", Fault(drop=True, times=-1))
    monkeypatch.setattr(transport, "PATIENCE", 0.1)
    session = transport.mount(requests.Session(), transport.Transport())
    session.trust_env = not direct
    session.auth = ("me", sandbox.service.key)
    server = sandbox.url if direct else "http://localhost"
    path = "/api/v1/competitions.CompetitionApiService/GetCompetition"
    with pytest.raises(requests.ConnectionError) as error:
        session.post(server + path, json={"competitionName": SLUG})
    assert not is_unsent(error.value)
    session.proxies = {"https": sandbox.url}  # where CONNECT is not known
    session.trust_env = False
    with pytest.raises(requests.exceptions.ProxyError, match="Tunnel") as error:
        session.get("https://localhost/data/x")
    assert is_unsent(error.value)


def test_nothing_was_sent_where_the_certificate_is_wrong():
    wrong = ssl.SSLCertVerificationError("certificate verify failed")
    for cause, unsent in ((wrong, True), (ssl.SSLEOFError("in the middle"), False)):
        cause = urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.SSLError(cause))
        assert is_unsent(requests.exceptions.SSLError(cause)) == unsent


def test_a_write_is_sent_once_a_connection_is_made(sandbox, monkeypatch):
    client = Client()
    original, failures = urllib3.util.connection.create_connection, iter(range(2))

    def refuse_twice(*args, **options):
        if next(failures, None) is not None:
            raise ConnectionRefusedError
        return original(*args, **options)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", refuse_twice)
    with pytest.raises(KaggleError, match="The file was not uploaded"):
        client.call("competitions", "create_submission", competition_name=SLUG)
    assert sandbox.calls.count("CreateSubmission") == 1 and next(failures, None) is None


def test_an_answer_to_a_write_that_cannot_be_read_may_hide_one(sandbox):
    client = Client()
    sandbox.script("CreateSubmission", Fault(200, "5", {"Content-Type": "application/json"}))
    with pytest.raises(LostAnswer, match="does not know the answer"):
        client.call("competitions", "create_submission", competition_name=SLUG)


def test_a_write_that_was_turned_away_is_repeated(sandbox):
    client = Client()
    turned_away = Fault(429, {"code": 429, "message": "slow"}, {"Retry-After": "0"})
    sandbox.script("CreateSubmission", turned_away)
    with pytest.raises(KaggleError, match="The file was not uploaded"):
        client.call("competitions", "create_submission", competition_name=SLUG)
    assert sandbox.calls.count("CreateSubmission") == 2


@pytest.mark.parametrize(
    "header, seconds",
    [
        ("7", 7),
        ("0", 1),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("junk", 0.5 * 4),
        ("-5", 0.5 * 4),
        (None, 0.5 * 4),
    ],
)
def test_retry_after_is_honored(header, seconds):
    response = requests.Response()
    response.headers["Retry-After"] = header
    state = tenacity.RetryCallState(None, None, (), {})
    state.set_result(response)
    state.attempt_number = 3
    assert choose_pause(state) == seconds


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503, times=-1),
        Fault(hang=3, times=-1),
        Fault(
            200,
            'data: {half\n\ndata: 5\ndata: {"data": null}\n',
            {"Content-Type": "text/event-stream"},
        ),
    ],
    ids=["503", "silence", "no log"],
)
def test_a_log_is_asked_for_once_and_may_be_anything(sandbox, fault):
    client = Client()
    sandbox.script("logs", fault)
    assert client.read_live_log("sandbox/pcam-demo", 1) == []
    assert sandbox.calls.count("logs") == 1


def test_pages_are_followed_to_the_end(sandbox):
    client = Client()
    files = client.call_pages("competitions", "list_data_files", "files", competition_name=SLUG)
    names = [file.name for file in files]
    assert len(names) == len(set(names)) == 67 + 2
    sandbox.script("ListDataFiles", Fault(patch={"nextPageToken": "1"}, times=-1))
    files = client.call_pages("competitions", "list_data_files", "files", competition_name=SLUG)
    with pytest.raises(KaggleError, match="received the same page twice"):
        list(files)


def test_pages_that_take_turns_end(sandbox):
    client = Client()
    tokens = [Fault(patch={"nextPageToken": token}) for token in ("1", "2", "1", "2")]
    sandbox.script("ListDataFiles", *tokens)
    files = client.call_pages("competitions", "list_data_files", "files", competition_name=SLUG)
    with pytest.raises(KaggleError, match="received the same page twice"):
        list(files)
    assert sandbox.calls.count("ListDataFiles") == 3


def test_a_download_is_continued_as_long_as_it_grows(sandbox, competition, tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "PATIENCE", 0)
    content = random.Random(0).randbytes(300_000)
    (competition / "large.bin").write_bytes(content)
    client, path = Client(), tmp_path / "folder" / "large.bin"
    url = sandbox.service.sign("data", "large.bin")
    sandbox.script("data", Fault(cut=70_000), FINE, Fault(cut=70_000), FINE, Fault(cut=70_000))
    client.download(url, path)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]
    sandbox.script("data", Fault(cut=70_000), FINE, Fault(cut=1))
    with pytest.raises(KaggleError, match="the connection failed"):
        client.download(url, path)
    assert sandbox.calls.count("data") == 7 + 3
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def test_a_data_file_that_is_cut_is_continued(sandbox, competition, tmp_path, monkeypatch):
    parts, get = [], requests.Session.get

    def note(self, url, **options):
        parts.append(options["headers"].get("Range"))
        return get(self, url, **options)

    monkeypatch.setattr(requests.Session, "get", note)
    content = random.Random(0).randbytes(100_000)
    (competition / "large.bin").write_bytes(content)
    sandbox.script("data", Fault(cut=70_000))
    path = tmp_path / "other.bin"
    Client().download_data_file(SLUG, "large.bin", path)
    assert path.read_bytes() == content and parts == ["bytes=65536-"]


def test_a_file_that_changes_while_it_is_continued_is_not_put_together(
    sandbox, competition, tmp_path, monkeypatch
):
    large = competition / "large.bin"
    old, new = (random.Random(seed).randbytes(100_000) for seed in (0, 1))
    large.write_bytes(old)
    monkeypatch.setattr(transport, "pause", lambda num_failures: large.write_bytes(new))
    sandbox.script("data", Fault(cut=70_000), Fault(cut=1))
    Client().download_data_file(SLUG, "large.bin", tmp_path / "large.bin")
    assert (tmp_path / "large.bin").read_bytes() == new


@pytest.mark.parametrize("dataset", ["no-owner", "a/b/c/d/e"])
def test_a_push_that_the_client_refuses_is_not_lost(sandbox, tmp_path, dataset):
    (tmp_path / "code.py").touch()
    metadata = {"id": "sandbox/pcam-demo", "title": "pcam-demo", "code_file": "code.py"}
    metadata |= {"language": "python", "kernel_type": "script", "dataset_sources": [dataset]}
    (tmp_path / "kernel-metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(KaggleError, match="nothing was sent. Received: ") as error:
        Client().save_kernel(tmp_path, 60)
    assert not isinstance(error.value, LostAnswer) and "SaveKernel" not in sandbox.calls


PAGES = [
    Fault(200, "<html>Log in</html>"),
    Fault(200, "\ufeff\n <!DOCTYPE html><p>Log in", {"Content-Type": "text/csv"}),
    Fault(200, "<HTML>Log in</HTML>", {"Content-Type": "application/octet-stream"}),
]


@pytest.mark.parametrize("page", PAGES, ids=["as a page", "as a table", "as bytes"])
def test_a_web_page_is_never_saved_as_a_file(sandbox, competition, tmp_path, page, monkeypatch):
    client, path = Client(), tmp_path / "folder" / "sample.csv"
    sandbox.script("data", page)
    client.download_data_file(SLUG, "sample_submission.csv", path)
    content = (competition / "sample_submission.csv").read_bytes()
    assert path.read_bytes() == content
    monkeypatch.setattr(transport, "PATIENCE", 0.1)
    client = Client()
    sandbox.script("data", dataclasses.replace(page, times=-1))
    with pytest.raises(
        KaggleError, match=r"^the download of sample_submission.csv: received a web"
    ):
        client.download_data_file(SLUG, "sample_submission.csv", path)
    assert list(path.parent.iterdir()) == [path] and path.read_bytes() == content


def test_a_file_that_is_a_web_page_is_downloaded(sandbox, competition, tmp_path):
    page = competition / "__results__.html"
    page.write_text("<!doctype html><title>Results</title>", "utf-8")
    Client().download_data_file(SLUG, page.name, tmp_path / page.name)
    assert (tmp_path / page.name).read_bytes() == page.read_bytes()


def test_a_web_page_never_counts_as_an_upload(sandbox, competition, monkeypatch):
    monkeypatch.setattr(transport, "PATIENCE", 0.1)
    client = Client()
    path = competition / "sample_submission.csv"
    method = "start_submission_upload"
    fields = {"competition_name": SLUG, "file_name": path.name}
    sandbox.script("upload", Fault(200, "<html>Log in</html>"))
    assert client.upload(path, "competitions", method, **fields) in sandbox.service.uploads
    assert sandbox.calls.count("upload") == 2
    sandbox.script("upload", Fault(200, "<html>Log in</html>", times=-1))
    with pytest.raises(KaggleError, match="received a web page"):
        client.upload(path, "competitions", method, **fields)


def test_a_full_disk_is_named_at_once(sandbox, tmp_path):
    resource = pytest.importorskip("resource")  # which Windows does not have
    client = Client()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="Try: free up disk space"):
            client.download_data_file(SLUG, "sample_submission.csv", tmp_path / "sample.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sandbox.calls.count("data") == 1 and not list(tmp_path.glob("*sample*"))


@pytest.mark.parametrize("damage", ["cut", "changed", "no zip", "empty"])
def test_a_damaged_zip_is_an_error_in_plain_words(sandbox, competition, tmp_path, damage):
    sample = competition / "sample_submission.csv"
    content = sample.read_bytes()
    with zipfile.ZipFile(sample, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(sample.name, content)
    wrapped = bytearray(sample.read_bytes())
    wrapped[80] ^= 255
    damaged = {"cut": wrapped[:-30], "changed": wrapped, "no zip": b"PK\3\4", "empty": EMPTY_ZIP}
    sample.write_bytes(damaged[damage])
    path = tmp_path / "sample.csv"
    with pytest.raises(KaggleError, match="expected a zip that is whole"):
        Client().download_data_file(SLUG, sample.name, path)
    assert not list(tmp_path.glob("*sample*"))


def test_an_error_page_is_never_saved_as_the_file(sandbox, tmp_path):
    sandbox.script("data", Fault(403, "<html>expired</html>"))
    path = tmp_path / "sample.csv"
    with pytest.raises(KaggleError, match="403"):
        Client().download_data_file(SLUG, "sample_submission.csv", path)
    assert not path.exists()


def test_a_file_that_kaggle_zips_is_unwrapped(sandbox, competition, tmp_path):
    sample = competition / "sample_submission.csv"
    content = sample.read_bytes()
    sample.unlink()
    with zipfile.ZipFile(sample, "w") as archive:
        archive.writestr(sample.name, content)
    path = tmp_path / "sample.csv"
    Client().download_data_file(SLUG, "sample_submission.csv", path)
    assert path.read_bytes() == content


def test_importing_the_client_prints_and_asks_nothing(sandbox):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import kernel.remote.client"
    result = run_python(["-c", code, ROOT])
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert sandbox.calls == []


def test_only_one_module_imports_kaggle():
    found = [
        path.name
        for path in [*(ROOT / "kernel").rglob("*.py"), ROOT / "build.py"]
        if "dist" not in path.parts
        for line in path.read_text("utf-8").splitlines()
        if line.strip().startswith(("import kaggle", "from kaggle"))
    ]
    assert set(found) == {"api.py"}
