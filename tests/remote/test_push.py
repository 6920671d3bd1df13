"""Pushing: sent once, refused in plain words, recorded."""

import contextlib
import dataclasses
import json
import shutil
import sys
import threading

import pytest
from conftest import read_rows, run_python, write_rows

import build
from kernel.bundle.metadata import write_kernel
from kernel.bundle.page import bundle_kernel
from kernel.bundle.recipes import list_recipes, needs_gpu, read_recipe
from kernel.facts.measurements import find_gpu_hours
from kernel.folders import ROOT
from kernel.records import PushRecord, read_record
from kernel.remote import push as push_module
from kernel.remote import transport
from kernel.remote.client import Client
from kernel.remote.datasets import publish_files
from kernel.remote.errors import KaggleError
from kernel.remote.once import Undecided, wait_until_shown
from kernel.remote.output import download_output
from kernel.remote.push import push_kernel
from kernel.remote.quota import expect_hours
from kernel.remote.scores import fetch_scores
from kernel.remote.submit import submit_predictions
from kernel.remote.versions import find_kernel, read_overrides
from kernel.remote.watch import wait_for_kernel
from kernel.runs import find_run
from kernel.sandbox.faults import Fault
from pcam_kaggle.system.files import read_json

SLOW_DOWN = Fault(429, {"code": 429, "message": "slow"}, {"Retry-After": "0"})


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def count_pushes(sandbox):
    return sandbox.calls.count("SaveKernel")


def list_versions(sandbox, slug="sandbox/pcam-demo"):
    return sandbox.service.state["kernels"].get(slug, {"versions": []})["versions"]


def wait_for(sandbox, ref="sandbox/pcam-demo", number=1):
    sandbox.service.sessions[ref, number].thread.join()


def test_a_push_sends_the_built_folder_and_records_it(sandbox, runs, capsys):
    run = push_kernel(Client(), "demo", {"epochs": 3}, runs=runs)
    bundle = bundle_kernel("demo", {"epochs": 3, "max_hours": 11.5})
    (version,) = list_versions(sandbox)
    assert version["request"]["text"] == bundle.source
    assert version["request"]["isPrivate"] is True
    assert version["request"]["machineShape"] == "NvidiaTeslaT4"
    assert version["request"]["sessionTimeoutSeconds"] == 12 * 3600
    record = read_record(run, PushRecord)
    assert run == runs / f"pcam-demo-{bundle.build_id}"
    assert record.version == 1 and record.build_id == bundle.build_id
    assert (record.kernel, record.settings) == ("sandbox/pcam-demo", {"epochs": 3})
    assert (record.timeout_hours, record.max_hours) == (12, 11.5)
    assert record.url.endswith("/code/sandbox/pcam-demo")
    assert len(record.commit) == 40 and record.dirty in (True, False)
    assert "30.0 of 30 h left this week" in capsys.readouterr().out


def test_some_folds_are_a_kernel_of_their_own(sandbox, runs, monkeypatch):
    monkeypatch.setattr(build, "RUNS", runs)
    for folds in ("0,1", "2"):
        assert build.main(["push", "demo", "epochs=3", f"folds={folds}"]) == 0
    kernels = {"sandbox/pcam-demo-folds-0-1": (0, 1), "sandbox/pcam-demo-folds-2": (2,)}
    assert set(sandbox.service.state["kernels"]) == set(kernels)
    for name, folds in kernels.items():
        (version,) = list_versions(sandbox, name)
        settings = {"epochs": 3, "folds": folds, "max_hours": 11.5}
        source = bundle_kernel("demo", settings).source
        assert version["request"]["text"] == source
        wait_for(sandbox, name)


def test_a_kernel_finds_the_slides_that_a_push_attaches(
    open_sandbox, competition, runs, monkeypatch
):
    monkeypatch.setattr(build, "RUNS", runs)
    sandbox = open_sandbox(python=(sys.executable,))
    client = Client()
    ids = [row[0] for row in read_rows(competition / "train_labels.csv")]
    table = runs / "patch_id_wsi_full.csv"
    runs.mkdir()
    slides = [f"camelyon16_train_normal_{n % 5:03}" for n in range(len(ids))]
    write_rows(table, zip(ids, slides), ("id", "wsi"))
    dataset = publish_files(client, [table], "wsi", "wsi", print)
    words = ["push", "explore", "--slides", dataset]
    assert build.main([*words, "--wait"]) == 0 == build.main(words)
    (version,) = list_versions(sandbox, "sandbox/pcam-explore")  # the second push found it
    assert version["request"]["datasetDataSources"] == [dataset]
    run = find_run(None, runs)
    assert read_record(run, PushRecord).dataset_sources == (dataset,)
    download_output(client, run, runs)
    assert read_json(run / "exploration.json")["slides"]["slides"] == 5
    assert build.main(["push", "explore", "--wait"]) == 0  # other inputs: another version
    assert len(list_versions(sandbox, "sandbox/pcam-explore")) == 2
    run = find_run(None, runs)
    download_output(client, run, runs)
    assert "slides" not in read_json(run / "exploration.json")


