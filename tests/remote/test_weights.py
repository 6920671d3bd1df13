"""Pretrained weights as a private dataset, which later pushes attach."""

import json

import pytest
from small_transformer import write_model

import build
from kernel.bundle.recipes import read_recipe
from kernel.folders import ROOT
from kernel.progress import Progress
from kernel.remote.client import Client
from kernel.remote.datasets import create_dataset
from kernel.remote.errors import KaggleError
from kernel.remote.fetch import CHUNK
from kernel.remote.push import push_kernel
from kernel.remote.weights import HDF5, find_datasets, publish_weights
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


def test_an_upload_says_how_far_it_is_and_is_repeated_from_the_start(sandbox, cached, tmp_path):
    sandbox.script("upload", Fault(503))
    client, lines = Client(), []
    dataset = publish_weights(client, "densenet121", runs=tmp_path, say=lines.append)
    assert lines[-1] == "upload    0.01 of 0.01 MB, 100 %"
    assert Progress().read(lines[-1])  # which becomes the live line of a terminal
    (path,) = sandbox.service.folder.glob(f"datasets/{dataset}/*")
    assert path.read_bytes() == cached.read_bytes() and sandbox.calls.count("upload") == 2


def test_the_bytes_of_several_files_are_counted_once(sandbox, tmp_path):
    paths, counts = [tmp_path / "a", tmp_path / "b"], []
    for path in paths:
        path.write_bytes(bytes(CHUNK + 10))
    create_dataset(Client(), paths, "two-files", "Two files", counts.append)
    assert counts == [CHUNK, CHUNK + 10, 2 * CHUNK + 10, 2 * CHUNK + 20]


def test_a_file_of_one_s_own_is_found_by_its_name(sandbox, tmp_path):
    own = tmp_path / "own.weights.h5"
    own.write_bytes(HDF5)
    client, runs = Client(), tmp_path / "runs"
    with pytest.raises(ValueError, match="the kernel does not see. Try: python bu"):
        push_kernel(client, "fast", {"weights": str(own)}, runs=runs)
    assert "SaveKernel" not in sandbox.calls
    folder = {"weights": str(tmp_path)}
    with pytest.raises(
        ValueError, match="folder of this machine.*build.py weights NAME.*model_sources"
    ):
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


def test_a_gated_model_s_folder_is_attached_under_its_name(sandbox, tmp_path):
    pytest.importorskip("safetensors")
    folder, client, runs, lines = write_model(tmp_path / "model", 4), Client(), tmp_path / "r", []
    dataset = publish_weights(client, "hibou-l", folder, runs, lines.append)
    assert any(line.startswith("no preprocessor_config.json") for line in lines)
    assert publish_weights(client, "hibou-l", folder, runs) == dataset  # not uploaded again
    assert sandbox.calls.count("upload") == 2
    assert sandbox.service.state["datasets"][dataset]["isPrivate"] is True
    push_kernel(client, "midnight", {"weights": "hibou-l"}, runs=runs)
    (version,) = sandbox.service.state["kernels"]["sandbox/pcam-midnight"]["versions"]
    assert version["request"]["datasetDataSources"] == [dataset]
    assert version["request"].get("enableInternet") is not True
    sandbox.service.sessions["sandbox/pcam-midnight", 1].thread.join()
    mounts = sandbox.service.folder / "kernels/sandbox/pcam-midnight/v1/input/datasets"
    assert {path.name for path in (mounts / dataset).iterdir()} == {
        "config.json",
        "model.safetensors",
    }
    # The address itself means the hub, and another name its own dataset.
    for weights in ("hf://histai/hibou-L", "hibou-b"):
        assert find_datasets(read_recipe("midnight"), {"weights": weights}, "sandbox", runs) == []


def test_the_kernel_finds_the_folder_that_was_published(sandbox, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    from pcam_kaggle.models.transformer import find_folder

    folder = write_model(tmp_path / "model", 4)
    dataset = publish_weights(Client(), "hibou-l", folder, tmp_path / "runs")
    mounted = tmp_path / "mounts" / "datasets" / dataset
    mounted.parent.mkdir(parents=True)
    folder.rename(mounted)
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path / "mounts"))
    assert find_folder("hibou-l") == mounted
    assert find_folder("hibou-b") is None


