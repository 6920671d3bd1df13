"""Transcripts: what they hold, what they never hold, and our client against them."""

import dataclasses
import io
import json
import platform
import re
from pathlib import Path

import hypothesis
import pytest
import requests
from hypothesis import strategies
from replay import Replay, read_transcript

import build
from kernel.records import PushRecord, SubmissionRecord, read_record
from kernel.remote import transport
from kernel.remote.client import Client
from kernel.remote.submit import COMPETITION
from kernel.remote.transcript import Hider, Transcript, recording
from kernel.sandbox.faults import Fault

USER, TEAMS = "alice-doe", [("Team Rocket", 0.99, 0.9), ("\u56e2\u961f", 0.5, 0.6)]


@pytest.fixture
def record(open_sandbox, tmp_path, monkeypatch):
    """A function that records a command; the sandbox and the transcript."""
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")

    def record_command(*words, with_key=False):
        sandbox = open_sandbox(username=USER, teams=TEAMS)
        if with_key:
            monkeypatch.delenv("KAGGLE_API_TOKEN")
        path = tmp_path / "transcript.jsonl"
        assert build.main([*words, "--record", str(path)]) == 0
        return sandbox, path

    return record_command


def read_outcome(runs):
    """What the two records say, without times, addresses and names."""
    (run,) = runs.glob("pcam-demo-*")
    push, submission = read_record(run, PushRecord), read_record(run, SubmissionRecord)
    push = dataclasses.replace(push, pushed="", url="", kernel=push.kernel.split("/")[1])
    return push, dataclasses.replace(submission, submitted="", account="", team="")


@pytest.mark.parametrize("with_key", [False, True], ids=["token", "key"])
def test_a_run_is_recorded_without_secrets_and_names_and_can_be_replayed(
    record, tmp_path, monkeypatch, with_key
):
    sandbox, path = record("run", "demo", with_key=with_key)
    text = path.read_text("utf-8")
    signature = sandbox.service.sign("data", "sample_submission.csv").split("/")[4]
    names = [USER, "alice", "Rocket", "\u56e2", json.dumps("\u56e2\u961f")[1:-1]]
    secrets = [sandbox.service.key, requests.auth._basic_auth_str(USER, sandbox.service.key)]
    places = [signature, sandbox.url, sandbox.url.split("//")[1], str(tmp_path), "127.0.0.1"]
    for hidden in (*names, *secrets, *places, "Authorization", "Cookie"):
        assert hidden.lower() not in text.lower(), hidden
    assert "BUILD_ID = " not in text and len(text) < 100_000

    head, exchanges = read_transcript(path)
    assert head["python"] == platform.python_version() and {"date", "kaggle", "kagglesdk"} < {*head}
    methods = [exchange["path"].split("/")[-1] for exchange in exchanges]
    assert [name for name in methods if name in sandbox.calls] == [
        name for name in sandbox.calls if name not in ("file", "data", "upload", "logs")
    ]

    expected = read_outcome(tmp_path / "runs")
    monkeypatch.setattr(build, "RUNS", tmp_path / "again")
    with Replay(path) as replay:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, replay.url)
        monkeypatch.setenv("KAGGLE_USERNAME", "user-1")
        monkeypatch.setenv("KAGGLE_KEY", "another")
        sandbox.calls.clear()
        assert build.main(["run", "demo"]) == 0
    assert replay.unknown == [] and sandbox.calls == []
    assert read_outcome(tmp_path / "again") == expected
    for method in ("SaveKernel", "CreateSubmission"):
        assert sum(call.endswith(method) for call in replay.calls) == 1


def test_push_and_submit_are_recorded_too(record, tmp_path, capsys):
    _, path = record("push", "demo", "--wait")
    assert f"transcript {path}: read it before you attach it" in capsys.readouterr().out
    assert any(line["path"].endswith("SaveKernel") for line in read_transcript(path)[1])
    assert build.main(["output"]) == 0
    other = tmp_path / "other.jsonl"
    assert build.main(["submit", "--record", str(other)]) == 0
    assert any(line["path"].endswith("CreateSubmission") for line in read_transcript(other)[1])


