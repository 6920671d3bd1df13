"""Networks for a kernel: from a dataset of fetched ones, else from the output of a kernel."""

import json
import zipfile

import pytest

import build
from kernel.records import PushRecord, read_record
from kernel.remote.client import Client
from kernel.remote.datasets import NETWORKS
from kernel.remote.errors import KaggleError
from kernel.remote.output import download_output
from kernel.remote.push import push_kernel
from kernel.remote.versions import read_overrides
from kernel.sandbox.faults import Fault
from pcam_kaggle.inference.networks import FACTS
from pcam_kaggle.system.files import describe_files, read_json, write_json

NAMES = {"fold0_seed0.npz", "fold0_seed0.keras", "checkpoint_fold1_seed1.npz"}


@pytest.fixture
def left(tmp_path, open_sandbox):
    """A sandbox, a client and a run that failed after one network, its output fetched."""
    sandbox, client = open_sandbox("first"), Client()
    run = push(sandbox, client, tmp_path / "runs")
    download_output(client, run, tmp_path / "runs")
    return sandbox, client, run


def push(sandbox, client, runs, **options):
    """Push the demo and wait for its end; the run."""
    run = push_kernel(client, "demo", options.pop("overrides", None), runs=runs, **options)
    versions = list_versions(sandbox)
    sandbox.service.sessions["sandbox/pcam-demo", len(versions)].thread.join()
    return run


def list_versions(sandbox):
    return sandbox.service.state["kernels"]["sandbox/pcam-demo"]["versions"]


def read_sources(sandbox):
    """The datasets and kernels of the latest version."""
    request = list_versions(sandbox)[-1]["request"]
    return request.get("datasetDataSources", []), request.get("kernelDataSources", [])


def test_fetched_networks_are_uploaded_and_attached(left, capsys):
    sandbox, client, run = left
    again = push(sandbox, client, run.parent, resume=True)
    (dataset,), kernels = read_sources(sandbox)
    assert dataset.startswith(f"sandbox/{NETWORKS}") and kernels == []
    assert sandbox.service.state["datasets"][dataset]["isPrivate"] is True
    mounted = sandbox.service.folder / "kernels/sandbox/pcam-demo/v2/input/datasets" / dataset
    assert {path.name for path in mounted.iterdir()} == NAMES
    for path in mounted.iterdir():
        assert path.read_bytes() == (run / "folds" / path.name).read_bytes()
    assert read_record(again, PushRecord).dataset_sources == (dataset,)
    text = capsys.readouterr().out
    assert "uploading 3 files" in text
    assert f"resume     3 files of version 1, as {dataset}" in text


def test_without_a_fetched_output_the_kernel_s_own_is_attached(open_sandbox, tmp_path, capsys):
    sandbox, client = open_sandbox("first"), Client()
    push(sandbox, client, tmp_path / "runs")
    push(sandbox, client, tmp_path / "runs", resume=True)
    assert read_sources(sandbox) == ([], ["sandbox/pcam-demo"])
    text = capsys.readouterr().out
    assert "resume     the kernel's own output" in text
    assert "python build.py output, then push --resume" in text


def test_the_same_networks_are_uploaded_once(left):
    sandbox, client, run = left
    settings = {"max_hours": 3.0}
    push(sandbox, client, run.parent, resume=True, overrides=settings)
    push(sandbox, client, run.parent, resume=True, overrides=settings)
    assert len(list_versions(sandbox)) == 3  # the second has failed
    assert len(sandbox.service.state["datasets"]) == 1 == sandbox.calls.count("CreateDataset")
    assert sandbox.calls.count("upload") == 3


def test_other_networks_are_another_dataset(left):
    sandbox, client, run = left
    settings = {"max_hours": 3.0}
    push(sandbox, client, run.parent, resume=True, overrides=settings)
    (run / "folds" / "checkpoint_fold1_seed1.npz").write_text("a later epoch")
    push(sandbox, client, run.parent, resume=True, overrides=settings)
    assert len(sandbox.service.state["datasets"]) == 2


@pytest.mark.parametrize("resume", [True, False])
def test_a_resumed_version_that_runs_is_not_pushed_again(left, resume):
    sandbox, client, run = left
    sandbox.service.python = (*sandbox.service.python[:2], "slow")
    first = push_kernel(client, "demo", resume=True, runs=run.parent)
    again = push_kernel(client, "demo", resume=resume, runs=run.parent)
    assert first == again == run.with_name(f"{run.name}-v2") and len(list_versions(sandbox)) == 2
    (first / "push.json").unlink()  # as on another machine
    assert push_kernel(client, "demo", resume=resume, runs=run.parent) == first
    record = read_record(first, PushRecord)
    assert record.version == 2 and record.dataset_sources == tuple(read_sources(sandbox)[0])


def test_a_resumed_version_that_is_complete_is_taken_until_networks_are_found_missing(left):
    sandbox, client, run = left
    sandbox.service.python = (*sandbox.service.python[:2], "networks")
    second = push(sandbox, client, run.parent, resume=True)
    assert push(sandbox, client, run.parent, resume=True) == second
    download_output(client, second, run.parent)
    assert push(sandbox, client, run.parent, resume=True) == second
    result = json.loads((second / "run.json").read_text())
    (second / "run.json").write_text(json.dumps({**result, "not_trained": ["fold 2 seed 2"]}))
    assert push(sandbox, client, run.parent, resume=True) != second
    assert len(list_versions(sandbox)) == 3


def test_networks_of_other_settings_are_not_taken(left):
    sandbox, client, run = left
    with pytest.raises(ValueError, match="Received: one of other code or settings"):
        push_kernel(client, "demo", {"epochs": 3}, resume=True, runs=run.parent)
    result = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**result, "code": "0123456789"}))
    push(sandbox, client, run.parent, resume=True)
    assert read_sources(sandbox) == ([], ["sandbox/pcam-demo"])
    assert "CreateDataset" not in sandbox.calls


