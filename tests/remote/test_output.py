"""The output: complete or not at all, from the code that was pushed."""

import json
import shutil

import pytest
from conftest import read_rows, run_python

from kernel.records import PushRecord, ResultRecord, StatusRecord, read_record
from kernel.remote.client import Client
from kernel.remote.errors import KaggleError
from kernel.remote.output import can_save, download_output, place_file
from kernel.remote.push import push_kernel
from kernel.remote.submit import submit_predictions
from kernel.remote.watch import wait_for_kernel
from kernel.sandbox.faults import Fault
from pcam_kaggle.system.provenance import compute_build_id


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


WHOLE = {"push.json", "status.json", "run.json", "submission.csv", "kernel.log"}
NOTHING = {"push.json", "status.json"}  # what a download that fails leaves


def list_names(run):
    """The names in a folder but the page and the folder that the next attempt resumes."""
    return {path.name for path in run.iterdir()} - {"partial-output", f"{run.name}.py"}


def test_all_files_come_and_the_log(finish, tmp_path):
    _, client, run = finish()
    assert download_output(client, run, tmp_path / "runs") == 3
    assert list_names(run) == WHOLE
    assert len(read_rows(run / "submission.csv")) == 16
    build_id = read_record(run, PushRecord).build_id
    assert json.loads((run / "run.json").read_text())["build_id"] == build_id
    assert compute_build_id((run / f"{run.name}.py").read_text("utf-8")) == build_id
    assert "epoch  1/1" in (run / "kernel.log").read_text()


def test_a_study_comes_without_a_submission_and_is_not_submitted(finish, tmp_path):
    _, client, run = finish("study")
    assert download_output(client, run, tmp_path / "runs") == 3
    assert list_names(run) == WHOLE - {"submission.csv"} | {"study.csv"}
    with pytest.raises(KaggleError, match="a study, an exploration or smoke submits nothing"):
        submit_predictions(client, run, runs=tmp_path / "runs")


@pytest.mark.parametrize("schema", [1, 2])
def test_the_output_of_an_older_version_of_the_package_is_taken(finish, tmp_path, schema):
    sandbox, client, run = finish(f"schema{schema}")
    assert download_output(client, run, tmp_path / "runs") == 3
    record = read_record(run, ResultRecord)
    assert (record.schema, record.recipe) == (schema, "demo")
    assert record.files == ("submission.csv",) and "recipe" not in record.settings
    assert record.manifest is None and record.complete
    assert submit_predictions(client, run, runs=tmp_path / "runs") == 1
    assert download_output(client, run, tmp_path / "runs") == 0


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
    with pytest.raises(KaggleError, match="of another build.*build 0123456789"):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == NOTHING


@pytest.mark.parametrize(
    "mode, words",
    [
        ("none", "v1 lacks submission.csv. Expected"),
        ("fail", r"v1 failed: Your notebook .*lacks run.json: no network was finished"),
        ("damaged", r"v1 differs from run.json in submission.csv"),
    ],
)
def test_what_is_missing_or_damaged_is_named(finish, tmp_path, mode, words):
    _, client, run = finish(mode)
    with pytest.raises(KaggleError, match=words):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == NOTHING


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "a/../../evil", "..\\evil", "C:\\evil", "C:evil"]
)
def test_a_name_that_leaves_the_folder_is_refused(finish, tmp_path, name):
    sandbox, client, run = finish()
    files = [{"fileName": name, "url": "http://127.0.0.1/"}]
    sandbox.script("ListKernelSessionOutput", Fault(patch={"files": files}))
    with pytest.raises(KaggleError, match="outside its folder"):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == NOTHING
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("name", ["../push.json", "/tmp/x", "C:\\x"])
def test_a_manifest_that_names_files_outside_moves_nothing(finish, name):
    sandbox, client, run = finish()
    path = sandbox.service.folder / "kernels/sandbox/pcam-demo/v1/working/run.json"
    content = json.loads(path.read_text())
    for files in ({**content["files"], name: None}, [*content["files"], name]):
        path.write_text(json.dumps({**content, "files": files}))
        with pytest.raises(KaggleError, match="outside its folder"):
            fetch(client, run)
    assert list_names(run) == NOTHING
    assert list_names(run.parent) == {run.name, ".locks", ".sending"}


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"submission.csv": 5}},
        {"files": {"submission.csv": {"size": "12", "sha256": None}}},
        {"files": [1, None]},
        {"not_trained": [1]},
        {"settings": 3},
        {"oof_auc": "high"},
    ],
    ids=str,
)
def test_a_run_json_of_another_form_is_named(finish, change):
    sandbox, client, run = finish()
    path = sandbox.service.folder / "kernels/sandbox/pcam-demo/v1/working/run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(KaggleError, match="expected the run.json of a kernel"):
        fetch(client, run)


