"""Submitting: checked first, sent once, scored or explained."""

import threading

import pytest
from conftest import SLUG, run_python

from kernel.locks import locked
from kernel.records import PushRecord, ResultRecord, SubmissionRecord, read_record, write_record
from kernel.remote import once, versions
from kernel.remote import scores as scores_module
from kernel.remote.client import Client
from kernel.remote.errors import KaggleError
from kernel.remote.once import Undecided
from kernel.remote.output import download_output
from kernel.remote.push import push_kernel
from kernel.remote.scores import fetch_scores
from kernel.remote.submit import send_submission, submit_predictions
from kernel.sandbox.faults import Fault


@pytest.fixture
def finish(tmp_path, open_sandbox, monkeypatch):
    """A function that pushes a kernel and fetches its output: sandbox, client, run."""
    monkeypatch.setattr(scores_module, "POLL_SECONDS", 1)

    def finish_one(mode="ok", **options):
        sandbox = open_sandbox(mode, **options)
        client = Client()
        run = push_kernel(client, "demo", runs=tmp_path / "runs")
        sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
        download_output(client, run, tmp_path / "runs")
        return sandbox, client, run

    return finish_one


@pytest.fixture
def submit(tmp_path):
    """`submit_predictions` in the test's own folder of runs."""

    def submit_run(client, run, message=None):
        return submit_predictions(client, run, message, tmp_path / "runs")

    return submit_run


def list_sent(sandbox):
    return sandbox.service.state["submissions"]


def test_a_run_is_submitted_with_a_telling_message_and_scored(finish, submit):
    sandbox, client, run = finish()
    assert submit(client, run) == 1
    (sent,) = list_sent(sandbox)
    build_id = read_record(run, PushRecord).build_id
    assert sent["description"] == f"demo 3x flip cv=0.9731 build={build_id}"
    content = (sandbox.service.folder / "submissions" / "1.csv").read_bytes()
    assert content == (run / "submission.csv").read_bytes()
    scores = fetch_scores(client, run)
    assert scores.public_score == f"{sent['scores']['Public']:.4f}"
    assert scores.private_score == "" and scores.team == "sandbox"
    assert read_record(run, SubmissionRecord) == scores


def test_the_same_submission_again_finds_the_first(finish, submit):
    sandbox, client, run = finish()
    submit(client, run)
    record = read_record(run, SubmissionRecord)
    assert submit(client, run, "another text") == 1
    (run / "submit.json").unlink()  # as after Ctrl-C between the two
    assert submit(client, run) == 1
    assert len(list_sent(sandbox)) == 1
    assert read_record(run, SubmissionRecord).message == record.message


def test_a_message_of_one_s_own_carries_the_build(finish, submit):
    sandbox, client, run = finish()
    submit(client, run, "my best")
    build_id = read_record(run, PushRecord).build_id
    assert list_sent(sandbox)[0]["description"] == f"my best build={build_id}"
    with pytest.raises(ValueError, match="--message: expected at most 500"):
        submit(client, run, "x" * 500)


@pytest.mark.parametrize(
    "fault",
    [Fault(500, after=True), Fault(drop=True, after=True), Fault(hang=4, after=True)],
    ids=["500", "drop", "hang"],
)
def test_a_lost_answer_is_resolved_by_looking(finish, submit, fault):
    sandbox, client, run = finish()
    sandbox.script("CreateSubmission", fault)
    assert submit(client, run) == 1
    assert len(list_sent(sandbox)) == 1 == sandbox.calls.count("CreateSubmission")


def test_an_answer_that_was_lost_without_a_submission_is_for_the_user_to_decide(finish, submit):
    sandbox, client, run = finish()
    sandbox.script("CreateSubmission", Fault(drop=True))
    words = "a submission whose description has build=.*Try: look at .*--send-anyway"
    for _ in range(2):
        with pytest.raises(Undecided, match=words):
            submit(client, run)
    assert sandbox.calls.count("CreateSubmission") == 1
    assert submit_predictions(client, run, runs=run.parent, send_anyway=True) == 1
    assert submit(client, run) == 1 == len(list_sent(sandbox))