def test_a_file_that_is_there_is_never_overwritten(sandbox, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    path = tmp_path / "transcript.jsonl"
    path.write_text("mine")
    assert build.main(["push", "demo", "--record", str(path)]) == 1
    assert "--record: expected a new file" in capsys.readouterr().err
    assert path.read_text() == "mine" and sandbox.calls == []


def test_a_repeated_command_continues_its_transcript(sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    path = tmp_path / "transcript.jsonl"
    words = ["push", "demo", "--record", str(path)]
    assert build.main(words) == 0
    before = path.read_bytes()
    path.write_bytes(before[:-20])  # as after a kill
    assert build.main(words) == 0
    assert path.read_bytes().startswith(before[:-20] + b'\n{"transcript": 1')
    assert len(read_transcript(path)[1]) > len(before.splitlines()) - 2


@pytest.mark.parametrize("user", ["a", "jo", "x1", "123"])
def test_a_short_user_name_is_replaced_where_names_stand(open_sandbox, tmp_path, monkeypatch, user):
    sandbox = open_sandbox(username=user)
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    path = tmp_path / "transcript.jsonl"
    assert build.main(["run", "demo", "--message", "by Team X", "--record", str(path)]) == 0
    text = path.read_text()
    assert f"{user}/pcam-demo" not in text and f'"{user}"' not in text and "Team X" not in text
    assert f"/{user}/" not in text and "user-1/pcam-demo" in text and sandbox.calls


@pytest.mark.parametrize(
    "url",
    [
        *("HTTPS://h.example/f?X-Goog-Signature=secret9", "//h.example/f?sig=secret9"),
        *("gs://bucket/secret9", "https%3A%2F%2Fh.example%2Fsecret9", "/f?X-Amz-Signature=secret9"),
        *("h.example/f?Expires=3&Signature=secret9", "https://h.example/datasets/secret9/q"),
    ],
)
def test_a_signed_address_of_any_form_is_replaced(url):
    hidden = Hider().hide({"headers": {"Location": url}, "answer": f"see {url} now"})
    assert "secret9" not in str(hidden) and hidden["answer"].endswith(" now")


def test_each_exchange_is_written_when_it_is_over_faults_included(sandbox, tmp_path):
    path = tmp_path / "transcript.jsonl"
    slow = Fault(429, {"code": 429, "message": "slow"}, {"Retry-After": "0"})
    with recording(path):
        client = Client()
        sandbox.script("GetCompetition", Fault(drop=True), slow)
        client.call("competitions", "get_competition", competition_name=COMPETITION)
        *_, dropped, slow, answered = read_transcript(path)[1]
    assert dropped["error"] == "ProxyError" and dropped["request"] == answered["request"]
    assert slow["status"] == 429 and slow["headers"]["Retry-After"] == "0"
    assert answered["answer"]["maxDailySubmissions"] == 5
    with open(path, "a") as file:
        file.write('{"cut')  # by a kill
    assert len(read_transcript(path)[1]) >= 3
    assert transport.observe is None


def test_the_first_lines_of_a_running_kernel_s_log_are_recorded(sandbox, home, tmp_path):
    path = tmp_path / "transcript.jsonl"
    events = f'data: {{"data": "epoch 1 in {home}"}}\n\n' + "data: more\n" * 999
    with recording(path):
        client = Client()
        sandbox.script("logs", Fault(200, events, {"Content-Type": "text/event-stream"}))
        (entry,) = client.read_live_log("sandbox/pcam-demo", 1)
        assert entry.text == f"epoch 1 in {home}"
    (line,) = [line for line in read_transcript(path)[1] if "/logs/" in line["path"]]
    start, *rest = line["answer"].splitlines()
    assert start == 'data: {"data": "epoch 1 in ~"}' and {*rest} == {"", "data: more"}
    assert len(line["answer"]) < 2_048
    assert line["path"] == "/v1/kernels/logs/stream/user-1/pcam-demo"


@pytest.mark.parametrize(
    "body, login",
    [('{"a": ' * 9_000 + "1" + "}" * 9_000, "Bearer key"), ("{}", "Basic x")],
    ids=["a deep answer", "a strange log-in"],
)
def test_an_exchange_that_cannot_be_written_ends_no_command(home, body, login):
    request = requests.Request("POST", "https://api.kaggle.com/v1/x").prepare()
    request.headers["Authorization"] = login
    response, file = requests.Response(), io.BytesIO()
    response.status_code, response._content = 200, body.encode()
    response.headers["Content-Type"] = "application/json"
    Transcript(file).record(request, response)
    assert list(json.loads(file.getvalue().splitlines()[-1])) == ["unwritten"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_ends_the_transcript_and_not_the_run(sandbox, capsys):
    with open("/dev/full", "wb", buffering=0) as file:
        transcript = Transcript(file)
        assert file.closed
        transcript.write({"more": 1})
    assert "the transcript ends here: No space left" in capsys.readouterr().err


def test_names_are_hidden_where_they_are_fields_and_in_all_texts(home):
    hider = Hider()
    answer = {
        "metadata": {"ref": "/code/jane/pcam-fast", "author": "Jane Q. Doe", "slug": "pcam-fast"},
        "url": "https://www.kaggle.com/code/jane/pcam-fast?scriptVersionId=5",
        "teamName": "J & Co",
        "teamId": 77,
        "status": "COMPLETE",
        "log": '[{"data": "Jane Q. Doe of J & Co, JANE@example.com, janet, /jane/"}]',
        "createUrl": "https://storage.googleapis.com/b/jane/sub.csv?X-Goog-Signature=ab",
        "nextPageToken": "CfDJ8",
    }
    hider.learn(answer)
    assert hider.hide(answer) == {
        "metadata": {"ref": "/code/user-1/pcam-fast", "author": "user-2", "slug": "pcam-fast"},
        "url": "https://www.kaggle.com/code/user-1/pcam-fast",
        "teamName": "team-1",
        "teamId": 1,
        "status": "COMPLETE",
        "log": '[{"data": "user-2 of team-1, someone@example.org, janet, /user-1/"}]',
        "createUrl": "http://storage.invalid/file-1.csv",
        "nextPageToken": "token-1",
    }


# Without the words of the test's own texts.
NAMES = strategies.text(
    strategies.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1
).filter(lambda name: name.lower() not in "https www.kaggle.com/code user- team- data stream_name")


@hypothesis.settings(
    max_examples=300, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(author=NAMES, team=NAMES, before=strategies.sampled_from(["", " ", "\n", "by "]))
def test_no_name_passes_in_a_log_however_it_is_written(home, author, team, before):
    hider = Hider()
    hider.learn({"author": author, "teamName": team})
    entries = [{"data": f"{before}{name}\n{name.upper()}, /{name}/"} for name in (author, team)]
    for plain in (True, False):
        hidden = hider.hide(json.dumps(entries, ensure_ascii=plain))
        for entry, name in zip(json.loads(hidden), (author, team)):
            rest = re.sub(r"(?:user|team)-\d|hidden", "", entry["data"])
            is_word = name.isalpha() and len(name.encode()) > 2
            assert not is_word or name not in re.split(r"[\s,/]+", rest)


def test_other_teams_names_are_hidden_as_fields_only(home):
    """A team may be called like a word of a log."""
    hider = Hider()
    board = [{"teamName": "fast", "teamId": 5}, {"TeamMemberUserNames": "ann, bob"}]
    hider.learn(board, own=False)
    hidden = [{"teamName": "team-1", "teamId": 1}, {"TeamMemberUserNames": "user-1,user-2"}]
    assert hider.hide(board) == hidden
    assert hider.hide("recipe fast") == "recipe fast"


def test_large_and_binary_bodies_are_given_by_size_and_hash(home):
    file = io.BytesIO()
    transcript = Transcript(file)
    request = requests.Request("PUT", "https://storage.example/x?sig=1", data=b"\xff" * 9).prepare()
    transcript.record(request, requests.ReadTimeout())
    line = json.loads(file.getvalue().splitlines()[-1])
    assert line["request"]["size"] == 9 and len(line["request"]["sha256"]) == 64
    assert (line["path"], line["error"]) == ("http://storage.invalid/file-1", "ReadTimeout")
    assert transcript.hider.hide({"text": "x" * 2_000})["text"]["size"] == 2_000


def test_a_secret_is_hidden_wherever_it_stands():
    hider, key = Hider(), "KGAT_0123456789abcdef0123"
    hider.learn_credentials(f"Bearer {key}")
    for text in (f"Bearer%20{key}", f"user%3A{key}", f"x{key}", f"{key}n", key.lower()):
        assert key.lower() not in hider.hide({"message": text})["message"].lower()