def test_names_that_cannot_be_saved_are_left_out(finish):
    sandbox, client, run = finish()
    files = client.call(
        "kernels", "list_kernel_session_output", user_name="sandbox", kernel_slug="pcam-demo"
    ).files
    listed = [{"fileName": file.file_name, "url": file.url} for file in files]
    url = listed[0]["url"]
    odd = ["a\0b", "x" * 300, "submit.json/x", "run.json/x", "partial-output/x", "push.json"]
    odd += ["a/b", "a"]
    listed += [{"fileName": name, "url": url} for name in odd]
    sandbox.script("ListKernelSessionOutput", Fault(patch={"files": listed}))
    num_files, text = fetch(client, run)
    assert num_files == 3 + 5 and text.count("cannot be saved") == 3
    assert not list(run.rglob("partial-*"))
    assert {"kernel-submit.json", "kernel-push.json", "kernel-run.json"} < list_names(run)
    assert submit_predictions(client, run, runs=run.parent) == 1


@pytest.mark.parametrize("name", ["aux", "a/COM1.txt", "nul .csv", "a:b", "what?", "a./b", "b "])
def test_names_that_windows_reserves_are_left_out_there(name):
    assert not can_save(name, on_windows=True)
    assert can_save(name, on_windows=False)
    assert can_save(f"folds/fold0.{name[0]}.console", on_windows=True)


def test_folders_of_either_system_are_kept(tmp_path):
    expected = tmp_path / "folds" / "fold0.npz"
    assert place_file(tmp_path, "folds/fold0.npz") == expected
    assert place_file(tmp_path, "folds\\fold0.npz") == expected


@pytest.mark.parametrize(
    "fault", [Fault(cut=10), Fault(drop=True), Fault(503)], ids=["cut", "drop", "503"]
)
def test_a_download_that_breaks_is_resumed(finish, tmp_path, fault):
    sandbox, client, run = finish()
    sandbox.script("file", fault)
    assert download_output(client, run, tmp_path / "runs") == 3
    assert len(read_rows(run / "submission.csv")) == 16


def test_a_file_that_cannot_be_had_leaves_nothing_and_can_be_had_later(finish, tmp_path):
    sandbox, client, run = finish()
    sandbox.script("file", Fault(403, "<html>expired</html>", times=3))
    with pytest.raises(KaggleError, match="the download of .*403"):
        download_output(client, run, tmp_path / "runs")
    assert list_names(run) == NOTHING
    assert download_output(client, run, tmp_path / "runs") == 3


def test_an_expired_url_asks_for_a_new_listing(finish):
    sandbox, client, run = finish("networks")
    sandbox.script("file", Fault(403, "<html>expired</html>"))
    num_files, text = fetch(client, run)
    assert num_files == 9 and "HTTP 403" in text and "Trying again" in text
    assert sandbox.calls.count("ListKernelSessionOutput") == 2 + 1  # and the log


def test_a_listing_that_lacks_files_is_asked_for_again(finish):
    sandbox, client, run = finish("networks")
    sandbox.script("ListKernelSessionOutput", Fault(patch={"files": []}))
    num_files, text = fetch(client, run)
    assert num_files == 9 and "lacks run.json" in text


