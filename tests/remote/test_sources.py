"""infer and explain of finished runs: from push to the board, without training again."""

import json
import os
import shutil
import sys

import pandas as pd
import pytest

import build
from kernel.records import PushRecord, read_record
from kernel.remote.client import Client
from kernel.remote.push import push_kernel
from kernel.remote.sources import DATASET
from kernel.remote.watch import wait_for_kernel
from kernel.reuse import name_sources, point_at
from pcam_kaggle.inference.kept_runs import find_kept_runs
from pcam_kaggle.inference.reuse_settings import AllPatches
from pcam_kaggle.system.paths import find_attached

BUILD = "0123456789"


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """A copy of a finished run in a folder of runs of its own."""
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    return shutil.copytree(finished, tmp_path / "runs" / finished.name)


def test_the_whole_loop_predicts_as_the_run_itself(open_sandbox, run, capsys):
    sandbox = open_sandbox(python=(sys.executable,))
    assert build.main(["run", "infer", f"networks={run.name}", "labels=probability"]) == 0
    text = capsys.readouterr().out
    assert "networks   of pcam-demo-0123456789-home, as sandbox/pcam-run-" in text
    assert "score   public 0." in text and "picture " in text
    (made,) = run.parent.glob("pcam-infer-*")
    own, again = (pd.read_csv(folder / "submission.csv") for folder in (run, made))
    assert list(own["id"]) == list(again["id"])
    assert abs(own["label"] - again["label"]).max() < 1e-6
    result = json.loads((made / "run.json").read_text())
    assert result["complete"] and result["edited"] is False and result["not_trained"] == []
    (source,) = result["runs"]
    assert (source["recipe"], source["tta"]) == ("demo", ["flip"])
    assert len(source["networks"]) == len(find_attached(AllPatches.member_files, made)) == 2
    (dataset,) = sandbox.service.state["datasets"]
    assert dataset.startswith(f"sandbox/{DATASET}")
    assert sandbox.service.state["datasets"][dataset]["isPrivate"] is True
    assert read_record(made, PushRecord).dataset_sources == (dataset,)

    assert build.main(["run", "infer", f"networks={run.name}", "labels=probability"]) == 0
    assert len(sandbox.service.state["kernels"]["sandbox/pcam-infer"]["versions"]) == 1
    assert sandbox.calls.count("CreateDataset") == sandbox.calls.count("CreateSubmission") == 1
    capsys.readouterr()
    assert build.main(["runs"]) == 0
    assert made.name in capsys.readouterr().out
    for words, message in (
        (["report", made.name], "of a run of infer, which has no oof.csv"),
        (["blend", made.name, run.name], "of a run of infer, which has no oof.csv"),
        (["predict", made.name, str(run)], "or only predicts"),
        (["train", "infer", f"networks={made.name}"], "or only predicts"),
    ):
        assert main_of(words) != 0, words
        assert message in capsys.readouterr().err, words


def test_a_run_whose_output_is_not_here_is_attached_as_its_kernel(open_sandbox, tmp_path):
    """Stubbed kernels: what is attached, and what is refused before anything is sent."""
    sandbox, runs, client = open_sandbox("networks"), tmp_path / "runs", Client()
    run = push_kernel(client, "demo", runs=runs)
    with pytest.raises(ValueError, match="is not known to have ended"):
        name_sources("infer", [f"networks={run.name}"], runs)
    sandbox.service.sessions["sandbox/pcam-demo", 1].thread.join()
    wait_for_kernel(client, run)
    build_id = read_record(run, PushRecord).build_id
    recipe, words, sources = name_sources("infer", ["tta=none", "networks=pcam-demo"], runs)
    assert (recipe, words) == ("infer", ["tta=none", f"networks={build_id}"])
    made = push_kernel(client, "infer", {"networks": build_id}, runs=runs, sources=sources)
    assert read_record(made, PushRecord).kernel_sources == ("sandbox/pcam-demo",)
    assert push_kernel(client, "infer", {"networks": build_id}, runs=runs, sources=sources) == made
    assert "CreateDataset" not in sandbox.calls
    with pytest.raises(ValueError, match="has no networks here.*build.py output"):
        point_at(sources)