@pytest.mark.parametrize("dataset", ["wsi", "a/b/c", "https://www.kaggle.com/a/b", "/b", "a/b c"])
def test_a_name_that_is_no_dataset_is_refused(sandbox, dataset, capsys):
    with pytest.raises(SystemExit):
        build.main(["push", "demo", "--slides", dataset])
    assert f"expected OWNER/DATASET, the end of its address on Kaggle. Received: {dataset}" in (
        capsys.readouterr().err
    )
    assert count_pushes(sandbox) == 0


def test_a_dataset_that_is_not_there_is_refused(sandbox, runs):
    with pytest.raises(KaggleError, match="no/such, which is not there or is another user's"):
        push_kernel(Client(), "demo", runs=runs, slides="no/such")
    assert count_pushes(sandbox) == 0


@pytest.mark.parametrize(
    "names, slide_map, received",
    [
        (["other.csv"], "auto", "one CSV named patch_id_wsi.* with other.csv. Try: "),
        (["patch_id_wsi_full.zip"], "auto", "with patch_id_wsi_full.zip. Try: .* unpacked CSV"),
        (["slides.csv", "patch_id_wsi.csv"], "auto", "with patch_id_wsi.csv, slides.csv"),
        (["slides.csv"], "own.csv", "one CSV named own.csv.* with slides.csv"),
        (["slides.csv"], "none", "Received: --slides sandbox/wsi.* and slide_map=none"),
        (["slides.csv", "patch_id_wsi.csv"], "slides.csv", None),
    ],
)
def test_a_dataset_without_a_map_of_slides_is_refused(
    sandbox, runs, tmp_path, names, slide_map, received
):
    client, paths = Client(), [tmp_path / name for name in names]
    for path in paths:
        path.touch()
    dataset = publish_files(client, paths, "wsi-maps", "wsi maps", print)
    refused = pytest.raises(ValueError, match=received) if received else contextlib.nullcontext()
    with refused:
        push_kernel(client, "demo", {"slide_map": slide_map}, runs=runs, slides=dataset)
    assert count_pushes(sandbox) == (received is None)


def test_the_official_command_line_pushes_the_same_folder(sandbox):
    script, bundle = write_kernel("course_vgg16", {"epochs": 3})
    words = ["-m", "kaggle", "kernels", "push", "-p", script.parent]
    result = run_python(words)
    assert result.returncode == 0, result.stderr
    assert "successfully pushed" in result.stdout
    assert "warning" not in result.stdout.lower()
    (version,) = list_versions(sandbox, "sandbox/pcam-course-vgg16")
    assert version["request"]["text"] == bundle.source
    assert version["request"]["newTitle"] == "PCam course vgg16"


def test_the_same_push_again_finds_the_version(open_sandbox, runs, tmp_path):
    sandbox = open_sandbox("wait")
    client = Client()
    run = push_kernel(client, "demo", runs=runs)
    before = read_record(run, PushRecord)
    assert push_kernel(client, "demo", runs=runs) == run
    (tmp_path / "sandbox/kernels/sandbox/pcam-demo/v1/go").touch()
    wait_for(sandbox)
    push_kernel(client, "demo", runs=runs)
    after = read_record(run, PushRecord)
    assert count_pushes(sandbox) == 1 and after.requested > before.pushed
    assert dataclasses.replace(after, requested="") == before


def test_a_version_that_failed_is_pushed_again(open_sandbox, runs):
    sandbox = open_sandbox("fail")
    client = Client()
    push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    run = push_kernel(client, "demo", runs=runs)
    assert len(list_versions(sandbox)) == 2
    assert read_record(run, PushRecord).version == 2


def test_a_push_whose_record_was_lost_is_found_on_the_service(sandbox, runs):
    client = Client()
    run = push_kernel(client, "demo", runs=runs)
    (run / "push.json").unlink()
    push_kernel(client, "demo", runs=runs)
    assert count_pushes(sandbox) == 1 and read_record(run, PushRecord).version == 1


def test_other_settings_are_another_run(sandbox, runs):
    client = Client()
    first = push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    second = push_kernel(client, "demo", {"epochs": 9}, runs=runs)
    assert first != second and len(list_versions(sandbox)) == 2


@pytest.mark.parametrize(
    "fault",
    [Fault(500, after=True), Fault(drop=True, after=True), Fault(hang=4, after=True)],
    ids=["500", "drop", "hang"],
)
def test_a_lost_answer_is_resolved_by_looking(sandbox, runs, fault):
    sandbox.script("SaveKernel", fault)
    run = push_kernel(Client(), "demo", runs=runs)
    assert len(list_versions(sandbox)) == 1
    assert read_record(run, PushRecord).version == 1


