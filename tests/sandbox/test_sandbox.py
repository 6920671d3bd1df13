"""The sandbox: it runs kernels as Kaggle does, scores, keeps boards, and asks who."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
import requests
from conftest import SLUG, TESTS, is_running, read_rows, run_python, write_rows
from sklearn.metrics import roc_auc_score

from kernel.folders import ROOT
from kernel.remote.client import Client
from kernel.remote.push import push_kernel
from kernel.sandbox.__main__ import main
from kernel.sandbox.faults import Fault
from kernel.sandbox.handler import PAGE
from kernel.sandbox.judge import Judge, read_solution, read_teams
from kernel.sandbox.kernels import get_kernel
from kernel.sandbox.server import Sandbox
from kernel.sandbox.sessions import Session

REPORT = """
import json, os, sys, tempfile
from pathlib import Path
print("cwd", os.getcwd(), tempfile.gettempdir())
print("an error line", file=sys.stderr)
Path("report.json").write_text(json.dumps(dict(os.environ)))
"""


@pytest.fixture
def session(tmp_path, competition):
    """A function that runs a text as a kernel, to its end."""

    def run_text(text, **options):
        mounts = {f"competitions/{SLUG}": competition}
        session = Session(tmp_path / "session", text, mounts, **options)
        session.run()
        return session

    return run_text


def test_a_kernel_has_kaggle_s_folders_and_environment(session):
    done = session(REPORT)
    assert done.status == "COMPLETE", done.log
    environment = json.loads((done.folder / "working" / "report.json").read_text())
    assert environment["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"
    assert environment["PCAM_ALLOW_CPU"] == "1"
    assert Path(environment["HOME"]) == done.folder
    (cwd,) = (e["data"] for e in done.log if e["stream_name"] == "stdout")
    assert cwd.split() == ["cwd", str(done.folder / "working"), str(done.folder / "temp")]
    (error,) = (e["data"] for e in done.log if e["stream_name"] == "stderr")
    assert error == "an error line\n"


def make_cells(*sources):
    """A notebook with cells of code, as JSON."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


