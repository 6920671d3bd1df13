"""Waiting for the version that was pushed."""

import json

import pytest

from kernel.records import StatusRecord, read_record
from kernel.remote import versions, watch
from kernel.remote.client import Client
from kernel.remote.errors import KaggleError
from kernel.remote.log import LogEntry, find_traceback, parse_log, split_lines
from kernel.remote.push import push_kernel
from kernel.remote.watch import RunFailed, format_time, wait_for_kernel
from kernel.sandbox.faults import Fault


@pytest.fixture
def push(tmp_path, monkeypatch):
    """A function that pushes the demo; its client and run."""
    monkeypatch.setattr(watch, "POLL_SECONDS", 2)

    def push_one(overrides=None):
        client = Client()
        return client, push_kernel(client, "demo", overrides, runs=tmp_path / "runs")

    return push_one


def test_a_run_is_waited_for_and_its_log_shown(open_sandbox, push, tmp_path):
    sandbox = open_sandbox("wait")
    client, run = push()
    lines = []

    def say(line):
        lines.append(line)
        if "fold 0 seed 0 epoch  1/1" in line:  # while it runs
            assert sandbox.service.sessions["sandbox/pcam-demo", 1].status == "RUNNING"
            (tmp_path / "sandbox/kernels/sandbox/pcam-demo/v1/go").touch()

    assert wait_for_kernel(client, run, say=say) == "COMPLETE"
    shown = [line for line in lines if "epoch  1/1" in line]
    assert len(shown) == 1, "each line once"
    assert shown[0].startswith("0:00:0")  # the kernel's clock starts with the kernel
    assert any(line.endswith("sandbox/pcam-demo v1 COMPLETE") for line in lines)
    assert read_record(run, StatusRecord).state == "COMPLETE"


def test_a_long_wait_says_that_it_waits(open_sandbox, push, monkeypatch):
    open_sandbox("slow")
    client, run = push()
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0)
    monkeypatch.setattr(watch, "GRACE_SECONDS", -12 * 3600 + 1)
    lines = []
    with pytest.raises(KaggleError, match="longer than its time-out"):
        wait_for_kernel(client, run, say=lines.append)
    assert sum("RUNNING" in line for line in lines) > 1


def test_the_end_of_the_log_is_shown_too(sandbox, push):
    client, run = push()
    sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
    lines = []
    wait_for_kernel(client, run, say=lines.append)
    assert [line for line in lines if "epoch  1/1" in line]


def test_one_look_does_not_wait(open_sandbox, push):
    open_sandbox("slow")
    client, run = push()
    assert wait_for_kernel(client, run, wait=False) in ("QUEUED", "RUNNING")


def test_a_failed_run_shows_the_kernel_s_own_traceback(open_sandbox, push):
    open_sandbox("fail")
    client, run = push()
    with pytest.raises(RunFailed) as error:
        wait_for_kernel(client, run)
    text = str(error.value)
    assert "sandbox/pcam-demo v1 failed: Your notebook failed" in text
    assert text.endswith("ValueError: loss is not a finite number")
    assert "Traceback (most recent call last)" in text and "stub.py" in text
    assert "not a finite number" in read_record(run, StatusRecord).failure


def test_a_cancelled_run_is_said_to_be_cancelled(open_sandbox, push):
    sandbox = open_sandbox("slow")
    client, run = push()
    sandbox.service.sessions["sandbox/pcam-demo", 1].stop()
    with pytest.raises(RunFailed, match="v1 was cancelled"):
        wait_for_kernel(client, run)


def test_a_stuck_queue_is_given_up_and_the_run_continues(sandbox, push):
    client, run = push()
    sandbox.script("GetKernelSessionStatus", Fault(patch={"status": "QUEUED"}, times=-1))
    with pytest.raises(KaggleError, match="still queued after.*was not cancelled"):
        wait_for_kernel(client, run, queue_seconds=0.5)


def test_only_the_time_in_the_queue_counts_for_its_limit(sandbox, push):
    client, run = push()
    states = ("QUEUED", 1), ("RUNNING", 20), ("QUEUED", 1)  # the last one is out of date
    for state, times in states:
        sandbox.script("GetKernelSessionStatus", Fault(patch={"status": state}, times=times))
    assert wait_for_kernel(client, run, queue_seconds=0.4) == "COMPLETE"
    assert sandbox.calls.count("GetKernelSessionStatus") > 22