@pytest.mark.parametrize("mode", ["ok", "fail"])
def test_an_answer_that_was_lost_without_a_new_version_is_for_the_user_to_decide(
    open_sandbox, runs, monkeypatch, capsys, mode
):
    monkeypatch.setattr(build, "RUNS", runs)
    sandbox = open_sandbox(mode)
    if mode == "fail":  # an older version has the same text
        assert build.main(["push", "demo"]) == 0
        wait_for(sandbox)
    before = len(list_versions(sandbox))
    sandbox.script("SaveKernel", Fault(drop=True))
    assert build.main(["push", "demo"]) == 75
    error = capsys.readouterr().err
    assert f"a version of sandbox/pcam-demo after version {before}. Try: look at " in error
    assert "--send-anyway" in error
    assert build.main(["push", "demo"]) == 75
    assert count_pushes(sandbox) == before + 1 and len(list_versions(sandbox)) == before
    assert build.main(["push", "demo", "--send-anyway"]) == 0
    assert len(list_versions(sandbox)) == before + 1
    assert not list((runs / ".sending").iterdir())


@pytest.mark.parametrize("other", [{}, {"epochs": 5}])
def test_a_push_that_arrives_late_is_waited_for_by_the_next_command(
    open_sandbox, runs, monkeypatch, other
):
    sandbox = open_sandbox("slow")
    monkeypatch.setattr("kernel.remote.versions.SHOW_SECONDS", 500)
    client = Client()
    sandbox.script("SaveKernel", Fault(wait=3))
    with pytest.raises(KaggleError):  # as after a kill half a second into the push
        monkeypatch.setattr("kernel.remote.once.wait_until_shown", interrupt)
        push_kernel(client, "demo", runs=runs)
    monkeypatch.setattr("kernel.remote.once.wait_until_shown", wait_until_shown)
    assert list_versions(sandbox) == []
    run = push_kernel(client, "demo", other, runs=runs)
    assert count_pushes(sandbox) == 1 + bool(other) == len(list_versions(sandbox))
    pushed = [read_record(path.parent, PushRecord) for path in runs.glob("*/push.json")]
    assert sorted(record.version for record in pushed) == list(range(1, 2 + bool(other)))
    assert read_record(run, PushRecord).settings == other
    assert push_kernel(client, "demo", runs=runs).name.startswith("pcam-demo-")
    assert count_pushes(sandbox) == 1 + bool(other)


def interrupt(*arguments):
    raise KaggleError("killed")


def test_a_version_made_by_hand_meanwhile_is_not_taken_for_ours(open_sandbox, runs):
    sandbox = open_sandbox("slow")
    client = Client()
    sandbox.script("SaveKernel", Fault(drop=True))
    with pytest.raises(KaggleError, match="--send-anyway"):
        push_kernel(client, "demo", runs=runs)
    save_by_hand(client, sandbox)
    with pytest.raises(KaggleError, match="--send-anyway"):
        push_kernel(client, "demo", runs=runs)


def save_by_hand(client, sandbox, text=""):
    """Save a version of the demo with another text, as Kaggle's editor does."""
    versions = list_versions(sandbox)
    text = text or f"# edited\n{versions[-1]['request']['text'] if versions else ''}"
    client.call(
        "kernels",
        "save_kernel",
        slug="sandbox/pcam-demo",
        new_title="PCam demo",
        text=text,
        language="python",
        kernel_type="script",
    )


def test_a_finished_build_is_found_after_pushes_of_others(sandbox, runs):
    client = Client()
    first = push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    download_output(client, first, runs)
    before = {path: path.read_bytes() for path in first.iterdir() if path.name != "push.json"}
    other = push_kernel(client, "demo", {"epochs": 3}, runs=runs)
    wait_for(sandbox, number=2)
    assert find_run(None, runs) == other
    save_by_hand(client, sandbox)
    wait_for(sandbox, number=3)
    assert push_kernel(client, "demo", runs=runs) == first
    assert len(list_versions(sandbox)) == 3
    assert before == {path: path.read_bytes() for path in before} and find_run(None, runs) == first
    shutil.rmtree(runs)  # as in another clone
    again = push_kernel(client, "demo", runs=runs)
    assert again == first and len(list_versions(sandbox)) == 3
    assert read_record(again, PushRecord).version == 1
    download_output(client, first, runs)
    assert submit_predictions(client, first, runs=runs) == 1


def test_a_push_that_was_recorded_before_the_kill_is_settled_without_the_service(
    open_sandbox, runs, monkeypatch
):
    sandbox = open_sandbox("slow")
    client = Client()
    nothing = answer_as_now(client)
    note = runs / ".sending" / "push-sandbox-sandbox-pcam-demo.json"
    kept = []
    original = push_module.send_once

    def keep_note(*words):
        made = original(*words)
        kept.append(note.read_bytes())
        return made

    monkeypatch.setattr(push_module, "send_once", keep_note)
    run = push_kernel(client, "demo", runs=runs)
    note.write_bytes(kept[0])  # as after a kill between the record and the removal
    sandbox.script("GetKernel", nothing)
    assert push_kernel(client, "demo", runs=runs) == run
    assert not note.exists() and count_pushes(sandbox) == 1