def test_a_submission_that_arrives_late_is_waited_for_by_the_next_command(
    finish, submit, monkeypatch
):
    sandbox, client, run = finish()
    monkeypatch.setattr(versions, "SHOW_SECONDS", 500)
    sandbox.script("CreateSubmission", Fault(wait=3))

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(once, "wait_until_shown", interrupt)
        submit(client, run, "the first")
    assert list_sent(sandbox) == [] and read_record(run, SubmissionRecord) is None
    assert submit(client, run, "the second") == 1
    (sent,) = list_sent(sandbox)
    assert sandbox.calls.count("CreateSubmission") == 1
    assert read_record(run, SubmissionRecord).message == sent["description"]
    assert sent["description"].startswith("the first")


def test_two_runs_of_one_build_submit_it_once(open_sandbox, submit, tmp_path):
    sandbox, client = open_sandbox("late"), Client()
    pushed = []
    for number in (1, 2):  # the first one has failed with its results whole
        pushed.append(push_kernel(client, "demo", runs=tmp_path / "runs"))
        sandbox.service.sessions["sandbox/pcam-demo", number].thread.join()
        download_output(client, pushed[-1], tmp_path / "runs")
    first, second = pushed
    sandbox.script("ListSubmissions", Fault(200, {"submissions": []}, times=-1))
    assert submit(client, first) == 1 == submit(client, second)
    assert len(list_sent(sandbox)) == 1
    assert read_record(second, SubmissionRecord).submission == 1


def test_a_description_that_mentions_a_build_is_not_taken_for_it(finish, submit):
    sandbox, client, run = finish()
    build = f"build={read_record(run, PushRecord).build_id}"
    note = run.parent / ".sending" / "hand.json"
    for i, text in enumerate((f"not {build}, all zeros", f"{build}-0123456789", f"x{build}")):
        path = run / "submission.csv"
        send_submission(client, path, text, f"other{i}", note, run.parent, print)
    assert submit(client, run, f"better than {build}?") == 4
    assert list_sent(sandbox)[-1]["description"] == f"better than {build}? {build}"


def test_a_list_that_is_out_of_date_sends_nothing_again(finish, submit):
    sandbox, client, run = finish()
    submit(client, run)
    nothing = Fault(200, {"submissions": []}, times=-1)
    not_found = Fault(404, {"code": 404, "message": "Not found"}, times=-1)
    sandbox.script("ListSubmissions", nothing)
    sandbox.script("GetSubmission", not_found)
    assert submit(client, run) == 1 == len(list_sent(sandbox))


def test_a_list_that_is_out_of_date_after_a_lost_answer_is_waited_for(finish, submit, monkeypatch):
    sandbox, client, run = finish()
    monkeypatch.setattr(versions, "SHOW_SECONDS", 500)
    nothing = Fault(200, {"submissions": []}, times=5)
    sandbox.script("ListSubmissions", nothing)
    sandbox.script("CreateSubmission", Fault(drop=True, after=True))
    assert submit(client, run) == 1 == len(list_sent(sandbox))


@pytest.mark.parametrize("content", [b"<html>log in</html>", b"", b"id,label\nabc", b"\xff\0"])
def test_a_sample_that_is_damaged_is_downloaded_again(finish, submit, content):
    sandbox, client, run = finish()
    (run / "sample_submission.csv").write_bytes(content)
    assert submit(client, run) == 1
    data = sandbox.service.data / "sample_submission.csv"
    assert (run / "sample_submission.csv").read_bytes() == data.read_bytes()


def test_a_web_page_is_never_kept_as_the_sample(finish, submit):
    sandbox, client, run = finish()
    page = Fault(200, "<!doctype html><html>log in</html>", {"Content-Type": "text/html"}, times=-1)
    sandbox.script("data", page)
    with pytest.raises(OSError, match="sample_submission.csv"):
        submit(client, run)
    assert not (run / "sample_submission.csv").exists()
    sandbox.faults.clear()
    assert submit(client, run) == 1


def test_an_upload_that_breaks_is_repeated_and_whole(finish, submit):
    sandbox, client, run = finish()
    sandbox.script("upload", Fault(drop=True), Fault(503))
    assert submit(client, run) == 1
    content = (sandbox.service.folder / "submissions" / "1.csv").read_bytes()
    assert content == (run / "submission.csv").read_bytes()


def test_an_upload_that_is_refused_sends_nothing(finish, submit):
    sandbox, client, run = finish()
    sandbox.script("upload", Fault(403, "<html>expired</html>"))
    with pytest.raises(KaggleError, match="the upload of submission.csv: HTTP 403"):
        submit(client, run)
    assert list_sent(sandbox) == [] and "CreateSubmission" not in sandbox.calls


