"""Foundation models by name: attached, downloaded from a hub on 127.0.0.1, gated, refused."""

import contextlib
import json
import sys

import numpy as np
import pytest
from small_hub import COMMIT, serve_hub
from small_transformer import DIM, write_model

from pcam_kaggle.methods.linear_probe import LinearProbe
from pcam_kaggle.models.transformer import (
    build_transformer,
    find_transformer_revision,
    load_backbone,
)
from pcam_kaggle.models.transformer_settings import FOUNDATION, HeadSettings, TransformerSettings
from pcam_kaggle.recipes import run_recipe
from pcam_kaggle.training.settings import TrainingSettings

safetensors = pytest.importorskip("safetensors.numpy")

GOOD = "hf_good"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model like Hibou's: type dinov2, SwiGLU, four registers."""
    return write_model(tmp_path_factory.mktemp("hub") / "small", 4)


@pytest.fixture
def hub(model, tmp_path, monkeypatch):
    """A hub with Hibou-B, open, and Hibou-L, gated."""
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path / "input"))
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    models = {"histai/hibou-b": model, "histai/hibou-L": model}
    with serve_hub(monkeypatch, tmp_path / "cache", models, {"histai/hibou-L"}, GOOD) as hub:
        yield hub


@pytest.fixture
def save_secret(tmp_path, monkeypatch):
    """A function that makes this process a kernel with a secret, None for no secret."""

    def save(secret):
        module = tmp_path / "secrets" / "kaggle_secrets.py"
        module.parent.mkdir()
        module.write_text(
            "class BackendError(Exception): ...\n"
            "class UserSecretsClient:\n"
            "    def get_secret(self, label):\n"
            f"        secret = {{'HF_TOKEN': {secret!r}}}[label]\n"
            "        if secret is None:\n"
            "            raise BackendError('No user secrets exist for kernel id 1')\n"
            "        return secret\n",
            "utf-8",
        )
        monkeypatch.syspath_prepend(str(module.parent))
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")

    yield save
    sys.modules.pop("kaggle_secrets", None)


def describe(weights):
    """What a run's record says about the backbone's weights."""
    probe = LinearProbe(
        TransformerSettings(weights=weights, input_size=56),
        HeadSettings(),
        TrainingSettings(),
        builder=build_transformer,
        find_revision=find_transformer_revision,
    )
    assert probe.build().output_shape == (None, 2 * DIM)
    backbone = probe.describe()["backbone"]
    return {name: backbone[name] for name in ("weights", "revision")}


def test_a_name_is_downloaded_and_the_record_says_from_where(hub):
    assert describe("hibou-b") == {"weights": "hf://histai/hibou-b", "revision": COMMIT}
    assert set(hub.sent) == {None}