@pytest.mark.parametrize("pushed", ["2999-01-01T00:00:00+00:00", "", "soon", "2020-01-01"])
def test_a_push_at_a_strange_time_is_waited_for_without_negative_times(sandbox, push, pushed):
    client, run = push()
    record = json.loads((run / "push.json").read_text())
    (run / "push.json").write_text(json.dumps({**record, "pushed": pushed}))
    lines = []
    assert wait_for_kernel(client, run, say=lines.append) == "COMPLETE"
    assert "pushed -" not in lines[0]


def test_a_new_kernel_that_does_not_show_yet_counts_as_queued(sandbox, push, monkeypatch):
    monkeypatch.setattr(versions, "SHOW_SECONDS", 5000)
    client, run = push()
    denied = Fault(403, {"code": 403, "message": "denied"}, times=2)
    sandbox.script("GetKernelSessionStatus", denied)
    assert wait_for_kernel(client, run) == "COMPLETE"
    monkeypatch.setattr(versions, "SHOW_SECONDS", 0)
    sandbox.script("GetKernelSessionStatus", denied)
    with pytest.raises(KaggleError, match="HTTP 403, denied"):
        wait_for_kernel(client, run)


def test_a_null_state_counts_as_queued(sandbox, push):
    client, run = push()
    sandbox.script("GetKernelSessionStatus", Fault(patch={"status": None}))
    lines = []
    assert wait_for_kernel(client, run, say=lines.append) == "COMPLETE"
    assert lines[0].endswith("v1 QUEUED")


def test_a_run_that_never_ends_is_given_up(open_sandbox, push, monkeypatch):
    open_sandbox("slow")
    client, run = push()
    monkeypatch.setattr(watch, "GRACE_SECONDS", -12 * 3600 + 0.5)
    with pytest.raises(KaggleError, match="longer than its time-out of 12 h"):
        wait_for_kernel(client, run)


def test_an_older_session_is_never_taken_for_the_pushed_one(open_sandbox, push):
    sandbox = open_sandbox("fail")
    _, first = push({"epochs": 1})
    sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
    sandbox.service.python = (*sandbox.service.python[:2], "ok")
    client, second = push({"epochs": 2})
    assert wait_for_kernel(client, second) == "COMPLETE"
    with pytest.raises(RunFailed, match="v1 failed"):
        wait_for_kernel(client, first)


def test_a_version_that_does_not_show_yet_counts_as_queued(sandbox, push):
    client, run = push()
    not_found = Fault(404, {"code": 404, "message": "Not found"}, times=2)
    sandbox.script("GetKernelSessionStatus", not_found)
    lines = []
    assert wait_for_kernel(client, run, say=lines.append) == "COMPLETE"
    assert lines[0].endswith("QUEUED")


@pytest.mark.parametrize(
    "fault", [Fault(404, {"code": 404, "message": ""}, times=-1), Fault(drop=True)]
)
def test_a_log_that_is_not_given_does_not_stop_the_wait(open_sandbox, push, tmp_path, fault):
    sandbox = open_sandbox("wait")
    client, run = push()
    sandbox.script("logs", fault)

    def say(line):
        if line.endswith("RUNNING"):
            (tmp_path / "sandbox/kernels/sandbox/pcam-demo/v1/go").touch()

    assert wait_for_kernel(client, run, say=say) == "COMPLETE"


def test_a_run_of_another_service_is_refused(sandbox, push):
    client, run = push()
    client.service = "Kaggle"
    with pytest.raises(ValueError, match="was pushed to sandbox"):
        wait_for_kernel(client, run)


def test_the_last_traceback_is_found_in_any_log():
    log = '[{"stream_name":"stderr","time":1,"data":"Traceback (most recent call last)'
    log += ':\\nA\\n"},{"stream_name":"stdout","time":2,"data":"x\\n"}]'
    assert find_traceback(parse_log(log)).endswith(":\nA")
    assert find_traceback(parse_log("plain\nlines")) == "plain\nlines"
    assert find_traceback(parse_log(None)) == ""
    assert format_time(3725) == "1:02:05"


def test_the_lines_of_a_log_have_the_times_at_which_they_began():
    pieces = [("a ", 1.5), ("line\nanother\n", 2), ("the ", 3.25), ("last", 4)]
    entries = [LogEntry("stdout", text, seconds) for text, seconds in pieces]
    assert split_lines(entries) == [("a line", 1.5), ("another", 2), ("the last", 3.25)]
    assert split_lines(entries, is_whole=False) == [("a line", 1.5), ("another", 2)]
    assert split_lines(entries[:1], is_whole=False) == []
    assert len(split_lines(entries[:2], is_whole=False)) == 2
    (entry,) = parse_log('[{"data": null, "time": "soon"}]')
    assert entry == LogEntry("stdout", "", None)
