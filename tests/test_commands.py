"""The commands as a user types them, step by step, broken off, repeated, at once."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import TESTS, read_rows, run_python
from PIL import Image

import build
from kernel.folders import ROOT
from kernel.locks import locked
from kernel.remote.client import Client
from kernel.remote.push import push_kernel
from kernel.runs import find_run, list_runs
from kernel.sandbox.faults import Fault


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of runs of its own, and shorter pauses."""
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    monkeypatch.setattr("kernel.remote.watch.POLL_SECONDS", 2)
    return tmp_path / "runs"


@pytest.fixture
def interruptible():
    """Let SIGINT raise KeyboardInterrupt, also where a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def count_versions(sandbox):
    kernels = sandbox.service.state["kernels"].values()
    return sum(len(kernel["versions"]) for kernel in kernels)


def count_submissions(sandbox):
    return len(sandbox.service.state["submissions"])


def test_run_is_all_steps_and_each_can_be_repeated_alone(sandbox, runs, capsys):
    assert build.main(["run", "demo", "epochs=3", "--message", "first"]) == 0
    text = capsys.readouterr().out
    (run,) = list_runs(runs)
    assert {path.name for path in run.iterdir()} == {
        f"{run.name}.py",
        "push.json",
        "status.json",
        "run.json",
        "submission.csv",
        "kernel.log",
        "sample_submission.csv",
        "submit.json",
        "leaderboard.png",
    }
    build_id = json.loads((run / "push.json").read_text())["build_id"]
    assert f"submitted as submission 1: first build={build_id}" in text
    assert "Kaggle" not in text
    with Image.open(run / "leaderboard.png") as image:
        assert image.size == (1080, 1540)
    for words in (
        ["push", "demo", "epochs=3", "--wait"],
        ["status", "--wait"],
        ["output", build_id],
        ["submit", run.name],
        ["leaderboard", "pcam-demo"],
        ["run", "demo", "epochs=3"],
    ):
        assert build.main(words) == 0, words
    assert count_versions(sandbox) == count_submissions(sandbox) == 1
    assert len(read_rows(runs / "leaderboard.csv")) == 1
    capsys.readouterr()
    assert build.main(["runs"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "state", "cv", "public", "private", "age", "size"]
    scores = json.loads((run / "submit.json").read_text())
    cells = [run.name, "finished", "0.9731", scores["public_score"], "0", "min"]
    assert row.split()[:6] == cells  # before the deadline, there is no private score


def test_a_failed_run_fails_the_command_with_its_traceback(open_sandbox, runs, capsys):
    sandbox = open_sandbox("fail")
    assert build.main(["run", "demo"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("build.py: error: sandbox/pcam-demo v1 failed")
    assert error.strip().endswith("ValueError: loss is not a finite number")
    assert count_submissions(sandbox) == 0


def test_a_failed_run_that_left_a_submission_is_scored_and_fails_the_command(
    open_sandbox, runs, capsys
):
    sandbox = open_sandbox("first")
    assert build.main(["run", "demo"]) == 1
    text, error = capsys.readouterr()
    assert "THE RUN FAILED: downloading and submitting what it left" in text
    assert "not trained  fold 1 seed 1, fold 2 seed 2" in text and "score   public" in text
    assert error.startswith("build.py: error: sandbox/pcam-demo v1 failed")
    assert error.strip().endswith("ValueError: a late failure")
    assert count_submissions(sandbox) == 1
    (run,) = list_runs(runs)
    assert (run / "leaderboard.png").exists()
    # Step by step: status fails, what it left can be had and submitted.
    for words, code in ((["status"], 1), (["output"], 0), (["submit"], 0)):
        assert build.main(words) == code, words
    assert count_submissions(sandbox) == 1


def test_a_lost_submission_of_a_failed_run_is_for_the_user_to_decide(open_sandbox, runs, capsys):
    sandbox = open_sandbox("first")
    sandbox.script("CreateSubmission", Fault(drop=True))
    assert build.main(["run", "demo"]) == 75
    assert "may have been sent" in capsys.readouterr().err


def test_runs_shows_the_scores_of_each_submission(open_sandbox, runs, capsys):
    sandbox = open_sandbox("first")
    assert build.main(["run", "demo"]) == 1
    sandbox.service.python = (*sandbox.service.python[:2], "networks")
    assert build.main(["push", "demo", "--wait"]) == 0
    capsys.readouterr()
    assert build.main(["runs", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert first["submission"] == 1 and first["public_score"] is not None
    assert second["submission"] is None is second["public_score"]


def test_runs_says_of_which_patches_each_score_is(sandbox, runs, capsys):
    pushed = [push_kernel(Client(), "demo", {"epochs": n}, runs=runs) for n in (1, 2, 3)]
    rows = [f"{i},1,{i % 3},0.5" for i in range(1_200)]
    for run, folds in zip(pushed, ((0, 1, 2), (0, 1, 2), (1,))):
        kept = [row for row in rows if int(row.split(",")[2]) in folds]
        (run / "oof.csv").write_text("\n".join(["id,label,fold,prediction", *kept]) + "\n")
    capsys.readouterr()
    assert build.main(["runs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    assert [run["cv_patches"] for run in found] == [1_200, 1_200, 400]
    assert [run["cv_folds"] for run in found] == [["0", "1", "2"], ["0", "1", "2"], ["1"]]
    build.main(["runs"])
    text = capsys.readouterr().out
    note = "cv is of each run's own patches"
    assert note in text
    assert "folds share slides" not in text
    (pushed[2] / "oof.csv").unlink()
    result = {"oof_auc": 0.87654, "grouping": "patch"}
    (pushed[2] / "run.json").write_text(json.dumps(result))
    build.main(["runs"])
    text = capsys.readouterr().out
    assert note not in text and "0.8765" in text  # of run.json, submitted or not
    assert f"cv of {pushed[2].name}: folds share slides, expect about 0.03 less" in text


def test_runs_asks_about_own_runs_only_and_about_each(open_sandbox, runs, capsys, monkeypatch):
    open_sandbox("slow")
    push_kernel(Client(), "demo", runs=runs)
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "other")
    own = push_kernel(Client(), "demo", runs=runs)
    build.main(["runs"])
    text = capsys.readouterr().out
    assert "last seen" not in text
    (first, second) = list_runs(runs)
    assert second == own and not (first / "status.json").exists()
    assert json.loads((second / "status.json").read_text())["state"] in ("QUEUED", "RUNNING")


def test_run_resumes_what_a_failed_run_left(open_sandbox, runs, capsys):
    sandbox = open_sandbox("first")
    assert build.main(["run", "demo"]) == 1
    sandbox.service.python = (*sandbox.service.python[:2], "networks")
    assert build.main(["run", "demo", "--resume"]) == 0
    assert "resume     3 files of version 1, as sandbox/pcam-networks-" in capsys.readouterr().out
    assert count_versions(sandbox) == count_submissions(sandbox) == 2
    numbers = [
        json.loads((run / "submit.json").read_text())["submission"] for run in list_runs(runs)
    ]
    assert numbers == [1, 2]


def test_a_failed_run_with_a_submission_that_is_not_valid_submits_nothing(
    open_sandbox, runs, capsys
):
    sandbox = open_sandbox("short")
    assert build.main(["run", "demo"]) == 1
    text, error = capsys.readouterr()
    assert "after that failure: " in text and "13 rows for 16" in text
    assert "v1 failed" in error and count_submissions(sandbox) == 0


def test_output_takes_patterns(open_sandbox, runs, capsys):
    open_sandbox("networks")
    assert build.main(["push", "demo", "--wait"]) == 0
    assert build.main(["output", "pcam-demo", "--only", "*.csv", "--only", "folds/*1.npz"]) == 0
    (run,) = list_runs(runs)
    assert [path.name for path in (run / "folds").iterdir()] == ["fold1_seed1.npz"]
    assert build.main(["output", "--only", "x"]) == 1
    assert "Received: x. The output has: " in capsys.readouterr().err


def test_runs_says_what_was_pushed_and_asks_about_what_is_not_over(open_sandbox, runs, capsys):
    assert build.main(["runs"]) == 0
    assert "there is no run yet" in capsys.readouterr().out and not runs.exists()
    sandbox = open_sandbox("slow")
    push_kernel(Client(), "demo", {"epochs": 1}, runs=runs)
    build.main(["runs"])
    assert re.search(r"queued|running", capsys.readouterr().out)
    sandbox.service.sessions["sandbox/pcam-demo", 1].stop()
    build.main(["runs"])
    assert "cancelled" in capsys.readouterr().out
    push_kernel(Client(), "demo", {"epochs": 2}, runs=runs)
    sandbox.script("GetKernelSessionStatus", Fault(401, {"code": 401, "message": ""}))
    build.main(["runs"])
    text = capsys.readouterr().out
    assert "as they were last seen: GetKernel" in text


RUN_KEYS = "run kind service recipe build_id kernel version pushed url state seen failure networks "
RUN_KEYS += "missing submission cv_patches cv_folds grouping estimate cv_auc public_score "
RUN_KEYS += "private_score public_rank private_rank num_teams changed size"


def test_runs_and_status_print_json_and_nothing_else(open_sandbox, runs, capsys):
    assert build.main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": [], "unreached": None}
    sandbox = open_sandbox()
    assert build.main(["run", "demo"]) == 0
    sandbox.service.python = (*sandbox.service.python[:2], "fail")
    second = push_kernel(Client(), "demo", {"epochs": 2}, runs=runs)
    capsys.readouterr()
    assert build.main(["status", "--wait", "--json"]) == 1
    text, error = capsys.readouterr()
    failed = json.loads(text)
    assert list(failed) == RUN_KEYS.split()
    assert failed["run"] == second.name and failed["state"] == "ERROR"
    assert failed["failure"].endswith("ValueError: loss is not a finite number")
    assert failed["submission"] is failed["cv_auc"] is failed["public_rank"] is None
    assert (failed["cv_patches"], failed["cv_folds"]) == (0, [])
    assert "v2 ERROR" in error and "build.py: error: sandbox/pcam-demo v2 failed" in error

    assert build.main(["runs", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content) == ["runs", "unreached"] and content["unreached"] is None
    first, last = content["runs"]
    assert last == failed
    assert (first["state"], first["version"], first["submission"]) == ("COMPLETE", 1, 1)
    assert first["cv_auc"] == 0.9731 and first["num_teams"] == 1
    assert build.main(["status", first["run"], "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen.pop("seen") > first.pop("seen") and seen == first
    assert seen["size"] == sum(path.stat().st_size for path in (runs / first["run"]).iterdir())


def test_runs_say_in_json_why_a_state_is_old(open_sandbox, runs, capsys):
    sandbox = open_sandbox("slow")
    push_kernel(Client(), "demo", runs=runs)
    capsys.readouterr()
    sandbox.script("GetKernelSessionStatus", Fault(401, {"code": 401, "message": ""}))
    assert build.main(["runs", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["unreached"].startswith("GetKernelSessionStatus: HTTP 401")
    (row,) = content["runs"]
    assert (row["state"], row["seen"]) == ("QUEUED", None)


def test_a_damaged_record_of_another_run_stops_nothing(sandbox, runs, capsys):
    push_kernel(Client(), "demo", {"epochs": 1}, runs=runs)
    other = push_kernel(Client(), "demo", {"epochs": 2}, runs=runs)
    (other / "push.json").write_text("{")
    assert build.main(["run", "demo", "epochs=1"]) == 0
    assert build.main(["runs"]) == 0
    error = capsys.readouterr().err
    assert f"left out: {other / 'push.json'}: expected a JSON object" in error
    push_kernel(Client(), "demo", {"epochs": 1}, runs=runs)
    assert capsys.readouterr().err.count("left out") == 1
    (run,) = list_runs(runs)
    (run / "status.json").write_text("[]")
    capsys.readouterr()
    assert build.main(["status"]) == 0
    assert capsys.readouterr().err.count("left out") == 1


def test_the_run_that_was_requested_last_is_the_latest(sandbox, runs):
    first = push_kernel(Client(), "demo", {"epochs": 1}, runs=runs)
    second = push_kernel(Client(), "demo", {"epochs": 2}, runs=runs)
    assert find_run(None, runs) == second
    assert push_kernel(Client(), "demo", {"epochs": 1}, runs=runs) == first == find_run(None, runs)


def test_own_runs_are_preferred_and_a_path_is_taken_literally(sandbox, runs, monkeypatch):
    client = Client()
    own = push_kernel(client, "demo", runs=runs)
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "other")
    theirs = push_kernel(Client(), "demo", runs=runs)
    for name in (None, "pcam-demo", own.name.rpartition("-")[2]):
        assert find_run(name, runs) == theirs == find_run(name, runs, Client())
        assert find_run(name, runs, client) == own
    for name in (f"/nowhere/{own.name}", f"runs/demo/{own.name}"):
        with pytest.raises(ValueError, match="unknown run"):
            find_run(name, runs)


def test_a_message_that_is_too_long_is_refused_before_anything_is_sent(sandbox, runs, capsys):
    with pytest.raises(SystemExit):
        build.main(["run", "demo", "--message", "x" * 451])
    assert "expected at most 450 characters" in capsys.readouterr().err and sandbox.calls == []


def test_a_reader_that_leaves_is_no_error(home):
    closed = 1 if os.name == "nt" else 128 + signal.SIGPIPE
    for word, codes in (("list", {closed}), ("--help", {closed, 0})):  # argparse may hide it
        process = subprocess.Popen(
            [sys.executable, ROOT / "build.py", word],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait() in codes


def test_a_run_is_found_by_any_of_its_names(sandbox, runs):
    first = push_kernel(Client(), "demo", {"epochs": 1}, runs=runs)
    second = push_kernel(Client(), "demo", {"epochs": 2}, runs=runs)
    assert find_run(None, runs) == second == find_run("pcam-demo", runs)
    build_id = first.name.rpartition("-")[2]
    for name in (first.name, build_id, str(first), f"runs/{first.name}/"):
        assert find_run(name, runs) == first
    with pytest.raises(ValueError, match=f"Did you mean '{first.name}'"):
        find_run(first.name + "x", runs)


def test_a_run_of_the_demo_is_said_to_be_one_once_its_server_has_ended(sandbox, runs):
    own = push_kernel(Client(), "demo", {"epochs": 1}, runs=runs / "demo")
    with pytest.raises(ValueError, match="server runs only during the demo"):
        find_run(None, runs)
    push_kernel(Client(), "demo", {"epochs": 2}, runs=runs)
    for name in (own.name, f"demo/{own.name}", f"runs/demo/{own.name}", str(own)):
        with pytest.raises(ValueError, match="server runs only during the demo"):
            find_run(name, runs)


@pytest.mark.parametrize(
    "words, reason",
    [
        (["status"], "nothing was pushed yet"),
        (["submit", "x"], "nothing was pushed yet"),
        (["weights", "p4m_densenet"], "unknown architecture with weights"),
        (["output", "x"], "nothing was pushed yet"),
        (["leaderboard"], "nothing was pushed yet"),
        (["train", "demo", "--data", "nowhere"], "competition data not found"),
        (["train", "demo", "--data", "DATA", "--resume"], "expected networks of an earlier run"),
        (["report"], "no run is finished"),
        (["handin"], "no run is finished"),
        (["card"], "no run is finished"),
        (["card", "x"], "unknown run 'x'"),
        (["predict", "x", "."], "unknown run 'x'"),
        (["explain", "x", "."], "unknown run 'x'"),
        (["blend", "x", "y"], "unknown run 'x'"),
        (["push", "demo"], "no Kaggle credentials"),
        (["download"], "no Kaggle credentials"),
        (["doctor"], "doctor: failed: credentials"),
    ],
)
def test_a_refused_command_says_why_and_leaves_no_folder(
    competition, home, runs, words, reason, capsys
):
    """A wrong name is found before credentials are asked for: there are none."""
    before = sorted(runs.parent.rglob("*"))
    assert build.main([str(competition) if word == "DATA" else word for word in words]) == 1
    assert reason in capsys.readouterr().err
    assert sorted(runs.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "words, reason",
    [
        (["push"], "RECIPE"),
        (["push", "demo", "--timeout", "13"], "expected 0.6 to 12 hours"),
        (["push", "demo", "folds=9"], "folds: expected"),
        (["push", "demo", "folds=0", "folds=1"], "folds is given twice"),
        (["run", "nothing"], "unknown recipe 'nothing'"),
        (["leaderboard", "a", "b"], "unknown arguments: b"),
        (["run", "infer", "networks=x"], "unknown run 'x'"),
    ],
)
def test_wrong_usage_exits_2(sandbox, words, reason, capsys):
    with pytest.raises(SystemExit) as exit_code:
        build.main(words)
    assert exit_code.value.code == 2
    assert re.search(reason, capsys.readouterr().err)
    assert sandbox.calls == []


@pytest.mark.skipif(os.name == "nt", reason="os.kill would end the test")
@pytest.mark.parametrize(
    "method",
    [
        "IntrospectToken",
        "GetKernel",
        "SaveKernel",
        "GetKernelSessionStatus",
        "ListKernelSessionOutput",
        "file",
        "data",
        "ListSubmissions",
        "upload",
        "CreateSubmission",
        "GetSubmission",
        "GetLeaderboard",
    ],
)
def test_after_ctrl_c_the_same_command_ends_the_work_once(sandbox, runs, method):
    # The call is carried out, and its answer kept back until Ctrl-C has come.
    sandbox.script(method, Fault(hang=1, after=True))
    code = f"""
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(ROOT)!r})
import build
build.RUNS = pathlib.Path({str(runs)!r})
sys.exit(build.main(["run", "demo"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while method not in sandbox.calls:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
    assert process.returncode == 130
    assert error == (
        "build.py: interrupted; what was sent is kept, and a pushed kernel runs on. "
        "To continue: python build.py run demo\n"
    )
    assert not [path for path in runs.rglob("partial*") if path.name != "partial-output"]
    assert build.main(["run", "demo"]) == 0
    assert count_versions(sandbox) == count_submissions(sandbox) == 1
    (run,) = list_runs(runs)
    assert (run / "leaderboard.png").exists()
    assert len(read_rows(runs / "leaderboard.csv")) == 1


def test_two_commands_at_once_do_the_work_once(sandbox, tmp_path):
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import build; "
        "build.RUNS = pathlib.Path(sys.argv[2]); sys.exit(build.main(['run', 'demo']))"
    )
    words = [sys.executable, "-c", code, str(ROOT), str(tmp_path / "runs")]
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "guard")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [subprocess.Popen(words, env=environment, **pipes) for _ in range(2)]
    texts = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert count_versions(sandbox) == count_submissions(sandbox) == 1


def test_a_lock_that_is_not_freed_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("kernel.locks.LOCK_SECONDS", 0.2)
    lines = []
    with (
        locked(tmp_path, "run"),
        pytest.raises(ValueError, match="one command at a time"),
        locked(tmp_path, "run", lines.append),
    ):
        pass
    assert lines == ["another command is working on run; waiting for it"]
    with locked(tmp_path, "run"):
        pass


def test_every_step_survives_one_fault_of_every_kind(sandbox, runs, monkeypatch):
    monkeypatch.setattr("kernel.remote.transport.BACK_OFF", 0.001)
    html = {"status": 200, "headers": {"Content-Type": "text/html"}}
    asked = "IntrospectToken GetKernel GetKernelSessionStatus GetCompetition upload "
    asked += "ListKernelSessionOutput file data ListSubmissions GetSubmissionLimits "
    asked += "StartSubmissionUpload GetSubmission GetLeaderboard DownloadLeaderboard"
    for method in asked.split():
        faults = [Fault(429, {"code": 429, "message": ""}), Fault(500), Fault(502)]
        faults += [Fault(503), Fault(drop=True)]
        plain = method in ("file", "data", "upload")
        sandbox.script(method, *faults, *([] if plain else [Fault(**html)]))
    sandbox.script("SaveKernel", Fault(429, {"code": 429, "message": ""}))
    sandbox.script("CreateSubmission", Fault(429, {"code": 429, "message": ""}))
    assert build.main(["run", "demo"]) == 0
    assert not any(sandbox.faults.values()), sandbox.faults
    assert count_versions(sandbox) == count_submissions(sandbox) == 1


def test_a_run_of_the_sandbox_is_not_sought_on_kaggle(sandbox, runs, monkeypatch):
    push_kernel(Client(), "demo", runs=runs)
    (run,) = list_runs(runs)
    record = json.loads((run / "push.json").read_text())
    (run / "push.json").write_text(json.dumps({**record, "service": "Kaggle"}))
    for words in (["status"], ["output"]):
        assert build.main(words) == 1


def test_the_commands_print_nothing_of_the_client_s(sandbox, tmp_path):
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import build; "
        "build.RUNS = pathlib.Path(sys.argv[2]); sys.exit(build.main(['run', 'demo']))"
    )
    result = run_python(["-c", code, ROOT, tmp_path / "runs"])
    assert result.returncode == 0 and result.stderr == ""
    for line in result.stdout.splitlines():
        assert "Warning" not in line and "Traceback" not in line