def test_a_notebook_is_executed_in_the_same_folders_and_kept(session):
    done = session(make_cells("x = 40", REPORT, "x + 2"), is_notebook=True)
    assert done.status == "COMPLETE", done.log
    working = done.folder / "working"
    environment = json.loads((working / "report.json").read_text())
    assert environment["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"
    log = [(entry["stream_name"], entry["data"]) for entry in done.log]
    assert ("stdout", f"cwd {working} {done.folder / 'temp'}\n") in log
    assert ("stderr", "an error line\n") in log
    cells = nbformat.read(working / "__notebook__.ipynb", as_version=4).cells
    assert cells[2].outputs[0].data["text/plain"] == "42"
    assert "an error line" in (working / "__results__.html").read_text("utf-8")


def test_a_notebook_that_fails_ends_in_error_with_what_it_left(session):
    refused = f"open('{SLUG}', 'w'); open('../input/competitions/{SLUG}/train_labels.csv', 'w')"
    done = session(make_cells("print(1)", refused, "print(2)"), is_notebook=True)
    assert (done.status, done.failure) == ("ERROR", "Your notebook failed with exit code 1.")
    text = "".join(entry["data"] for entry in done.log)
    assert "Traceback (most recent call last)" in text and "Read-only file system" in text
    assert "\x1b" not in text and not re.search("^2$", text, re.M)
    working = done.folder / "working"
    cells = nbformat.read(working / "__notebook__.ipynb", as_version=4).cells
    assert [cell.execution_count for cell in cells] == [1, 2, None] and (working / SLUG).is_file()


def test_a_notebook_that_is_stopped_leaves_no_process(tmp_path):
    text = "import os, threading; print(os.getpid(), flush=True); threading.Event().wait()"
    started = Session(tmp_path / "session", make_cells(text), {}, is_notebook=True)
    started.thread.start()
    while not started.log and started.thread.is_alive():
        time.sleep(0.05)
    started.stop()
    (pid,) = (int(entry["data"]) for entry in started.log)
    assert started.status == "CANCEL_ACKNOWLEDGED" and not is_running(pid)


def test_a_kernel_that_fails_ends_in_error(session):
    done = session("print('before'); raise SystemExit(3)")
    assert (done.status, done.failure) == ("ERROR", "Your notebook failed with exit code 3.")


@pytest.fixture
def client_api(home, monkeypatch):
    """A function that makes an official client of the sandbox that is open."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")  # which importing kaggle reads
    from kaggle.api.kaggle_api_extended import KaggleApi

    monkeypatch.setattr(KaggleApi, "args", ["--local"])

    def make_client():
        api = KaggleApi()
        api.authenticate()
        return api

    return make_client


def call(sandbox, user, method, **request):
    """The answer to a call of the protocol."""
    url = f"{sandbox.url}/api/v1/any.Service/{method}"
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, json=request, auth=(user, sandbox.service.key)).json()


def wait_until(condition):
    """Wait up to ten seconds for a condition."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_scores_are_roc_auc_on_each_part(solution):
    judge = Judge(solution)
    rows = read_rows(solution)
    lines = [f"{i},{n % 5 / 5}" for n, (i, *_) in enumerate(rows)]
    text = "\n".join(["id,label", *lines])
    scores = judge.score(text.encode())
    for part in ("Public", "Private"):
        kept = [(int(t), n % 5) for n, (_, t, p) in enumerate(rows) if p == part]
        assert scores[part] == pytest.approx(roc_auc_score(*zip(*kept)))
    shuffled = "\n".join(["id,label", *reversed(text.splitlines()[1:])])
    assert judge.score(shuffled.encode()) == scores


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda lines: lines[:-1], "must have 16 rows. This one has 15"),
        (lambda lines: [*lines[:-1], "nobody,0.5"], "ids that are not in the solution"),
        (lambda lines: [*lines[:-1], lines[1]], "or twice"),
        (lambda lines: [*lines[:-1], lines[-1][:41] + "x"], "not numbers"),
        (lambda lines: [*lines[:-1], lines[-1][:41] + "inf"], "not numbers"),
        (lambda lines: ["id,score", *lines[1:]], "columns id,label"),
        (lambda lines: ["\0"], "columns id,label|not a CSV"),
    ],
)
def test_a_wrong_submission_is_refused_with_the_reason(solution, change, reason):
    judge = Judge(solution)
    lines = ["id,label", *[f"{i},0.5" for i, *_ in read_rows(solution)]]
    with pytest.raises(ValueError, match=reason):
        judge.score("\n".join(change(lines)).encode())


@pytest.mark.parametrize(
    "rows, header, reason",
    [
        ([("a", 0, "Public")], ("id", "label", "Split"), "columns id,label,Usage"),
        ([("a", 0, "Public"), ("b", 0, "Public")], None, "both in the Public part"),
        ([("a", 0, "Test")], None, "Usage Public or Private. Received: Test"),
        ([("a", 0, "Public"), ("a", 1, "Public")], None, "every id once"),
        ([("a", 0, "Private"), ("b", 1, "Private")], None, "rows of Usage Public"),
    ],
)
def test_a_wrong_solution_is_named(tmp_path, rows, header, reason):
    path = tmp_path / "solution.csv"
    write_rows(path, rows, header or ("id", "label", "Usage"))
    with pytest.raises(ValueError, match=rf"solution\.csv: expected .*{reason}"):
        read_solution(path)


def test_wrong_teams_are_named(tmp_path):
    path = tmp_path / "teams.csv"
    write_rows(path, [("A", 0.9, "x")], ("team", "public", "private"))
    with pytest.raises(ValueError, match=r"teams\.csv: expected the columns team,"):
        read_teams(path)