def answer_as_now(client):
    """A fault by which the service answers GetKernel later as it does now."""
    stored = find_kernel(client, "sandbox/pcam-demo")
    if stored is None:
        return Fault(403, {"code": 403, "message": "denied"})
    return Fault(200, stored.to_dict())


def test_a_stale_answer_is_waited_for_and_never_acted_on(open_sandbox, runs):
    sandbox = open_sandbox("slow")
    client = Client()
    nothing = answer_as_now(client)
    run = push_kernel(client, "demo", runs=runs)
    sandbox.script("GetKernel", nothing)
    assert push_kernel(client, "demo", runs=runs) == run
    earlier = answer_as_now(client)
    other = push_kernel(client, "demo", {"epochs": 3}, runs=runs)
    sandbox.script("GetKernel", earlier, earlier)
    assert push_kernel(client, "demo", {"epochs": 3}, runs=runs) == other
    assert len(list_versions(sandbox)) == 2 == count_pushes(sandbox)


def test_a_recorded_version_that_does_not_show_for_a_while_is_waited_for(sandbox, runs):
    client = Client()
    first = push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    push_kernel(client, "demo", {"epochs": 3}, runs=runs)
    wait_for(sandbox, number=2)
    denied = Fault(403, {"code": 403, "message": "denied"})
    sandbox.script("GetKernel", Fault(), denied, Fault(patch={"blob": None}))
    assert push_kernel(client, "demo", runs=runs) == first
    sandbox.script("GetKernel", Fault(), *[denied] * 100)
    with pytest.raises(Undecided, match="does not show version 1 .*, which has this build"):
        push_kernel(client, "demo", runs=runs)
    assert count_pushes(sandbox) == 2


@pytest.mark.parametrize("fault", [Fault(drop=True, times=-1), Fault(500, times=-1)])
def test_a_lost_answer_while_the_network_stays_down_is_undecided(sandbox, runs, fault):
    client = Client(patience=0.5)
    sandbox.script("GetKernel", Fault(), fault)
    sandbox.script("SaveKernel", Fault(drop=True, after=True))
    for send_anyway in (False, True):  # nothing is sent without a look
        with pytest.raises(Undecided, match="the push of build .* may have been sent"):
            push_kernel(client, "demo", runs=runs, send_anyway=send_anyway)
    sandbox.faults.clear()
    run = push_kernel(Client(), "demo", runs=runs)
    assert read_record(run, PushRecord).version == 1 == count_pushes(sandbox)


@pytest.mark.parametrize("overrides", ["{'max_hours': 0.01}", "{'max_hours': [1]}", "None", "[1]"])
def test_a_version_that_was_edited_by_hand_does_not_stop_a_push(sandbox, runs, overrides):
    client = Client()
    push_kernel(client, "demo", {"epochs": 3}, runs=runs)
    wait_for(sandbox)
    save_by_hand(client, sandbox, f"OVERRIDES = {overrides}\n")
    wait_for(sandbox, number=2)
    run = push_kernel(client, "demo", runs=runs)
    assert read_record(run, PushRecord).version == 3


def test_a_kernel_that_was_deleted_on_the_service_is_pushed_if_asked(sandbox, runs):
    client, lines = Client(), []
    first = push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    sandbox.service.state["kernels"].clear()
    sandbox.service.sessions.clear()
    words = r"does not show version 1 of .*Received: version none.*deleted.*--send-anyway"
    with pytest.raises(Undecided, match=words):
        push_kernel(client, "demo", runs=runs, say=lines.append)
    assert "sandbox does not show version 1 of sandbox/pcam-demo" in lines[0]
    again = push_kernel(client, "demo", {"epochs": 3}, runs=runs, send_anyway=True)
    wait_for(sandbox)
    # Of the same number as the deleted one, which has another text.
    assert read_record(again, PushRecord).version == 1
    third = push_kernel(client, "demo", runs=runs)
    assert read_record(third, PushRecord).version == 2
    assert len({first, again, third}) == 3 == count_pushes(sandbox)


def test_an_answer_without_a_number_is_searched_for(sandbox, runs):
    sandbox.script("SaveKernel", Fault(patch={"versionNumber": None}))
    not_shown = Fault(403, {"code": 403, "message": "denied"})
    first = push_kernel(Client(), "demo", runs=runs)
    sandbox.script("GetKernel", not_shown)
    assert push_kernel(Client(), "demo", runs=runs) == first
    assert len(list_versions(sandbox)) == 1 == count_pushes(sandbox)


@pytest.mark.parametrize(
    "kind, sources",
    [("competition", []), ("dataset", ["a/b"]), ("kernel", ["a/b"]), ("model", ["a/b/keras/c/1"])],
)
def test_a_version_that_runs_with_other_inputs_is_not_taken(open_sandbox, runs, kind, sources):
    sandbox = open_sandbox("slow")
    client = Client()
    answer = {f"invalid{kind.capitalize()}Sources": ["no-such"]}
    sandbox.script("SaveKernel", Fault(patch=answer))
    with pytest.raises(KaggleError, match="no-such.*correct that and push again"):
        push_kernel(client, "demo", runs=runs)
    list_versions(sandbox)[0]["request"][f"{kind}DataSources"] = sources
    run = push_kernel(client, "demo", runs=runs)
    assert len(list_versions(sandbox)) == 2 and read_record(run, PushRecord).version == 2