def test_a_model_in_several_files_is_uploaded_whole(sandbox, tmp_path):
    tensors = pytest.importorskip("safetensors.numpy")
    folder = write_model(tmp_path / "model")
    scale = {"image_mean": [0.7, 0.6, 0.7], "image_std": [0.2, 0.2, 0.2]}
    (folder / "preprocessor_config.json").write_text(json.dumps(scale), "utf-8")
    weights = tensors.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = {f"model-{n}.safetensors": sorted(weights)[n::2] for n in range(2)}
    for name, keys in parts.items():
        tensors.save_file({key: weights[key] for key in keys}, folder / name)
    index = {"weight_map": {key: name for name, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    publish_weights(Client(), "hibou-l", folder, tmp_path / "runs")
    assert sandbox.calls.count("upload") == 5
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ValueError, match="No such file.*model-1.safetensors"):
        publish_weights(Client(), "hibou-l", folder, tmp_path / "runs")
    for files in ({}, [], None, {"a": "../model.safetensors"}, {"a": 1}):
        index = json.dumps({"weight_map": files})
        (folder / "model.safetensors.index.json").write_text(index, "utf-8")
        with pytest.raises(ValueError, match="index.json without a weight_map"):
            publish_weights(Client(), "hibou-l", folder, tmp_path / "runs")


def test_a_folder_of_another_model_is_refused(sandbox, tmp_path):
    pytest.importorskip("safetensors")
    folder = write_model(tmp_path / "model", 4)
    with pytest.raises(ValueError, match="config.json of another model: hidden_size 16, not 768"):
        publish_weights(Client(), "hibou-b", folder, tmp_path / "runs")
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"hidden_size": 768}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ValueError, match="num_hidden_layers 2, not 12. Try: hf download histai/"):
        publish_weights(Client(), "hibou-b", folder, tmp_path / "runs")
    assert "StartBlobUpload" not in sandbox.calls


def test_a_pixel_scale_that_no_kernel_could_read_is_refused(sandbox, tmp_path):
    pytest.importorskip("safetensors")
    folder = write_model(tmp_path / "model", 4)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [1, 1, 1]}', "utf-8")
    with pytest.raises(ValueError, match="preprocessor_config.json: expected a JSON object with"):
        publish_weights(Client(), "hibou-l", folder, tmp_path / "runs")
    assert "StartBlobUpload" not in sandbox.calls


@pytest.mark.parametrize(
    "damage, reason",
    [
        ("config", "config.json with model_type 'swin'"),
        ("cut", "model.safetensors, which is not whole"),
        ("pointer", "model.safetensors, which is not whole"),
        ("json", "config.json, which is no JSON object in UTF-8"),
        ("list", "config.json, which is no JSON object in UTF-8"),
        ("utf-16", "config.json, which is no JSON object in UTF-8"),
        ("missing", "No such file or directory"),
        ("none", "Received: no folder"),
    ],
)
def test_a_folder_that_no_kernel_could_load_is_refused(sandbox, tmp_path, damage, reason, capsys):
    pytest.importorskip("safetensors")
    kind = "swin" if damage == "config" else "dinov2"
    folder = write_model(tmp_path / "model", model_type=kind)
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "pointer":
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "utf-8")
    elif damage in ("json", "list", "utf-16"):
        text = {"json": "{", "list": "[]", "utf-16": "{}"}[damage]
        (folder / "config.json").write_text(text, "utf-16" if damage == "utf-16" else "utf-8")
    elif damage == "missing":
        weights.unlink()
    words = ["weights", "hibou-l"] + [str(folder)] * (damage != "none")
    assert build.main(words) == 1
    error = capsys.readouterr().err
    assert reason in error and "https://huggingface.co/histai/hibou-L" in error
    assert "Try: hf download histai/hibou-L --local-dir FOLDER, then python build.py" in error
    assert "StartBlobUpload" not in sandbox.calls


def test_an_unknown_model_is_refused_before_it_is_pushed(sandbox, tmp_path):
    with pytest.raises(ValueError, match="foundation model 'hibou-x'. Did you mean 'hibou-"):
        push_kernel(Client(), "midnight", {"weights": "hibou-x"}, runs=tmp_path / "runs")
    assert "SaveKernel" not in sandbox.calls
    with pytest.raises(ValueError, match="Did you mean 'hibou-b'"):
        publish_weights(Client(), "hibou-bb", tmp_path, tmp_path / "runs")