def test_a_team_stands_by_its_best_and_late_ones_do_not_stand(solution):
    judge = Judge(solution, [("A", 0.7, 0.7)])
    day = "2026-01-01"
    submissions = [
        {"teamName": team, "date": day, "scores": scores, "late": team == "late"}
        for team, scores in (
            ("me", {"Public": 0.6, "Private": 0.9}),
            ("me", {"Public": 0.8, "Private": 0.5}),
            ("me", {"Public": 0.8, "Private": 0.7}),
            ("late", {"Public": 1.0}),
            ("error", {}),
        )
    ]
    public = judge.rank_teams(submissions, "Public")
    assert [row[1:3] for row in public] == [("me", "0.8000"), ("A", "0.7000")]
    private = judge.rank_teams(submissions, "Private")
    assert [row[1:3] for row in private] == [("A", "0.7000"), ("me", "0.5000")]


def test_versions_submissions_and_boards_outlive_the_sandbox(
    open_sandbox, client_api, tmp_path, solution
):
    sandbox = open_sandbox("slow", teams=[("A", 0.9, 0.4), ("B", 0.1, 0.4)])
    push_kernel(Client(), "demo", runs=tmp_path / "runs")
    api = client_api()
    api.competition_submit(write_submission(tmp_path, solution), "the first", SLUG)
    (before,) = api.competition_submissions(SLUG)
    sandbox.close()
    again = open_sandbox(teams=[("A", 0.9, 0.4), ("B", 0.1, 0.4)])
    kernel = again.service.state["kernels"]["sandbox/pcam-demo"]
    assert [v["status"] for v in kernel["versions"]] == ["CANCEL_ACKNOWLEDGED"]
    api = client_api()
    (kept,) = api.competition_submissions(SLUG)
    assert (kept.ref, kept.description, kept.public_score) == (1, "the first", "0.5000")
    assert kept.to_dict() == before.to_dict()
    board = [(row.team_name, row.score) for row in api.competition_leaderboard_view(SLUG)]
    assert board == [("A", "0.9000"), ("sandbox", "0.5000"), ("B", "0.1000")]
    content = (again.service.folder / "submissions" / "1.csv").read_bytes()
    assert content == (tmp_path / "submission.csv").read_bytes()
    assert api.competition_submit(str(tmp_path / "submission.csv"), "", SLUG).ref == 2
    runs = tmp_path / "other runs"
    record = json.loads((push_kernel(Client(), "demo", runs=runs) / "push.json").read_text())
    assert record["version"] == 2


KILLED = """
import os, sys
from pathlib import Path
from kernel.sandbox.kernels import save_kernel
from kernel.sandbox.server import Sandbox
service = Sandbox(*map(Path, sys.argv[1:])).service
for name, text in (("good", "print('whole')"), ("bad", "raise SystemExit(3)")):
    save_kernel(service, "me", {"slug": f"me/{name}", "newTitle": name, "text": text})
    service.sessions[f"me/{name}", 1].thread.join()
os.kill(os.getpid(), 9)
"""


def test_a_version_that_had_ended_before_a_kill_stays_as_it_ended(
    open_sandbox, competition, solution, tmp_path
):
    folder = tmp_path / "sandbox"
    command = [sys.executable, "-c", KILLED, competition, solution, folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, timeout=60).returncode != 0
    sandbox = open_sandbox(folder=folder)
    good, bad = (
        sandbox.service.state["kernels"][f"me/{name}"]["versions"][0] for name in ("good", "bad")
    )
    assert (good["status"], bad["status"]) == ("COMPLETE", "ERROR")
    assert good["log"][0]["data"] == "whole\n" and "exit code 3" in bad["failure"]


def write_submission(folder, solution):
    """A submission of ties, which scores 0.5: its path as text."""
    write_rows(folder / "submission.csv", [(i, 0.5) for i, *_ in read_rows(solution)])
    return str(folder / "submission.csv")