def test_two_accounts_share_a_clone(open_sandbox, runs, monkeypatch):
    sandbox = open_sandbox("networks")
    first = push_kernel(Client(), "demo", runs=runs)
    wait_for(sandbox)
    download_output(Client(), first, runs)
    submit_predictions(Client(), first, runs=runs)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "other")
    other = Client()
    for work in (
        lambda: wait_for_kernel(other, first),
        lambda: download_output(other, first, runs),
        lambda: submit_predictions(other, first, runs=runs),
        lambda: fetch_scores(other, first),
    ):
        with pytest.raises(ValueError, match="belongs to the account sandbox.*those of other"):
            work()
    second = push_kernel(other, "demo", runs=runs)
    assert second != first and read_record(second, PushRecord).kernel == "other/pcam-demo"
    assert before == {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    wait_for(sandbox, "other/pcam-demo")
    download_output(other, second, runs)
    assert submit_predictions(other, second, runs=runs) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"what": "push"}', '{"what": 3}'])
def test_a_note_that_was_damaged_is_named_and_nothing_is_sent(sandbox, runs, text):
    note = runs / ".sending" / "push-sandbox-sandbox-pcam-demo.json"
    note.parent.mkdir(parents=True)
    note.write_text(text)
    with pytest.raises(ValueError, match=r"pcam-demo\.json: expected"):
        push_kernel(Client(), "demo", runs=runs)
    assert count_pushes(sandbox) == 0


def test_a_folder_of_runs_that_cannot_be_written_stops_before_anything_is_sent(sandbox, runs):
    runs.mkdir()
    (runs / ".sending").write_text("no folder")
    with pytest.raises(OSError):
        push_kernel(Client(), "demo", runs=runs)
    assert count_pushes(sandbox) == 0


def test_a_full_gpu_queue_is_waited_for(open_sandbox, runs, tmp_path, capsys):
    sandbox = open_sandbox("wait")
    client = Client()
    push_kernel(client, "demo", {"epochs": 1}, runs=runs)
    push_kernel(client, "demo", {"epochs": 2}, runs=runs)
    folder = tmp_path / "sandbox/kernels/sandbox/pcam-demo"

    def free_one(line):
        print(line)
        if "Maximum batch GPU session count of 2 reached" in line:
            (folder / "v1" / "go").touch()

    run = push_kernel(client, "demo", {"epochs": 3}, runs=runs, say=free_one)
    assert read_record(run, PushRecord).version == 3
    assert "Trying again in" in capsys.readouterr().out
    (folder / "v2" / "go").touch()
    assert sandbox.calls.count("SaveKernel") >= 4


def test_a_version_that_another_machine_pushes_while_we_wait_for_a_gpu_is_taken(
    open_sandbox, runs, tmp_path, monkeypatch
):
    sandbox = open_sandbox("slow")
    busy = Fault(200, {"error": "Maximum batch GPU session count of 2 reached."})
    sandbox.script("SaveKernel", busy)
    pushed = []

    def push_elsewhere(line):
        if "Maximum batch" in line:
            with monkeypatch.context() as other:
                other.setattr(push_module, "DIST", tmp_path / "other")
                pushed.append(push_kernel(Client(), "demo", runs=tmp_path / "elsewhere"))

    run = push_kernel(Client(), "demo", runs=runs, say=push_elsewhere)
    assert pushed and read_record(run, PushRecord).version == 1
    assert len(list_versions(sandbox)) == 1


def test_a_gpu_queue_that_stays_full_is_given_up(open_sandbox, runs, monkeypatch):
    sandbox = open_sandbox("wait")
    client = Client()
    monkeypatch.setattr(push_module, "GPU_PATIENCE", 1.5)
    for epochs in (1, 2):
        push_kernel(client, "demo", {"epochs": epochs}, runs=runs)
    with pytest.raises(KaggleError, match="Maximum batch GPU session count"):
        push_kernel(client, "demo", {"epochs": 3}, runs=runs)
    assert len(list_versions(sandbox)) == 2


def test_a_rate_limit_is_waited_for_without_a_note(sandbox, runs, monkeypatch):
    sandbox.script("SaveKernel", SLOW_DOWN)
    noted = []
    pause = transport.choose_pause

    def look(state):
        noted.extend((runs / ".sending").iterdir())
        return pause(state)

    monkeypatch.setattr(transport, "choose_pause", look)
    push_kernel(Client(), "demo", runs=runs)
    assert count_pushes(sandbox) == 2 and len(list_versions(sandbox)) == 1 and noted == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_push_that_ends_before_its_request_leaves_no_note(sandbox, runs, monkeypatch, kind):
    client = Client()

    def end(*words, **options):
        assert list((runs / ".sending").iterdir()) == []
        raise kind

    monkeypatch.setattr(client.api, "kernels_push", end)
    with pytest.raises(kind):
        push_kernel(client, "demo", runs=runs)
    run = push_kernel(Client(), "demo", runs=runs)
    assert read_record(run, PushRecord).version == 1 == count_pushes(sandbox)


