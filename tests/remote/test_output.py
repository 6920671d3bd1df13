"""The output: complete or not at all, from the code that was pushed."""

import json
import sys
import time
import types

import pytest
from conftest import read_rows, run_python

from kernel.records import PushRecord, ResultRecord, read_record
from kernel.remote.client import Client
from kernel.remote.errors import KaggleError
from kernel.remote.output import download_output, place_file
from kernel.remote.push import push_kernel
from kernel.remote.submit import submit_predictions
from kernel.sandbox.faults import Fault


@pytest.fixture
def finish(tmp_path, open_sandbox):
    """A function that pushes a kernel, which ends at once: sandbox, client, run."""

    def finish_one(mode="ok"):
        sandbox = open_sandbox(mode)
        client = Client()
        run = push_kernel(client, "demo", runs=tmp_path / "runs")
        sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
        return sandbox, client, run

    return finish_one


def list_names(run):
    return {path.name for path in run.iterdir()}


def test_all_files_come_and_the_log(finish, tmp_path):
    _, client, run = finish()
    assert download_output(client, run, tmp_path / "runs") == 3
    assert list_names(run) == {"push.json", "run.json", "submission.csv", "kernel.log"}
    assert len(read_rows(run / "submission.csv")) == 16
    build_id = read_record(run, PushRecord).build_id
    assert json.loads((run / "run.json").read_text())["build_id"] == build_id
    assert "epoch  1/1" in (run / "kernel.log").read_text()


def test_a_study_comes_without_a_submission_and_is_not_submitted(finish, tmp_path):
    _, client, run = finish("study")
    assert download_output(client, run, tmp_path / "runs") == 3
    assert list_names(run) == {"push.json", "run.json", "study.csv", "kernel.log"}
    with pytest.raises(KaggleError, match="a study or an exploration submits nothing"):
        submit_predictions(client, run, runs=tmp_path / "runs")


def test_the_output_of_an_older_version_of_the_package_is_taken(finish, tmp_path):
    _, client, run = finish("old")
    assert download_output(client, run, tmp_path / "runs") == 3
    record = read_record(run, ResultRecord)
    assert (record.schema, record.recipe) == (1, "demo")
    assert record.files == ("submission.csv",) and "recipe" not in record.settings
    assert submit_predictions(client, run, runs=tmp_path / "runs") == 1


def test_a_second_time_nothing_is_fetched(finish, tmp_path):
    sandbox, client, run = finish()
    download_output(client, run, tmp_path / "runs")
    calls = len(sandbox.calls)
    assert download_output(client, run, tmp_path / "runs") == 0
    assert len(sandbox.calls) == calls


def test_every_page_is_fetched(finish, tmp_path):
    sandbox, client, run = finish("many")
    assert download_output(client, run, tmp_path / "runs") == 450 + 3
    assert (run / "folds" / "part449.txt").read_text() == "449\n" * 449
    assert sandbox.calls.count("ListKernelSessionOutput") == 3 + 1


def test_the_output_of_another_build_is_refused(finish, tmp_path):
    _, client, run = finish("other")
    with pytest.raises(KaggleError, match="from another run.*build 0123456789"):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == {"push.json"}


@pytest.mark.parametrize("mode, missing", [("none", "submission.csv"), ("fail", "run")])
def test_a_missing_file_is_named(finish, tmp_path, mode, missing):
    _, client, run = finish(mode)
    with pytest.raises(KaggleError, match=f"lacks {missing}"):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == {"push.json"}


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "a/../../evil", "..\\evil", "C:\\evil", "C:evil"]
)
def test_a_name_that_leaves_the_folder_is_refused(finish, tmp_path, name):
    sandbox, client, run = finish()
    files = [{"fileName": name, "url": "http://127.0.0.1/"}]
    sandbox.script("ListKernelSessionOutput", Fault(patch={"files": files}))
    with pytest.raises(KaggleError, match="outside its folder"):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == {"push.json"}
    assert not list(tmp_path.rglob("evil*"))


def test_folders_of_either_system_are_kept(tmp_path):
    expected = tmp_path / "folds" / "fold0.npz"
    assert place_file(tmp_path, "folds/fold0.npz") == expected
    assert place_file(tmp_path, "folds\\fold0.npz") == expected


@pytest.mark.parametrize(
    "fault", [Fault(cut=10), Fault(drop=True), Fault(503)], ids=["cut", "drop", "503"]
)
def test_a_download_that_breaks_is_resumed(finish, tmp_path, fault, monkeypatch):
    sandbox, client, run = finish()
    quick = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    kaggle = sys.modules["kaggle.api.kaggle_api_extended"]
    monkeypatch.setattr(kaggle, "time", quick)
    sandbox.script("file", fault)
    assert download_output(client, run, tmp_path / "runs") == 3
    assert len(read_rows(run / "submission.csv")) == 16


def test_a_file_that_cannot_be_had_leaves_nothing_and_can_be_had_later(finish, tmp_path):
    sandbox, client, run = finish()
    sandbox.script("file", Fault(403, "<html>expired</html>"))
    with pytest.raises(KaggleError, match="the download of .*403"):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == {"push.json"}
    assert download_output(client, run, tmp_path / "runs") == 3


def test_what_lies_there_from_another_version_is_replaced(finish, tmp_path):
    _, client, run = finish()
    (run / "submission.csv").write_text("id,label\nold,1\n")
    download_output(client, run, tmp_path / "runs")
    assert len(read_rows(run / "submission.csv")) == 16


def test_an_output_fetched_by_hand_is_checked_too(finish, tmp_path):
    _, client, run = finish("other")
    words = ["-m", "kaggle", "kernels", "output", "sandbox/pcam-demo", "-p", run]
    result = run_python(words)
    assert result.returncode == 0, result.stderr
    assert (run / "submission.csv").exists()
    with pytest.raises(KaggleError, match="from another run"):
        download_output(client, run, tmp_path / "runs")