def test_it_asks_for_credentials_and_listens_here_only(sandbox):
    assert sandbox.server.server_address[0] == "127.0.0.1"
    url = f"{sandbox.url}/api/v1/competitions.CompetitionApiService/GetCompetition"
    body = {"competitionName": SLUG}
    session = requests.Session()
    session.trust_env = False
    assert session.post(url, json=body).status_code == 401
    assert session.post(url, json=body, auth=("me", "wrong")).status_code == 401
    assert session.post(url, json=body, auth=("me", sandbox.service.key)).ok
    for path in ("/file/x/y", "/data/00000000/train_labels.csv"):
        assert session.get(sandbox.url + path).status_code == 403
    assert session.get(f"{sandbox.url}/solution.csv").status_code == 404
    signed = sandbox.service.sign("data", "train_labels.csv")
    assert session.get(signed).ok
    other = signed.replace("train_labels", "sample_submission")
    assert session.get(other).status_code == 403


def test_the_data_come_as_one_archive_and_a_cut_download_is_continued(
    sandbox, competition, tmp_path, client_api
):
    sandbox.script("data", Fault(cut=1000))
    client_api().competition_download_files(SLUG, str(tmp_path / "down"))
    assert sandbox.calls.count("data") == 2
    with zipfile.ZipFile(tmp_path / "down" / f"{SLUG}.zip") as archive:
        names = {p.relative_to(competition).as_posix() for p in competition.rglob("*.*")}
        assert set(archive.namelist()) == names
        for name in names:
            assert archive.read(name) == (competition / name).read_bytes()


@pytest.mark.parametrize(
    "asked, condition, status, expected",
    [
        ("bytes=0-3", None, 206, slice(0, 4)),
        ("bytes=5-", "ETag", 206, slice(5, None)),
        ("bytes=5-", "Last-Modified", 206, slice(5, None)),
        ("bytes=5-", "other", 200, slice(None)),
        ("bytes=99999-", None, 416, slice(0)),
        ("lines=1-2", None, 200, slice(None)),
    ],
)
def test_a_part_of_a_file_can_be_asked_for(
    sandbox, competition, asked, condition, status, expected
):
    content = (competition / "train_labels.csv").read_bytes()
    url = sandbox.service.sign("data", "train_labels.csv")
    with requests.Session() as session:
        session.trust_env = False
        whole = session.get(url)
        headers = {"Range": asked}
        if condition:
            headers["If-Range"] = whole.headers.get(condition, condition)
        part = session.get(url, headers=headers)
        assert (part.status_code, part.content) == (status, content[expected])
        if status == 206:
            shown = f"bytes {expected.start}-{expected.start + len(part.content) - 1}"
            assert part.headers["Content-Range"] == f"{shown}/{len(content)}"


def test_a_commit_outlives_the_client_that_asked_for_it(sandbox, competition):
    sandbox.script("CreateDataset", Fault(wait=0.5))
    url = f"{sandbox.url}/api/v1/datasets.DatasetApiService/CreateDataset"
    body = {"ownerSlug": "me", "slug": "late", "title": "late"}
    with requests.Session() as session:
        session.trust_env = False
        session.auth = ("me", sandbox.service.key)
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.post(url, json=body, timeout=0.1)
        assert sandbox.service.state["datasets"] == {}
        wait_until(lambda: "me/late" in sandbox.service.state["datasets"])
        sandbox.script("CreateDataset", Fault(wait=0.1), Fault(wait=0.1, drop=True, after=True))
        assert session.post(url, json={**body, "slug": "second"}).json()["status"] == "ok"
        with pytest.raises(requests.exceptions.ConnectionError):
            session.post(url, json={**body, "slug": "third"})
        assert set(sandbox.service.state["datasets"]) == {"me/late", "me/second", "me/third"}


def test_a_closed_sandbox_commits_nothing_more(sandbox):
    sandbox.script("CreateDataset", Fault(wait=60))
    url = f"{sandbox.url}/api/v1/datasets.DatasetApiService/CreateDataset"
    with requests.Session() as session:
        session.trust_env = False
        session.auth = ("me", sandbox.service.key)
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.post(url, json={"ownerSlug": "me", "slug": "late"}, timeout=0.1)
    sandbox.close()
    state = json.loads((sandbox.service.folder / "state.json").read_text())
    assert state["datasets"] == {}