@pytest.mark.parametrize(
    "fault, words",
    [
        (Fault(patch={"error": "Kernel not found"}), "Expected: a kernel of "),
        (Fault(patch={"error": "Quota exceeded"}), "refused the push: Quota exceeded"),
        (
            Fault(patch={"invalidCompetitionSources": ["no-such"]}),
            "does not know all inputs .*Received: competition: no-such",
        ),
        (Fault(patch={"invalidDatasetSources": ["a/b"]}), "dataset: a/b"),
        (Fault(patch={"ref": "/code/sandbox/pcam-demo-2x"}), "the other kernel of that title"),
        (Fault(403, {"code": 403, "message": "denied"}), "HTTP 403, denied"),
        (Fault(401, {"code": 401, "message": "who"}), "the credentials were refused"),
    ],
)
def test_what_is_refused_is_fatal_and_not_recorded(sandbox, runs, fault, words):
    sandbox.script("SaveKernel", fault)
    with pytest.raises(KaggleError, match=words):
        push_kernel(Client(), "demo", runs=runs)
    assert not list(runs.glob("*/push.json"))


def test_another_owner_s_kernel_is_refused(sandbox, runs, monkeypatch):
    client = Client()
    client.username = "teacher"
    with pytest.raises(KaggleError, match="Received: teacher/pcam-demo. Try: "):
        push_kernel(client, "demo", runs=runs)


def test_a_source_over_the_limit_is_refused_by_the_service(sandbox, runs, monkeypatch):
    bundle = bundle_kernel("demo")
    monkeypatch.setattr("kernel.sandbox.kernels.MAX_SOURCE", len(bundle.source.encode()))
    with pytest.raises(KaggleError, match="less than 1 megabytes"):
        push_kernel(Client(), "demo", runs=runs)


def test_a_title_of_another_slug_stops_before_anything_is_sent(sandbox, runs, monkeypatch):
    monkeypatch.setattr("kernel.bundle.metadata.make_title", lambda *_: "PCam: other")
    with pytest.raises(ValueError, match="expected a title whose slug is 'pcam-demo'"):
        push_kernel(Client(), "demo", runs=runs)
    assert count_pushes(sandbox) == 0