def test_a_truncated_submission_is_stopped_here(finish, submit):
    sandbox, client, run = finish("truncated")
    with pytest.raises(ValueError, match=r"submission\.csv: .*13 rows for 16, 3 miss"):
        submit(client, run)
    assert "StartSubmissionUpload" not in sandbox.calls


@pytest.mark.parametrize("content", ["", "id,label\n\0,\xff", "<html>"])
def test_a_submission_that_is_no_table_is_named(finish, submit, content):
    _, client, run = finish("schema2")
    (run / "submission.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"submission\.csv"):
        submit(client, run)


def test_a_submission_that_was_changed_since_is_not_submitted(finish, submit):
    sandbox, client, run = finish()
    path = run / "submission.csv"
    path.write_text(path.read_text().replace("0.", "0.0"))
    with pytest.raises(KaggleError, match=r"submission\.csv was changed.*Try: .*output"):
        submit(client, run)
    assert list_sent(sandbox) == []
    download_output(client, run, run.parent)
    assert submit(client, run) == 1


def test_the_whole_run_is_submitted_after_the_unfinished_one_of_the_same_build(finish, submit):
    sandbox, client, run = finish("first")
    assert submit(client, run) == 1 == submit(client, run, "again")
    sandbox.service.python = (*sandbox.service.python[:2], "networks")
    whole = push_kernel(client, "demo", runs=run.parent)
    sandbox.service.sessions["sandbox/pcam-demo", 2].thread.join()
    download_output(client, whole, run.parent)
    assert submit(client, whole) == 2 == submit(client, whole)
    assert submit(client, run) == 1
    first, second = (kept["description"] for kept in list_sent(sandbox))
    build = f"build={read_record(run, PushRecord).build_id}"
    assert second == f"demo 3x flip cv=0.9731 {build}"
    assert first.startswith(f"demo 3x flip unfinished cv=0.9731 {build}-")


def test_a_run_without_its_output_is_refused(finish, submit):
    _, client, run = finish()
    (run / "run.json").unlink()
    with pytest.raises(KaggleError, match=r"run\.json is not there.*build.py output"):
        submit(client, run)


def test_the_output_of_another_build_is_never_submitted(finish, submit):
    sandbox, client, run = finish()
    files = ("submission.csv",)
    write_record(run, ResultRecord(build_id="0123456789", files=files))
    with pytest.raises(KaggleError, match="of another build"):
        submit(client, run)
    assert list_sent(sandbox) == []


@pytest.mark.parametrize(
    "method, fault, words",
    [
        ("GetCompetition", {"submissionsDisabled": True}, "no longer accepts submissions"),
        ("GetSubmissionLimits", {"numAllowedNow": 0, "numToday": 5}, "5 were made"),
        ("GetCompetition", {"userHasEntered": False}, "has not joined.*accept them at .*/rules"),
    ],
)
def test_what_is_not_allowed_is_said_before_anything_is_sent(finish, submit, method, fault, words):
    sandbox, client, run = finish()
    sandbox.script(method, Fault(patch=fault))
    with pytest.raises(KaggleError, match=words):
        submit(client, run)
    assert list_sent(sandbox) == [] and "StartSubmissionUpload" not in sandbox.calls


@pytest.mark.parametrize("message", ["Too late", "Your submission was received", None])
def test_an_answer_without_a_number_that_made_nothing_is_undecided(finish, submit, capsys, message):
    sandbox, client, run = finish()
    sandbox.script("CreateSubmission", Fault(200, {"ref": 0, "message": message}))
    with pytest.raises(Undecided, match="--send-anyway"):
        submit(client, run)
    assert f"no number: {message}" in capsys.readouterr().out or message is None
    assert submit_predictions(client, run, runs=run.parent, send_anyway=True) == 1
    assert len(list_sent(sandbox)) == 1


def test_an_earlier_submission_that_failed_is_not_taken_for_the_lost_one(finish, submit):
    sandbox, client, run = finish()
    submit(client, run)
    list_sent(sandbox)[0].update(scores={}, errorDescription="out of order")
    with pytest.raises(KaggleError, match="ended in an error"):
        fetch_scores(client, run)
    empty = Fault(200, {"submissions": []}, times=2)  # before it is sent
    sandbox.script("ListSubmissions", empty)
    sandbox.script("CreateSubmission", Fault(drop=True, after=True))
    assert submit(client, run) == 2 == len(list_sent(sandbox))


def test_an_answer_without_a_number_is_searched_for(finish, submit):
    sandbox, client, run = finish()
    sandbox.script("CreateSubmission", Fault(patch={"ref": None}))
    assert submit(client, run) == 1 == len(list_sent(sandbox))


def test_a_submission_that_changes_while_the_command_waits_is_refused(finish, submit):
    sandbox, client, run = finish()
    refused = []

    def submit_here():
        with pytest.raises(KaggleError, match="was changed") as error:
            submit(client, run)
        refused.append(error)

    with locked(run.parent, run.name):
        thread = threading.Thread(target=submit_here)
        thread.start()
        path = run / "submission.csv"
        path.write_text(path.read_text().replace("0.", "0.0"))
    thread.join()
    assert refused and list_sent(sandbox) == []


def test_the_daily_limit_is_real(finish, submit):
    sandbox, client, run = finish()
    for i in range(5):
        path, note = run / "submission.csv", run.parent / ".sending" / f"{i}.json"
        send_submission(client, path, f"by hand {i}", "0123456789", note, run.parent, print)
    with pytest.raises(KaggleError, match="no submission is left today: 5 were made"):
        submit(client, run)
    assert len(list_sent(sandbox)) == 5


def test_a_score_that_comes_late_is_waited_for(finish, submit):
    sandbox, client, run = finish()
    submit(client, run)
    not_found = Fault(404, {"code": 404, "message": "Not found"})
    hidden = {"status": "PENDING", "publicScore": ""}
    sandbox.script("GetSubmission", not_found, Fault(patch=hidden, times=3))
    assert float(fetch_scores(client, run).public_score) >= 0
    assert sandbox.calls.count("GetSubmission") == 5


def test_a_score_that_does_not_come_is_given_up(finish, submit, monkeypatch):
    sandbox, client, run = finish()
    submit(client, run)
    monkeypatch.setattr(scores_module, "SCORE_SECONDS", 0.3)
    sandbox.script("GetSubmission", Fault(patch={"status": "PENDING"}, times=-1))
    with pytest.raises(KaggleError, match="has no score after.*It was not lost"):
        fetch_scores(client, run)


def test_a_submission_that_ends_in_an_error_is_explained_and_may_be_repeated(finish, submit):
    sandbox, client, run = finish()
    good = (run / "submission.csv").read_text()
    # Passes our check, for the sample is broken in the same way; the service refuses.
    sandbox.service.judge.solution = sandbox.service.judge.solution.iloc[1:]
    submit(client, run)
    with pytest.raises(KaggleError, match=r"ended in an error: Submission must have 15"):
        fetch_scores(client, run)
    sandbox.service.judge = type(sandbox.service.judge)(
        sandbox.service.data.parents[2] / "solution.csv"
    )
    assert submit(client, run) == 2 and (run / "submission.csv").read_text() == good


def test_scores_of_what_was_not_submitted(finish):
    _, client, run = finish()
    with pytest.raises(KaggleError, match="was not submitted"):
        fetch_scores(client, run)


def test_an_own_submission_on_a_later_page_is_found(finish, submit):
    sandbox, client, run = finish()
    submit(client, run)
    first = list_sent(sandbox)[0]
    others = [{**first, "ref": n, "description": "other"} for n in range(2, 500)]
    list_sent(sandbox).extend(others)
    (run / "submit.json").unlink()
    assert submit(client, run) == 1
    assert sandbox.calls.count("ListSubmissions") >= 4


def test_two_commands_at_once_send_one(finish, tmp_path):
    sandbox, client, run = finish()
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(submit_predictions(Client(), run, runs=tmp_path / "runs"))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1] and len(list_sent(sandbox)) == 1


def test_the_official_command_line_submits_the_same_file(finish):
    sandbox, _, run = finish()
    words = ["-m", "kaggle", "competitions", "submit", SLUG, "-m", "by hand"]
    result = run_python([*words, "-f", run / "submission.csv"])
    assert result.returncode == 0, result.stderr
    (sent,) = list_sent(sandbox)
    assert sent["description"] == "by hand" and sent["scores"]