def test_a_download_is_the_folder_with_its_pixel_scale(hub, model, tmp_path):
    scaled = write_model(tmp_path / "scaled", 4)
    settings = {"image_mean": [0.7, 0.6, 0.7], "image_std": [0.2, 0.2, 0.2]}
    (scaled / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    hub.models["histai/hibou-b"] = scaled
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    downloaded = load_backbone("hf://histai/hibou-b", 56)(images)
    np.testing.assert_array_equal(downloaded, load_backbone(str(scaled), 56)(images))
    assert np.abs(downloaded - np.asarray(load_backbone(str(model), 56)(images))).max() > 0.01


def test_an_attached_dataset_of_the_name_is_taken_without_the_internet(hub, model, tmp_path):
    attached = tmp_path / "input" / "datasets" / "me" / "pcam-hibou-l-weights-01234567"
    attached.parent.mkdir(parents=True)
    attached.symlink_to(model)
    found = describe("hibou-l")
    assert found["weights"] == "hf://histai/hibou-L" and len(found["revision"]) == 10
    assert hub.sent == []


def test_the_secret_is_sent_for_gated_models_only(hub, save_secret, capfd, caplog):
    save_secret(f" {GOOD}\n")
    describe("hibou-b")
    assert set(hub.sent) == {None}
    assert describe("hibou-l") == {"weights": "hf://histai/hibou-L", "revision": COMMIT}
    assert f"Bearer {GOOD}" in hub.sent
    output = capfd.readouterr()
    assert GOOD not in output.out + output.err + caplog.text


@pytest.mark.parametrize(
    "secret, reason",
    [
        (None, "no secret HF_TOKEN is attached (BackendError)"),
        ("", "the secret HF_TOKEN is empty"),
        ("hf_broken\nline", "the secret HF_TOKEN is empty or no token"),
        ("hf_other", "HTTP 403 with the token of the secret HF_TOKEN"),
    ],
)
def test_a_gated_model_names_its_page_and_both_ways(
    hub, save_secret, secret, reason, shared_competition, tmp_path, monkeypatch, capfd
):
    save_secret(secret)
    monkeypatch.setenv("PCAM_CACHE", str(tmp_path / "images"))
    settings = {"weights": "hibou-l", "input_size": 56, "num_folds": 2, "require_gpu": False}
    output = tmp_path / "out"
    with pytest.raises(OSError, match="hf://histai/hibou-L is gated") as caught:
        run_recipe("midnight", settings, data=shared_competition, output=output)
    message = str(caught.value)
    for words in (reason, "https://huggingface.co/histai/hibou-L", "Add-ons, Secrets"):
        assert words in message
    assert message.endswith("build.py weights hibou-l FOLDER, then weights=hibou-l")
    assert caught.value.__context__ is None
    assert not (tmp_path / "images").exists()  # nothing was decoded
    if secret:
        assert secret not in message + "".join(capfd.readouterr())


def test_a_gated_model_without_a_name_becomes_a_dataset_of_its_folder(hub):
    hub.models["owner/gated"] = hub.models["histai/hibou-L"]
    hub.gated = {"owner/gated"}
    with pytest.raises(OSError, match="dataset_sources in .*then weights=NAME, the name of that"):
        load_backbone("hf://owner/gated", 56)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"image_mean": 0.5, "image_std": 0.5}',
        '{"image_mean": [0.5, 0.5], "image_std": [0.5, 0.5]}',
        '{"image_mean": [0.5, 0.5, NaN], "image_std": [0.5, 0.5, 0.5]}',
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0]}',
        '{"image_mean": ["a", "b", "c"], "image_std": [0.5, 0.5, 0.5]}',
        "{",
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_a_pixel_scale_that_cannot_be_read_is_named(model, tmp_path, content):
    folder = tmp_path / "scaled"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(model / name)
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "preprocessor_config.json").write_bytes(content)
    with pytest.raises(ValueError, match="preprocessor_config.json: expected a JSON .* Try: "):
        load_backbone(str(folder), 56)


def test_at_home_a_gated_model_asks_for_a_login(hub):
    with pytest.raises(OSError, match="HTTP 401 without a token.*at home: hf auth login"):
        load_backbone("hibou-l", 56)


def test_a_model_that_is_not_there_is_named_without_a_signed_address(hub):
    with pytest.raises(OSError, match="hf://owner/none cannot be downloaded.*HTTP 401"):
        load_backbone("hf://owner/none", 56)


def test_without_a_connection_the_cache_serves_and_without_it_the_error_says_so(
    hub, monkeypatch, tmp_path
):
    load_backbone("hibou-b", 56)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_backbone("hibou-b", 56)
    with pytest.raises(OSError, match="dinov2-small cannot be downloaded.*LocalEntryNotFound"):
        load_backbone("dinov2-small", 56)


@pytest.mark.parametrize(
    "weights, hint", [("hibou-bb", "'hibou-b'"), ("Midnight", "'midnight-12k'")]
)
def test_an_unknown_name_gets_the_closest(hub, weights, hint):
    with pytest.raises(FileNotFoundError, match=f"unknown model '{weights}'. Did you mean {hint}"):
        load_backbone(weights)
    assert hub.sent == []


def test_a_size_that_a_named_model_cannot_take_is_refused(hub):
    with pytest.raises(ValueError, match="hibou-b takes a multiple of 14 pixels.*input_size=60"):
        load_backbone("hibou-b", 60)


@pytest.mark.parametrize("is_complete", [True, False])
def test_weights_in_several_files_are_one_model(model, tmp_path, is_complete):
    folder = tmp_path / "sharded"
    folder.mkdir()
    (folder / "config.json").write_bytes((model / "config.json").read_bytes())
    weights = safetensors.load_file(model / "model.safetensors")
    names, shards = sorted(weights), {}
    for shard in range(2):
        name = f"model-0000{shard + 1}-of-00002.safetensors"
        part = {key: weights[key] for key in names[shard::2]}
        safetensors.save_file(part, folder / name, {"format": "pt"})
        shards.update(dict.fromkeys(part, name))
    index = json.dumps({"metadata": {}, "weight_map": shards})
    (folder / "model.safetensors.index.json").write_text(index, "utf-8")
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    wrong = pytest.raises(ValueError, match="cannot be loaded.*00002-of-00002")
    with contextlib.nullcontext() if is_complete else wrong:
        if not is_complete:
            (folder / name).unlink()
        features = load_backbone(str(folder), 56)(images)
        np.testing.assert_array_equal(features, load_backbone(str(model), 56)(images))


def test_every_name_stands_for_an_address():
    assert all(address.startswith("hf://") for address in FOUNDATION.values())
