"""Features of a frozen transformer, on small random models in transformers' format."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from pcam_kaggle.budget import Budget
from pcam_kaggle.config import Config
from pcam_kaggle.experiment import run_experiment
from pcam_kaggle.foundation import (
    apply_head,
    differentiate_head,
    explain_tokens,
    extract_features,
    load_backbone,
    train_head,
)
from pcam_kaggle.validation import log_odds

from pcam_kaggle import foundation
from pcam_kaggle.recipes import get_config

safetensors = pytest.importorskip("safetensors.numpy")

DIM, PATCH, NATIVE = 16, 14, 28
FROZEN = {
    "architecture": "midnight",
    "input_size": 56,
    "augmentation": "none",
    "num_folds": 2,
    "tta": "none",
}


def write_model(folder, num_registers=0, swiglu=True, model_type="dinov2"):
    """A random transformer of two blocks as `save_pretrained` of transformers does."""
    random = np.random.default_rng(0)
    config = {
        "model_type": model_type,
        "image_size": NATIVE,
        "patch_size": PATCH,
        "hidden_size": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_ratio": 4,
        "layerscale_value": 1.0,
        "use_swiglu_ffn": swiglu,
        "hidden_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "num_register_tokens": num_registers,
    }
    hidden = (int(DIM * 4 * 2 / 3) + 7) // 8 * 8
    mlp = {"fc1": (DIM * 4, DIM), "fc2": (DIM, DIM * 4)}
    if swiglu:
        mlp = {"weights_in": (2 * hidden, DIM), "weights_out": (DIM, hidden)}
    shapes = {
        "embeddings.cls_token": (1, 1, DIM),
        "embeddings.mask_token": (1, DIM),
        "embeddings.position_embeddings": (1, 1 + (NATIVE // PATCH) ** 2, DIM),
        "embeddings.patch_embeddings.projection.weight": (DIM, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (DIM,),
        "layernorm.weight": (DIM,),
        "layernorm.bias": (DIM,),
    }
    if num_registers:
        shapes["embeddings.register_tokens"] = (1, num_registers, DIM)
    dense = {f"attention.attention.{n}": (DIM, DIM) for n in ("query", "key", "value")}
    dense["attention.output.dense"] = (DIM, DIM)
    dense.update({f"mlp.{name}": shape for name, shape in mlp.items()})
    for block in range(2):
        prefix = f"encoder.layer.{block}."
        for name, shape in dense.items():
            shapes[f"{prefix}{name}.weight"] = shape
            shapes[f"{prefix}{name}.bias"] = shape[:1]
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[prefix + name] = (DIM,)
        for scale in ("layer_scale1", "layer_scale2"):
            shapes[f"{prefix}{scale}.lambda1"] = (DIM,)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    weights = {
        name: random.normal(0, 0.3, shape).astype("float32")
        for name, shape in shapes.items()
    }
    safetensors.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("hub") / "small")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (6, 96, 96, 3), np.uint8)


@pytest.mark.parametrize("num_registers, swiglu", [(0, True), (4, False)])
def test_features_are_the_class_token_and_the_mean_of_the_patches(
    tmp_path, images, num_registers, swiglu
):
    kind = "dinov2_with_registers" if num_registers else "dinov2"
    folder = write_model(tmp_path / "model", num_registers, swiglu, kind)
    import keras_hub

    backbone = keras_hub.models.Backbone.from_preset(
        str(folder), image_shape=(56, 56, 3)
    )
    small = images[:, 20:76, 20:76]
    tokens = np.asarray(backbone((small / 255 - 0.5) / 0.5))
    assert tokens.shape == (6, 1 + num_registers + 16, DIM)
    expected = np.concatenate(
        [tokens[:, 0], tokens[:, 1 + num_registers :].mean(axis=1)], axis=-1
    )
    features = load_backbone(str(folder), 56, crop_size=56)(images)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_the_pixel_scale_beside_the_weights_is_heeded(tmp_path, images):
    plain = write_model(tmp_path / "plain")
    scaled = write_model(tmp_path / "scaled")
    settings = {"image_mean": [0.2, 0.4, 0.6], "image_std": [0.1, 0.2, 0.3]}
    (scaled / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    scale = (images[:1] / 255 - [0.2, 0.4, 0.6]) / [0.1, 0.2, 0.3]
    seen_alike = (scale * 0.5 + 0.5) * 255
    # The plain model on pixels that its own scale turns into the same numbers.
    inner = load_backbone(str(plain), 56, 56)
    outer = load_backbone(str(scaled), 56, 56)
    backbone = next(x for x in inner.layers if "backbone" in x.name)
    tokens = np.asarray(backbone((seen_alike[:, 20:76, 20:76] / 255 - 0.5) / 0.5))
    np.testing.assert_allclose(outer(images[:1])[:, :DIM], tokens[:, 0], atol=1e-4)


def test_eight_views_make_the_features_the_same_for_every_view(model, images, tmp_path):
    backbone = load_backbone(str(model), 56)
    upright, turned, single = (
        extract_features(backbone, array, tta, name, tmp_path)
        for array, tta, name in [
            (images, "dihedral", "upright"),
            (np.rot90(images, axes=(1, 2)), "dihedral", "turned"),
            (images, "none", "single"),
        ]
    )
    assert upright.dtype == np.float16 and upright.shape == (6, 2 * DIM)
    np.testing.assert_allclose(upright, turned, atol=4e-3)  # rounded to float16
    assert np.abs(upright - single).max() > 0.05


def test_parts_that_are_there_are_taken(model, images, tmp_path):
    backbone = load_backbone(str(model), 56)
    first = extract_features(backbone, images, "none", "run", tmp_path)
    path = tmp_path / "run__000000.npy"
    np.save(path, first + 1)
    taken = extract_features(backbone, images, "none", "run", tmp_path)
    np.testing.assert_array_equal(taken, first + 1)


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_a_head_learns_from_features(head):
    random = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = random.normal(0, 1, (200, 8)).astype("float16")
    features[:, 3] += 3 * labels
    settings = {"weights": "hf://any/model", "head": head, "epochs": 20}
    config = Config(**FROZEN, **settings, learning_rate=1e-2, batch_size=20)
    folds = np.arange(200) // 2 % 2
    network, history = train_head(config, features, labels, folds, 0, seed=1)
    predictions = apply_head(network, features, np.flatnonzero(folds == 0))
    assert predictions.dtype == np.float32 and predictions.shape == (100,)
    assert history["val_auc"].iloc[-1] > 0.95
    assert {"fold", "seed", "epoch", "loss", "val_loss", "accuracy"} <= set(history)


def test_a_whole_run_and_its_repetition(model, competition, tmp_path, monkeypatch):
    config = Config(**FROZEN, weights=str(model))
    run = run_experiment(config, data=competition, output=tmp_path)
    assert run["num_parameters"] > 1000 and 0 <= run["oof_auc"] <= 1
    first = (tmp_path / "submission.csv").read_bytes()
    parts = sorted(path.name for path in (tmp_path / "features").iterdir())
    fingerprint = run["fingerprint"]
    assert parts == [
        f"test_{fingerprint}_000000.npy",
        f"train_{fingerprint}_000000.npy",
    ]
    run_experiment(config, data=competition, output=tmp_path)
    assert (tmp_path / "submission.csv").read_bytes() == first
    assert (tmp_path / "gradcam.png").exists()


def test_two_workers_describe_what_one_does(model, competition, tmp_path):
    settings = {**FROZEN, "figures": False, "weights": str(model)}
    found = {}
    for num_workers in (1, 2):
        out = tmp_path / str(num_workers)
        config = Config(**settings, num_workers=num_workers)
        run_experiment(config, data=competition, output=out)
        found[num_workers] = pd.read_csv(out / "submission.csv")["label"].to_numpy()
    assert found[1] == pytest.approx(found[2], abs=1e-3)


def test_a_worker_s_share_is_every_second_part(images, tmp_path, monkeypatch):
    monkeypatch.setattr(foundation, "IMAGES_PER_PART", 2)
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    mean = keras.ops.mean(keras.ops.cast(inputs, "float32"), axis=(1, 2))
    given = (keras.Model(inputs, mean), images, "none", "train", tmp_path)
    whole = images.mean(axis=(1, 2))
    second = extract_features(*given, share=(1, 2))
    assert second == pytest.approx(whole[2:4], rel=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["train__000002.npy"]
    assert extract_features(*given) == pytest.approx(whole, rel=1e-3)
    assert len(extract_features(*given, share=(5, 6))) == 0


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_the_map_follows_the_slopes_of_the_head(model, head):
    images = np.random.default_rng(2).integers(0, 256, (24, 96, 96, 3), np.uint8)
    backbone = load_backbone(str(model), 56)
    features = backbone.predict(images, verbose=0)
    labels = (features[:, DIM + 3] > np.median(features[:, DIM + 3])).astype(int)
    settings = {"weights": str(model), "head": head, "epochs": 5}
    config = Config(**FROZEN, **settings, learning_rate=1e-2, batch_size=8)
    folds = np.arange(24) // 2 % 2
    network, _ = train_head(config, features, labels, folds, 0, seed=0)
    slopes = differentiate_head(network, features)
    for place in (0, DIM + 3):
        step = np.zeros_like(features)
        step[:, place] = 2e-4
        ends = [apply_head(network, features + sign * step) for sign in (-1, 1)]
        slope = (log_odds(ends[1]) - log_odds(ends[0])) / 4e-4
        error = np.abs(slope - slopes[:, place]).mean()
        assert error < 0.05 * np.abs(slopes[:, place]).mean() + 1e-3
    answers = apply_head(network, features)
    heat = explain_tokens(backbone, slopes, images, answers)
    assert heat.shape == (24, 96, 96) and heat.dtype == np.float16
    assert np.isfinite(heat).all() and heat.min() >= 0 and heat.max() == 1


def test_a_folder_attached_to_the_kernel_is_found_by_its_name(model, monkeypatch):
    monkeypatch.setenv("PCAM_INPUT", str(model.parent))
    assert load_backbone("small", 56).output_shape == (None, 2 * DIM)
    with pytest.raises(FileNotFoundError, match="Received: 'other'"):
        load_backbone("other", 56)


def test_another_kind_of_model_is_refused(tmp_path):
    folder = write_model(tmp_path / "swin", model_type="swin")
    with pytest.raises(ValueError, match=r"type dinov2.*Received: .*swin"):
        load_backbone(str(folder), 56)


def test_a_file_that_lacks_weights_is_refused(tmp_path):
    folder = write_model(tmp_path / "cut")
    weights = safetensors.load_file(folder / "model.safetensors")
    del weights["embeddings.cls_token"]
    safetensors.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"cannot be loaded.*Received: .*cls_token"):
        load_backbone(str(folder), 56)


def test_features_without_time_are_refused_and_kept_so_far(
    images, tmp_path, monkeypatch
):
    monkeypatch.setattr(foundation, "IMAGES_PER_PART", len(images) // 2)
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    mean = keras.ops.mean(keras.ops.cast(inputs, "float32"), axis=(1, 2))
    given = (keras.Model(inputs, mean), images, "none", "train", tmp_path, "mine", None)
    with pytest.raises(ValueError, match="max_hours: the features of train takes"):
        extract_features(*given, Budget(1, seconds_left=-1.0))
    assert len(list(tmp_path.iterdir())) == 1
    assert len(extract_features(*given, Budget(1))) == len(images)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weights": "none"}, r"weights: midnight needs .*hf://kaiko-ai/midnight"),
        ({"augmentation": "flip"}, "augmentation: a frozen network"),
        ({"stain_jitter": 0.05}, "stain_jitter: a frozen network"),
        ({"input_size": 96}, "input_size: midnight takes 56 to 224 .* steps of 14"),
    ],
)
def test_settings_that_a_frozen_network_cannot_heed_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        get_config("midnight", change)


def test_features_that_overflow_are_named(images, tmp_path):
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    pooled = keras.ops.mean(keras.ops.cast(inputs, "float32"), axis=(1, 2)) * 1e4
    with pytest.raises(FloatingPointError, match="mixed_bfloat16"):
        extract_features(
            keras.Model(inputs, pooled), images, "none", "features", tmp_path
        )
    assert not list(tmp_path.iterdir())