def test_runs_that_cannot_be_used_are_refused_by_name(run, capsys):
    other = shutil.copytree(run, run.with_name("pcam-midnight-1111111111-home"))
    record = json.loads((other / "run.json").read_text())
    changes = {"build_id": "1111111111", "recipe": "midnight", "settings": {"input_size": 56}}
    changes["settings"] |= {"weights": "dinov2-small"}
    (other / "run.json").write_text(json.dumps({**record, **changes}))
    recipe, words, _ = name_sources("explain", [f"networks={other.name}"], run.parent)
    assert (recipe, words[0]) == ("explain_tokens", "weights=dinov2-small")
    tuned = {**record, **changes, "recipe": "vit"}
    (other / "run.json").write_text(json.dumps(tuned))
    recipe, words, _ = name_sources("explain", [f"networks={other.name}"], run.parent)
    assert (recipe, words) == ("explain_tokens", ["networks=1111111111"])
    (other / "run.json").write_text(json.dumps({**record, **changes}))
    both = f"networks={run.name},{other.name}"
    assert name_sources("infer", [both], run.parent)[1] == [
        "weights=dinov2-small",
        "networks=package,1111111111",
    ]
    (other / "folds" / "fold1_seed1.keras").write_bytes(b"damaged")
    for recipe, words, message in (
        ("infer", [], "Expected: networks=RUN[,RUN]. Received: none"),
        ("infer", ["networks=nothing"], "unknown run 'nothing'"),
        ("infer", [f"networks={run.name},{run.name}"], "expected different runs"),
        ("explain", [both.replace(other.name, run.name)], "expected one run"),
        ("infer", [f"networks={run.name}"] * 2, "networks is given twice"),
        ("infer", [f"networks={other.name}"], "fold1_seed1.keras is damaged. Expected: sha256"),
    ):
        assert main_of(["train", recipe, *words]) == 2
        assert message in capsys.readouterr().err


def test_what_the_kernel_would_refuse_is_refused_before_anything_is_written(
    run, competition, capsys
):
    record = {**json.loads((run / "run.json").read_text()), "build_id": BUILD}
    infer = ["infer", f"networks={run.name}"]

    def refuse(code, message, words, **changes):
        (run / "run.json").write_text(json.dumps({**record, **changes}))
        assert main_of(["train", *words, "--data", str(competition)]) == code
        assert message in capsys.readouterr().err
        assert list(run.parent.iterdir()) == [run]

    ranks = {**record["settings"], "ensemble": "rank"}
    refuse(2, f"run {BUILD} averages ranks", [*infer, "labels=hard"], settings=ranks)
    refuse(2, "is of another run. Expected: fingerprint other", infer, fingerprint="other")
    refuse(2, "has no build_id, by which a page finds a run", infer, build_id="")
    refuse(2, "cannot be calibrated", infer, calibration={"maps": {"fold0_seed0": [1, 0]}})
    files = {
        **record["files"],
        "folds/fold1_seed7.keras": {"size": 0},
    }  # as another num_seeds leaves them
    second = ["demo", f"weights={BUILD}", "num_folds=2", "num_seeds=2"]
    refuse(
        2, "those of num_seeds=2. Received: the seeds 1, 7. Try: num_seeds=1", second, files=files
    )
    labels = (competition / "train_labels.csv").read_text().splitlines(keepends=True)
    (competition / "train_labels.csv").write_text("".join(labels[:-1]))
    (competition / "train" / f"{labels[-1].split(',')[0]}.tif").unlink()
    refuse(1, "test patches. Expected: the patches of its oof.csv in train_labels.csv.", infer)
    refuse(1, "has other folds", ["demo", f"weights={BUILD}", "num_folds=2"])
    (run / "oof.csv").unlink()
    refuse(2, "oof.csv is missing or damaged", infer)


def test_a_path_may_have_what_separates_paths_and_runs(run, monkeypatch):
    odd = run.rename(run.parent / f"a,b{os.pathsep}c")
    for name in (odd.name, str(odd)):
        _, words, sources = name_sources("infer", [f"networks={name}"], run.parent)
        assert words == ["networks=package"]
        for variable, value in point_at(sources).items():
            monkeypatch.setenv(variable, value)
        assert [found.folder for found in find_kept_runs(["package"])] == [odd]


def main_of(words):
    """The exit code of a command, wrong usage included."""
    try:
        return build.main(words)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("address", ["me/pcam-fast", "me/pcam-fast/keras/networks/1"])
def test_the_address_of_a_model_is_refused_with_what_downloads_it(tmp_path, address):
    with pytest.raises(ValueError) as error:
        name_sources("infer", [f"networks={address}"], tmp_path)
    assert f"unknown run '{address}'" in str(error.value)
    assert "download me/pcam-fast/keras/networks/1 -p DIR --untar" in str(error.value)