def test_a_version_names_the_inputs_that_it_runs_with(sandbox, client_api, tmp_path):
    metadata = {
        "id": "sandbox/one-kernel",
        "title": "one kernel",
        "code_file": "script.py",
        "language": "python",
        "kernel_type": "script",
        "competition_sources": [SLUG, "titanic"],
        "dataset_sources": ["sandbox/no-such-dataset"],
    }
    for number in (1, 2):
        (tmp_path / "script.py").write_text(f"print({number})")
        (tmp_path / "kernel-metadata.json").write_text(json.dumps(metadata))
        answer = client_api().kernels_push(str(tmp_path))
        assert answer.version_number == number
        assert answer.invalid_competition_sources == ["titanic"]
        assert answer.invalid_dataset_sources == ["sandbox/no-such-dataset"]
    for label, text in (("v1", "print(1)"), ("v2", "print(2)"), (None, "print(2)")):
        request = {"userName": "sandbox", "kernelSlug": "one-kernel"}
        if label:
            request["versionLabel"] = label
        answer = get_kernel(sandbox.service, "sandbox", request)
        assert answer["blob"]["source"] == text
        assert answer["metadata"]["currentVersionNumber"] == 2
        assert answer["metadata"]["competitionDataSources"] == [SLUG]
        assert answer["metadata"]["datasetDataSources"] == []


def test_nobody_sees_another_s_kernel_dataset_or_submission(
    open_sandbox, client_api, tmp_path, solution
):
    sandbox = open_sandbox("networks")
    client = Client()
    push_kernel(client, "demo", runs=tmp_path / "runs")
    sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
    client_api().competition_submit(write_submission(tmp_path, solution), "mine", SLUG)
    token = call(sandbox, "sandbox", "StartBlobUpload", name="weights.npz")["token"]
    sandbox.service.uploads[token].write_bytes(b"weights")
    files = [{"token": token}]
    dataset = {"ownerSlug": "sandbox", "slug": "weights", "title": "weights", "files": files}
    assert call(sandbox, "sandbox", "CreateDataset", **dataset)["status"] == "ok"
    key, kernel = sandbox.service.key, {"userName": "sandbox", "kernelSlug": "pcam-demo"}
    named = {"ownerSlug": "sandbox", "datasetSlug": "weights"}
    hidden = [
        ("GetKernel", kernel, "BUILD_ID"),
        ("GetKernel", {**kernel, "versionLabel": "v1"}, "BUILD_ID"),
        ("GetKernelSessionStatus", kernel, "COMPLETE"),
        ("ListKernelSessionOutput", kernel, "submission.csv"),
        ("ListKernelFiles", kernel, "submission.csv"),
        ("GetDatasetStatus", named, "READY"),
        ("ListDatasetFiles", named, "weights.npz"),
        ("GetSubmission", {"ref": 1}, "mine"),
        ("ListSubmissions", {"competitionName": SLUG}, "mine"),
    ]
    for method, request, text in hidden:
        assert text in json.dumps(call(sandbox, "sandbox", method, **request))
        answer = json.dumps(call(sandbox, "other", method, **request))
        assert text not in answer, method
        assert "denied" in answer or "Not found" in answer or answer == '{"submissions": []}'
    with requests.Session() as session:
        session.trust_env = False
        url = f"{sandbox.url}/api/v1/kernels/logs/stream/sandbox/pcam-demo"
        for auth, status in ((None, 401), (("other", "x"), 401), (("other", key), 403)):
            answer = session.get(url, auth=auth)
            assert answer.status_code == status and "epoch" not in answer.text
        assert "epoch" in session.get(url, auth=("sandbox", key)).text
        for name in ("sandbox/pcam-demo", "no/such"):  # the page that a push names
            answer = session.get(f"{sandbox.url}/code/{name}")
            assert answer.ok and answer.text == PAGE
    push = {"slug": "other/a-kernel", "newTitle": "a kernel", "text": "print()"}
    sources = {
        "kernelDataSources": ["sandbox/pcam-demo", "sandbox/pcam-demo/1"],
        "datasetDataSources": ["sandbox/weights"],
    }
    answer = call(sandbox, "other", "SaveKernel", **push, **sources)
    assert answer["invalidKernelSources"] == sources["kernelDataSources"]
    assert answer["invalidDatasetSources"] == sources["datasetDataSources"]
    assert call(sandbox, "other", "SaveKernel", **{**push, "slug": "sandbox/pcam-demo"}) == {
        "error": "Kernel not found"
    }
    assert call(sandbox, "other", "CreateDataset", **dataset)["code"] == 403


