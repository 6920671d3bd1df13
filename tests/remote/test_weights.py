"""Pretrained weights as a private dataset, which later pushes attach."""

import pytest

import build
from kernel.folders import ROOT
from kernel.remote.client import Client
from kernel.remote.errors import KaggleError
from kernel.remote.push import push_kernel
from kernel.remote.weights import HDF5, publish_weights
from kernel.sandbox.faults import Fault
from pcam_kaggle.models.pretrained_settings import PRETRAINED

NAME = PRETRAINED["densenet121"]


@pytest.fixture
def cached(home):
    """A weights file where Keras caches it."""
    path = home / ".keras" / "models" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(HDF5 + b"weights" * 1000)
    return path


def test_the_cached_file_becomes_a_private_dataset_that_pushes_attach(sandbox, cached, tmp_path):
    client, runs = Client(), tmp_path / "runs"
    dataset = publish_weights(client, "densenet121", runs=runs)
    assert sandbox.service.state["datasets"][dataset]["isPrivate"] is True
    push_kernel(client, "fast", runs=runs)
    (version,) = sandbox.service.state["kernels"]["sandbox/pcam-fast"]["versions"]
    assert version["request"]["datasetDataSources"] == [dataset]
    assert version["request"].get("enableInternet") is not True
    sandbox.service.sessions["sandbox/pcam-fast", 1].thread.join()
    folder = sandbox.service.folder / "kernels/sandbox/pcam-fast/v1/input"
    assert (folder / "datasets" / dataset / NAME).read_bytes() == cached.read_bytes()
    push_kernel(client, "demo", runs=runs)  # needs no weights
    (version,) = sandbox.service.state["kernels"]["sandbox/pcam-demo"]["versions"]
    assert version["request"].get("datasetDataSources", []) == []


def test_without_a_dataset_the_kernel_downloads(sandbox, tmp_path):
    push_kernel(Client(), "fast", runs=tmp_path / "runs")
    (version,) = sandbox.service.state["kernels"]["sandbox/pcam-fast"]["versions"]
    assert version["request"]["enableInternet"] is True


def test_the_same_file_again_is_not_uploaded(sandbox, cached, tmp_path):
    client = Client()
    first = publish_weights(client, "densenet121", runs=tmp_path)
    assert publish_weights(client, "densenet121", runs=tmp_path) == first
    assert sandbox.calls.count("upload") == 1 == sandbox.calls.count("CreateDataset")


def test_a_file_of_one_s_own_is_found_by_its_name(sandbox, tmp_path):
    own = tmp_path / "own.weights.h5"
    own.write_bytes(HDF5)
    client, runs = Client(), tmp_path / "runs"
    with pytest.raises(ValueError, match="the kernel does not see. Try: python bu"):
        push_kernel(client, "fast", {"weights": str(own)}, runs=runs)
    assert "SaveKernel" not in sandbox.calls
    folder = {"weights": str(tmp_path)}
    with pytest.raises(ValueError, match="folder of this machine.*model_sources"):
        push_kernel(client, "midnight", folder, runs=runs)
    dataset = publish_weights(client, "densenet121", own, runs)
    push_kernel(client, "fast", {"weights": own.name}, runs=runs)
    (version,) = sandbox.service.state["kernels"]["sandbox/pcam-fast"]["versions"]
    assert version["request"]["datasetDataSources"] == [dataset]


@pytest.mark.parametrize(
    "fault", [Fault(500, after=True), Fault(drop=True, after=True)], ids=["500", "drop"]
)
def test_a_lost_answer_makes_no_second_dataset(sandbox, cached, tmp_path, fault):
    sandbox.script("CreateDataset", fault)
    publish_weights(Client(), "densenet121", runs=tmp_path)
    assert sandbox.calls.count("CreateDataset") == 1


@pytest.mark.parametrize(
    "method, fault, words",
    [
        ("CreateDataset", Fault(patch={"error": "in use"}), "refused the dataset"),
        ("upload", Fault(403, "<html>no</html>"), "the upload of .*403"),
    ],
)
def test_what_is_refused_is_not_noted_down(sandbox, cached, tmp_path, method, fault, words):
    sandbox.script(method, fault)
    with pytest.raises(KaggleError, match=words):
        publish_weights(Client(), "densenet121", runs=tmp_path)
    assert not (tmp_path / "weights" / "datasets.json").exists()


@pytest.mark.parametrize(
    "words, reason",
    [
        (["small_cnn"], "unknown architecture with weights 'small_cnn'"),
        (["densenet121"], "which is not there"),
        (["densenet121", str(ROOT / "README.md")], "expected an HDF5 file"),
    ],
)
def test_wrong_weights_are_named(sandbox, words, reason, capsys):
    assert build.main(["weights", *words]) == 1
    assert reason in capsys.readouterr().err
    assert "StartBlobUpload" not in sandbox.calls