@pytest.mark.parametrize("content", ["<!doctype html>", "{}", '{"build_id": 3}', ""])
def test_a_folder_with_a_damaged_run_json_is_repaired(finish, content):
    _, client, run = finish("networks")
    fetch(client, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (run / "run.json").write_text(content)
    (run / "submission.csv").write_text("<html>log in</html>")
    (run / "folds" / "fold2_seed2.keras").unlink()
    assert fetch(client, run)[0] == 4
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    after.pop(run / "status.json"), before.pop(run / "status.json")
    assert after == before


def test_what_a_failed_download_has_got_is_not_downloaded_again(finish):
    sandbox, client, run = finish("networks")
    path = sandbox.service.folder / "kernels/sandbox/pcam-demo/v1/working/submission.csv"
    content = path.read_bytes()
    path.write_bytes(b"cut")
    with pytest.raises(KaggleError, match="differs from run.json in submission.csv"):
        fetch(client, run)
    path.write_bytes(content)
    files = sandbox.calls.count("file")
    assert fetch(client, run)[0] == 9
    assert sandbox.calls.count("file") == files + 2  # run.json and that one
    assert not list(run.rglob("partial*"))


def test_a_kernel_s_files_never_replace_our_records(finish):
    sandbox, client, run = finish()
    before = {path: path.read_bytes() for path in run.glob("push.json")}
    working = sandbox.service.folder / "kernels/sandbox/pcam-demo/v1/working"
    names = ("push.json", "submit.json", "Status.json", "sample_submission.csv", "kernel.log")
    for name in names:
        (working / name).write_text("of the kernel")
    num_files, text = fetch(client, run)
    assert num_files == 3 + len(names)
    assert before == {path: path.read_bytes() for path in run.glob("push.json")}
    for name in names:
        assert (run / f"kernel-{name}").read_text() == "of the kernel"
        assert f"{name} of the kernel is saved as kernel-{name}" in text
    assert submit_predictions(client, run, runs=run.parent) == 1


def test_a_disk_without_space_is_named_before_the_download(finish, monkeypatch):
    sandbox, client, run = finish("networks")
    usage = shutil.disk_usage(run)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(KaggleError, match=r"expected 0\.0 GB of free disk space for 7 files"):
        fetch(client, run)
    assert sandbox.calls.count("file") == 1


@pytest.mark.parametrize(
    "entry",
    [
        '{"stream_name": "stdout", "time": 1, "data": null}',
        *("7", '{"data": "\\ud800"}', "null", '{"data": {"a": [1]}}', "[" * 100_000),
    ],
    ids=["null data", "a number", "a surrogate", "null", "an object", "too deep"],
)
def test_an_odd_log_entry_does_not_lock_up_a_run(finish, entry):
    sandbox, client, run = finish()
    log = f'[{{"stream_name": "stdout", "time": 1, "data": "before\\n"}}, {entry}]'
    sandbox.script("ListKernelSessionOutput", Fault(patch={"log": log}, times=-1))
    assert wait_for_kernel(client, run) == "COMPLETE"
    assert fetch(client, run)[0] == 3
    assert "before" in (run / "kernel.log").read_text("utf-8")
    assert submit_predictions(client, run, runs=run.parent) == 1


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
    with pytest.raises(KaggleError, match="of another build"):
        download_output(client, run, tmp_path / "runs")


def fetch(client, run, only=()):
    """Download in the test's own folder of runs; the number of files and the lines said."""
    lines = []
    return download_output(client, run, run.parent, only, lines.append), "\n".join(lines)


FIRST = {"fold0_seed0.npz", "fold0_seed0.keras", "checkpoint_fold1_seed1.npz"}


def test_what_a_failed_version_left_is_fetched_and_said(finish):
    sandbox, client, run = finish("first")
    num_files, text = fetch(client, run)
    assert num_files == 6 and list_names(run) == WHOLE | {"folds"}
    assert list_names(run / "folds") == FIRST  # without what it was writing
    assert "sandbox/pcam-demo v1 failed: Your notebook failed with exit code 1" in text
    assert "not trained  fold 1 seed 1, fold 2 seed 2; push --resume" in text
    assert read_record(run, StatusRecord).state == "ERROR"
    assert submit_predictions(client, run, runs=run.parent) == 1
    (sent,) = sandbox.service.state["submissions"]
    assert " unfinished cv=0.9731 build=" in sent["description"] and sent["scores"]


@pytest.mark.parametrize("end", ["timeout", "cancel"])
def test_what_a_stopped_version_left_is_fetched(open_sandbox, tmp_path, end):
    sandbox = open_sandbox("first-slow")
    client = Client()
    run = push_kernel(client, "demo", runs=tmp_path / "runs")
    with pytest.raises(KaggleError, match="v1 is (RUNNING|QUEUED). Expected: a version that"):
        fetch(client, run)
    session = sandbox.service.sessions["sandbox/pcam-demo", 1]
    while not any("AUC" in entry["data"] for entry in session.log):
        session.thread.join(0.02)
    if end == "cancel":
        session.stop()
        words = "v1 was cancelled"
    else:  # as after twelve hours
        session.stop()
        session.status, session.failure = "ERROR", "Timeout Exceeded"
        words = "v1 failed: Timeout Exceeded"
    num_files, text = fetch(client, run)
    assert num_files == 6 and words in text and "not trained  fold 1 seed 1" in text


def test_an_unfinished_output_is_fetched_anew(finish, tmp_path):
    sandbox, client, run = finish("first")
    fetch(client, run)
    (run / "submission.csv").write_text("id,label\n")
    (run / "folds" / "fold0_seed0.npz").unlink()
    assert fetch(client, run)[0] == 5  # the folder holds the other network already
    assert len(read_rows(run / "submission.csv")) == 16
    assert list_names(run / "folds") == FIRST
    sandbox.service.python = (*sandbox.service.python[:2], "networks")
    before = (run / "run.json").read_bytes()
    again = push_kernel(client, "demo", runs=run.parent)
    assert again == run.with_name(f"{run.name}-v2") and list_names(again) == {"push.json"}
    sandbox.service.sessions["sandbox/pcam-demo", 2].thread.join()
    num_files, text = fetch(client, again)
    assert num_files == 9 and text == ""
    assert read_record(again, ResultRecord).complete
    assert fetch(client, again)[0] == 0
    assert (run / "run.json").read_bytes() == before


def test_a_late_failure_loses_nothing(finish):
    _, client, run = finish("late")
    num_files, text = fetch(client, run)
    assert num_files == 3 and text.endswith("its results are whole")
    assert fetch(client, run)[0] == 0
    assert submit_predictions(client, run, runs=run.parent) == 1


def test_a_submission_newer_than_the_manifest_is_taken_if_it_is_valid(finish):
    sandbox, client, run = finish("newer")
    _, text = fetch(client, run)
    assert "newer than run.json, because the run ended between the two: submission.csv" in text
    assert {label for _, label in read_rows(run / "submission.csv")} == {"0.5"}
    assert submit_predictions(client, run, runs=run.parent) == 1


@pytest.mark.parametrize("text", ["", "id,label\na,2\n", "id,x\na,0.5\n", "\0\n\0,\0"])
def test_a_newer_submission_that_is_not_valid_is_refused(finish, tmp_path, text):
    _, client, run = finish("newer")
    path = tmp_path / "sandbox/kernels/sandbox/pcam-demo/v1/working/submission.csv"
    path.write_text(text)
    with pytest.raises(KaggleError, match=r"differs from run.json in submission.csv"):
        fetch(client, run)
    assert list_names(run) == NOTHING


def test_a_network_that_differs_from_the_manifest_is_refused_of_any_run(finish, tmp_path):
    _, client, run = finish("first")
    path = tmp_path / "sandbox/kernels/sandbox/pcam-demo/v1/working/folds/fold0_seed0.keras"
    path.write_text("flipped")
    with pytest.raises(KaggleError, match=r"differs from run.json in folds/fold0_seed0.keras"):
        fetch(client, run)
    assert list_names(run) == NOTHING


def test_a_damaged_file_of_a_finished_run_is_fetched_again(finish):
    sandbox, client, run = finish("networks")
    assert fetch(client, run)[0] == 9
    path = run / "folds" / "fold1_seed1.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")  # of the same size
    files = sandbox.calls.count("file")
    assert fetch(client, run)[0] == 3 and path.read_bytes() == content
    assert sandbox.calls.count("file") == files + 2  # run.json and that one