def test_two_pushes_at_once_start_one_run(open_sandbox, runs):
    sandbox = open_sandbox("wait")
    clients = [Client(), Client()]
    found, lines = [], []
    threads = [
        threading.Thread(
            target=lambda client=client: found.append(
                push_kernel(client, "demo", runs=runs, say=lines.append)
            )
        )
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(list_versions(sandbox)) == 1
    assert any("already has this build; not pushed again" in line for line in lines)


def test_resume_attaches_the_kernel_s_own_output(open_sandbox, runs):
    sandbox = open_sandbox("fail")
    client = Client()
    with pytest.raises(ValueError, match=r"--resume: expected.*Received: no version"):
        push_kernel(client, "demo", resume=True, runs=runs)
    push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    with pytest.raises(ValueError, match="Received: one of other code or settings"):
        push_kernel(client, "demo", {"epochs": 3}, resume=True, runs=runs)
    run = push_kernel(client, "demo", resume=True, runs=runs)
    _, resumed = list_versions(sandbox)
    assert resumed["request"]["kernelDataSources"] == ["sandbox/pcam-demo"]
    assert read_record(run, PushRecord).kernel_sources == ("sandbox/pcam-demo",)
    wait_for(sandbox, number=2)
    inputs = sandbox.service.folder / "kernels/sandbox/pcam-demo/v2/input"
    assert (inputs / "pcam-demo").is_dir()


def test_a_build_that_differs_in_session_settings_resumes(open_sandbox, runs):
    sandbox = open_sandbox("fail")
    client = Client()
    first = push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    run = push_kernel(client, "demo", {"max_hours": 3.0}, resume=True, runs=runs)
    assert run != first
    assert read_record(run, PushRecord).kernel_sources == ("sandbox/pcam-demo",)


def test_a_notebook_goes_the_whole_way_as_a_kernel_of_its_own(open_sandbox, runs, monkeypatch):
    sandbox = open_sandbox("networks")
    monkeypatch.setattr(build, "RUNS", runs)
    assert build.main(["push", "demo", "--wait"]) == 0
    words = ["run", "demo", "--notebook"]
    assert build.main(words) == 0
    slug = "sandbox/pcam-demo-notebook"
    assert set(sandbox.service.state["kernels"]) == {"sandbox/pcam-demo", slug}
    (version,), (script,) = list_versions(sandbox, slug), list_versions(sandbox)
    request, text = version["request"], json.loads(version["request"]["text"])
    assert request["kernelType"] == "notebook" and script["request"]["kernelType"] == "script"
    run = find_run("pcam-demo-notebook", runs)
    assert (
        read_record(run, PushRecord).build_id
        == read_record(find_run("pcam-demo", runs), PushRecord).build_id
    )
    assert (run / "leaderboard.png").is_file() and (run / "submit.json").is_file()
    # What Kaggle adds is no reason to push again, with or without our records.
    for cell in text["cells"]:
        cell["metadata"]["trusted"] = True
    request["text"] = json.dumps(text)
    assert build.main(words) == 0 == build.main([*words, "--resume"])
    shutil.rmtree(runs)
    assert build.main(words) == 0 and len(list_versions(sandbox, slug)) == 1


def test_a_notebook_takes_over_the_networks_of_a_script(open_sandbox, runs, capsys):
    sandbox = open_sandbox("first")
    client = Client()
    run = push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    download_output(client, run, runs)
    push_kernel(client, "demo", resume=True, runs=runs, notebook=True)
    (version,) = list_versions(sandbox, "sandbox/pcam-demo-notebook")
    (dataset,) = version["request"]["datasetDataSources"]
    assert dataset.startswith("sandbox/pcam-networks-")
    wait_for(sandbox, "sandbox/pcam-demo-notebook")


def test_a_script_never_becomes_a_notebook(sandbox, runs):
    client = Client()
    push_kernel(client, "demo", runs=runs, notebook=True)
    wait_for(sandbox, "sandbox/pcam-demo-notebook")
    kernels = sandbox.service.state["kernels"]
    kernels["sandbox/pcam-demo"] = kernels.pop("sandbox/pcam-demo-notebook")
    with pytest.raises(ValueError, match=r"Expected: a script\. Received: a notebook"):
        push_kernel(client, "demo", runs=runs)
    assert count_pushes(sandbox) == 1
    save_by_hand(client, sandbox)  # the service refuses it as well
    assert len(list_versions(sandbox)) == 1


def test_hours_scale_with_the_work():
    for name in list_recipes():
        recipe = read_recipe(name)
        usual = find_gpu_hours(name) if needs_gpu(recipe) else None
        assert expect_hours(recipe) == usual, name
    fast, usual = read_recipe("fast"), find_gpu_hours("fast")
    work = {"folds": (0, 1, 2, 3), "epochs": 6}  # the recipe's: two folds, four epochs
    assert expect_hours(fast, work) == pytest.approx(usual * 3)
    assert expect_hours(fast, {"architecture": "xception"}) is None
    study = read_recipe("fast_study")
    half = {"trials": read_recipe("fast_study").changes.get("trials", 20) // 2}
    assert expect_hours(study, half) == pytest.approx(find_gpu_hours("fast_study") / 2)


HOUR = 3600


def say_hours(left, total=30):
    """A fault by which the service says what is left of the week's hours."""
    quota = {"timeUsed": f"{round((total - left) * HOUR)}s"}
    quota |= {"totalTimeAllowed": f"{total * HOUR}s", "hasEverRun": True}
    return Fault(patch={"gpuQuota": quota}, times=-1)


def read_sent(sandbox, number=-1):
    """The time-out in hours and OVERRIDES of a version as it was sent."""
    request = list_versions(sandbox)[number]["request"]
    return request["sessionTimeoutSeconds"] / HOUR, read_overrides(request["text"])


@pytest.mark.parametrize(
    "left, asked, timeout", [(30, None, 12), (7.337, None, 7.33), (7.337, 2, 2), (3, 9, 3)]
)
def test_the_run_ends_itself_half_an_hour_before_the_service_stops_it(
    sandbox, runs, left, asked, timeout
):
    sandbox.script("GetAcceleratorQuotaStatistics", say_hours(left))
    run = push_kernel(Client(), "demo", {"epochs": 3}, hours=asked, runs=runs)
    max_hours = round(timeout - 0.5, 2)
    assert read_sent(sandbox) == (timeout, {"epochs": 3, "max_hours": max_hours})
    record = read_record(run, PushRecord)
    assert (record.timeout_hours, record.max_hours) == (timeout, max_hours)


def test_the_same_push_with_fewer_hours_left_is_the_same_build(open_sandbox, runs):
    sandbox = open_sandbox("slow")
    client = Client()
    run = push_kernel(client, "demo", runs=runs)
    for left in (5, 0):
        sandbox.faults.clear()
        sandbox.script("GetAcceleratorQuotaStatistics", say_hours(left))
        assert push_kernel(client, "demo", runs=runs) == run
    (run / "push.json").unlink()  # as after Ctrl-C between the answer and the record
    assert push_kernel(client, "demo", runs=runs) == run
    record = read_record(run, PushRecord)
    assert (record.version, record.timeout_hours, record.max_hours) == (1, 12, 11.5)
    assert count_pushes(sandbox) == 1


def test_a_new_version_takes_the_hours_that_are_left_now(open_sandbox, runs):
    sandbox = open_sandbox("fail")
    client = Client()
    first = push_kernel(client, "demo", runs=runs)
    wait_for(sandbox)
    sandbox.script("GetAcceleratorQuotaStatistics", say_hours(5))
    second = push_kernel(client, "demo", resume=True, runs=runs)
    assert first != second and read_sent(sandbox) == (5, {"max_hours": 4.5})


def test_a_max_hours_of_one_s_own_is_kept_and_never_taken_for_a_chosen_one(sandbox, runs):
    client = Client()
    own = push_kernel(client, "demo", {"max_hours": 3.0}, runs=runs)
    wait_for(sandbox)
    assert read_sent(sandbox) == (12, {"max_hours": 3.0})
    assert read_record(own, PushRecord).max_hours is None
    assert push_kernel(client, "demo", {"max_hours": 3.0}, runs=runs) == own
    chosen = push_kernel(client, "demo", runs=runs)
    assert chosen != own and read_sent(sandbox) == (12, {"max_hours": 11.5})


@pytest.mark.parametrize(
    "left, asked, own, words",
    [
        (30, None, 11.6, r"at most 11.5, 0.5 h below.*12 h. Received: 11.6. Try: leave"),
        (3, None, 2.6, "at most 2.5"),
        (30, 2.0, 1.75, "at most 1.5"),
        (30, 0.5, None, "--timeout: expected at least 0.6 h"),
        (0.5, None, None, r"least 0.6 h left this week. Received: 0.5 of 30 h. Try: .*Sat"),
        (-2, 1.0, None, "Received: 0.0 of 30 h"),
    ],
)
def test_hours_in_which_no_run_can_end_are_refused(sandbox, runs, left, asked, own, words):
    sandbox.script("GetAcceleratorQuotaStatistics", say_hours(left))
    overrides = {} if own is None else {"max_hours": own}
    with pytest.raises((ValueError, KaggleError), match=words):
        push_kernel(Client(), "demo", overrides, hours=asked, runs=runs)
    assert count_pushes(sandbox) == 0 and not list(runs.glob("*/push.json"))


def test_less_time_than_the_run_needs_is_said(sandbox, runs, capsys):
    push_kernel(Client(), "best", hours=1, runs=runs)
    text = capsys.readouterr().out
    assert "ends itself after 0.5 h, stopped after 1 h at the latest" in text
    assert "less than the run needs" in text


def test_hours_that_running_sessions_reserve_are_not_counted_twice(open_sandbox, runs):
    sandbox = open_sandbox("slow")
    client = Client()
    for epochs in (1, 2):
        push_kernel(client, "demo", {"epochs": epochs}, runs=runs)
    quota = client.call("kernels", "get_accelerator_quota_statistics").gpu_quota
    assert quota.time_reserved.total_seconds() == 24 * HOUR
    wait_for_end = [sandbox.service.sessions["sandbox/pcam-demo", n] for n in (1, 2)]
    for session in wait_for_end:
        session.stop()
    push_kernel(client, "demo", {"epochs": 3}, runs=runs)
    assert read_sent(sandbox)[0] == 12


def test_a_recipe_without_gpu_says_nothing_of_the_quota(sandbox, runs, capsys):
    run = push_kernel(Client(), "explore", runs=runs)
    (version,) = list_versions(sandbox, "sandbox/pcam-explore")
    assert version["request"].get("enableGpu") is not True
    assert version["request"]["sessionTimeoutSeconds"] == 12 * 3600
    record = read_record(run, PushRecord)
    assert (record.timeout_hours, record.expected_hours) == (12, None)
    assert record.max_hours is None and read_overrides(version["request"]["text"]) == {}
    assert "GPU" not in capsys.readouterr().out
    assert "GetAcceleratorQuotaStatistics" not in sandbox.calls


def test_unknown_gpu_hours_do_not_stop_a_push(sandbox, runs, capsys):
    sandbox.script("GetAcceleratorQuotaStatistics", Fault(404, {"code": 404, "message": ""}))
    push_kernel(Client(), "demo", runs=runs)
    assert "left this week: unknown" in capsys.readouterr().out
    assert read_sent(sandbox) == (12, {"max_hours": 11.5})


def test_wrong_settings_are_refused_before_credentials_are_asked_for(home):
    result = run_python([ROOT / "build.py", "push", "demo", "epoch=3"])
    assert result.returncode == 2 and "Did you mean 'epochs'" in result.stderr


def test_push_json_is_whole_json_and_a_damaged_one_is_left_as_it_is(sandbox, runs, capsys):
    run = push_kernel(Client(), "demo", runs=runs)
    wait_for(sandbox)
    text = (run / "push.json").read_text("utf-8")
    assert json.loads(text) and text.endswith("}\n")
    (run / "push.json").write_text(text[:40])
    again = push_kernel(Client(), "demo", runs=runs)
    assert again.name == f"{run.name}-v1" and count_pushes(sandbox) == 1
    assert (run / "push.json").read_text() == text[:40]
    assert "push.json: expected a JSON object" in capsys.readouterr().err