def test_a_checkpoint_of_a_finished_network_stays_here(left):
    sandbox, client, run = left
    (run / "folds" / "checkpoint_fold0_seed0.npz").write_text("over")
    (run / "folds" / "partial-fold1_seed1.npz").write_text("half")
    push(sandbox, client, run.parent, resume=True)
    (dataset,), _ = read_sources(sandbox)
    assert {
        path.name for path in (sandbox.service.folder / "datasets" / dataset).iterdir()
    } == NAMES


def test_a_network_that_was_damaged_since_is_named(left):
    sandbox, client, run = left
    (run / "folds" / "fold0_seed0.npz").write_text("x")
    with pytest.raises(ValueError, match=r"fold0_seed0.npz was damaged.*Try: .*build.py output"):
        push_kernel(client, "demo", resume=True, runs=run.parent)
    assert len(list_versions(sandbox)) == 1 and "upload" not in sandbox.calls


def test_files_that_the_service_has_unpacked_are_not_relied_on(left, capsys):
    sandbox, client, run = left
    unpacked = [{"name": "fold0_seed0.npz/oof.npy"}]
    sandbox.script("ListDatasetFiles", Fault(patch={"datasetFiles": unpacked}))
    push(sandbox, client, run.parent, resume=True)
    assert read_sources(sandbox) == ([], ["sandbox/pcam-demo"])
    assert "it is not used" in capsys.readouterr().out


def test_a_later_version_that_was_not_fetched_is_said(left, capsys):
    sandbox, client, run = left
    settings = {"max_hours": 3.0}
    push(sandbox, client, run.parent, resume=True, overrides=settings)
    push(sandbox, client, run.parent, resume=True, overrides=settings)
    text = capsys.readouterr().out
    assert "version 2 is later, and its output was not fetched" in text


@pytest.mark.parametrize(
    "method, fault, words",
    [
        ("upload", Fault(403, "<html>no</html>"), "the upload of .*403"),
        ("CreateDataset", Fault(patch={"error": "in use"}), "refused the dataset"),
    ],
)
def test_a_dataset_that_is_refused_pushes_nothing_and_can_be_repeated(left, method, fault, words):
    sandbox, client, run = left
    sandbox.script(method, fault)
    with pytest.raises(KaggleError, match=words):
        push_kernel(client, "demo", resume=True, runs=run.parent)
    assert len(list_versions(sandbox)) == 1
    push(sandbox, client, run.parent, resume=True)
    (dataset,), _ = read_sources(sandbox)
    assert dataset in sandbox.service.state["datasets"]


def test_a_second_stage_takes_fetched_networks_else_the_output_of_the_kernel(
    open_sandbox, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    sandbox, client = open_sandbox("networks"), Client()
    first = push(sandbox, client, tmp_path / "runs", overrides={"num_folds": 3})
    build_id = read_record(first, PushRecord).build_id
    words = ["push", "demo", "num_folds=3", "input_size=128", f"weights={build_id}"]
    assert build.main(["status", first.name, "--wait"]) == 0
    assert build.main([*words, "--wait"]) == 0
    assert read_sources(sandbox) == ([], ["sandbox/pcam-demo"])
    text = list_versions(sandbox)[-1]["request"]["text"]
    assert read_overrides(text)["weights"] == build_id
    # Its kernel has a later version now, of another build.
    assert build.main([*words, "epochs=3"]) == 1
    assert f"Try: python build.py output {first.name}" in capsys.readouterr().err

    download_output(client, first, tmp_path / "runs")
    with pytest.raises(SystemExit):
        build.main([*words, "epochs=3"])
    assert "fold0_seed0.keras is damaged" in capsys.readouterr().err
    complete(first)
    assert build.main([*words, "epochs=3", "--wait"]) == 0 == build.main([*words, "epochs=3"])
    assert len(list_versions(sandbox)) == 3
    (dataset,), kernels = read_sources(sandbox)
    assert kernels == [] and NETWORKS not in dataset
    files = {path.name for path in (sandbox.service.folder / "datasets" / dataset).iterdir()}
    networks = {f"fold{fold}_seed{fold}.keras" for fold in range(3)}
    assert files == {"run.json", "oof.csv", *networks}
    (first / "folds" / "fold1_seed1.keras").write_text("x")
    with pytest.raises(SystemExit):
        build.main([*words, "epochs=4"])
    assert "fold1_seed1.keras is damaged" in capsys.readouterr().err


def complete(run):
    """Give a run without training what a real one leaves: facts in its networks, and oof.csv."""
    for path in run.glob("folds/*.keras"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(FACTS, json.dumps({"schema": 1}))
    (run / "oof.csv").write_text("id,label,fold,prediction\n")
    result = read_json(run / "run.json")
    files = describe_files(run, [*result["files"], "oof.csv"])
    write_json(run / "run.json", {**result, "files": files})


def test_a_recipe_without_a_second_stage_says_which_have_one(left, monkeypatch, capsys):
    _, _, run = left
    monkeypatch.setattr(build, "RUNS", run.parent)
    with pytest.raises(SystemExit):
        build.main(["build", "course_resnet34", f"weights={run.name}"])
    assert "Expected: one of demo, fast, scratch. Received: weights=" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build.main(["build", "demo", "weights=abcdefabcd"])
    assert "abcdefabcd" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build.main(["build", "demo", f"weights={run / 'folds' / 'fold0_seed0.keras'}"])
    assert "one network of a run. Try: weights=RUN" in capsys.readouterr().err