def test_only_what_matches_is_fetched_and_the_rest_later(finish):
    sandbox, client, run = finish("networks")
    num_files, text = fetch(client, run, ["*.csv"])
    assert num_files == 2
    assert list_names(run) == NOTHING | {"run.json", "submission.csv"}
    assert "left out     6 files: folds/fold0_seed0.keras, folds/fold0_seed0.npz" in text
    assert "output without --only downloads them" in text
    assert submit_predictions(client, run, runs=run.parent) == 1
    assert fetch(client, run, ["*.npz", "*.log"])[0] == 4
    assert list_names(run / "folds") == {f"fold{n}_seed{n}.npz" for n in range(3)}
    files = sandbox.calls.count("file")
    assert fetch(client, run)[0] == 5  # three .keras, run.json and the log
    assert sandbox.calls.count("file") == files + 4
    assert fetch(client, run)[0] == 0 == fetch(client, run, ["*.csv"])[0]


def test_a_pattern_that_matches_nothing_says_what_there_is(finish):
    _, client, run = finish("networks")
    words = r"--only: expected.*Received: \*\.zip.*has: folds/fold0_seed0.keras, .*submission.csv"
    with pytest.raises(KaggleError, match=words):
        fetch(client, run, ["*.zip"])
    assert list_names(run) == NOTHING
    assert fetch(client, run, ["run.json"])[0] == 1