def test_the_official_command_line_speaks_to_it(sandbox, tmp_path, solution):
    push_kernel(Client(), "demo", runs=tmp_path / "runs")
    sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
    path = write_submission(tmp_path, solution)
    for words, expected in [
        (["kernels", "status", "sandbox/pcam-demo"], "COMPLETE"),
        (["kernels", "files", "sandbox/pcam-demo"], "submission.csv"),
        (["kernels", "logs", "sandbox/pcam-demo"], "epoch  1/1"),
        (["competitions", "files", SLUG], "train_labels.csv"),
        (["competitions", "submissions", SLUG], "No submissions found"),
        (["competitions", "submit", SLUG, "-f", path, "-m", "a note"], "Successfully submitted"),
        (["competitions", "submissions", SLUG], "a note"),
        (["competitions", "leaderboard", SLUG, "--show"], r"sandbox .* 0\.5000"),
        (["quota"], "30"),
    ]:
        result = run_python(["-m", "kaggle", *words])
        assert result.returncode == 0, (words, result.stdout, result.stderr)
        assert re.search(expected, result.stdout), (words, result.stdout)


def test_a_board_of_one_s_own_from_the_command_line(competition, solution, home):
    words = ["-m", "kernel.sandbox", "--data", competition, "--solution", solution]
    words += ["--folder", home / "board", "--deadline", "2030-01-01"]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS / 'guard'}{os.pathsep}{ROOT}"}
    # A shell may have SIGINT ignored, which a process would inherit.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    signal.signal(signal.SIGINT, before)
    try:
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended"
        exports = [line.split()[1] for line in lines if line.startswith("  export")]
        variables = dict(word.split("=", 1) for word in exports)
        result = run_python(["-m", "kaggle", "competitions", "files", SLUG], **variables)
        assert "sample_submission.csv" in result.stdout, result.stderr
    finally:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130 and error.startswith("kernel.sandbox: stopped; ")
    assert error.endswith(f"To continue: python {shlex.join(map(str, words))}\n")
    assert "Kaggle's" not in "".join(lines)


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--data", "nowhere", "--solution", "s.csv"], "competition data not found"),
        (["--data", ".", "--solution", "s.csv", "--deadline", "soon"], "--deadline"),
    ],
)
def test_a_board_that_cannot_be_is_refused(words, reason, home, tmp_path, capsys):
    try:
        exit_code = main([*words, "--folder", str(tmp_path)])
    except SystemExit as error:
        exit_code = error.code
    assert exit_code in (1, 2) and reason in capsys.readouterr().err


def test_a_port_that_is_taken_is_an_error(sandbox, competition, solution, tmp_path):
    with pytest.raises(OSError):
        Sandbox(competition, solution, tmp_path / "second", port=sandbox.server.server_port)


def test_the_environment_is_given_back(sandbox, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    with sandbox.entered():
        assert os.environ["HTTP_PROXY"] == sandbox.url
        assert "NO_PROXY" not in os.environ
    assert os.environ["HTTP_PROXY"] == "http://127.0.0.1:9"
    assert os.environ["NO_PROXY"] == "example.org"
