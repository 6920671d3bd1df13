"""Features of a frozen transformer and heads on them, on small random models."""

import functools
import hashlib
import json
import types

import keras
import numpy as np
import pandas as pd
import pytest
from small_transformer import DIM, write_model

from pcam_kaggle.data.cache import load_cached
from pcam_kaggle.data.competition import load_sample
from pcam_kaggle.data.folds import split_fold
from pcam_kaggle.data.run import Patches
from pcam_kaggle.inference.ensemble import log_odds
from pcam_kaggle.methods import features as features_module
from pcam_kaggle.methods.features import (
    average_features,
    discard_features,
    extract_features,
    load_features,
)
from pcam_kaggle.methods.linear_probe import LinearProbe, apply_head
from pcam_kaggle.methods.token_maps import compute_token_maps, differentiate_head, explain_tokens
from pcam_kaggle.models.transformer import (
    build_transformer,
    find_transformer_revision,
    load_backbone,
)
from pcam_kaggle.models.transformer_settings import HeadSettings, TransformerSettings
from pcam_kaggle.recipes import run_recipe
from pcam_kaggle.system.clock import Budget
from pcam_kaggle.system.files import read_json
from pcam_kaggle.system.paths import find_attached
from pcam_kaggle.training.settings import TrainingSettings

safetensors = pytest.importorskip("safetensors.numpy")

SMALL = {"input_size": 56, "num_folds": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("hub") / "small")


@pytest.fixture(scope="module")
def backbone(model):
    return load_backbone(str(model), 56)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).integers(0, 256, (24, 96, 96, 3), np.uint8)


@pytest.fixture
def colors():
    """A network whose features are the mean of each channel."""
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    mean = keras.ops.mean(keras.ops.cast(inputs, "float32"), axis=(1, 2))
    return keras.Model(inputs, mean)


def make_probe(head="logistic", explainer=None, weights="hf://owner/name", **training):
    """A linear probe; its transformer is not loaded before it is built."""
    return LinearProbe(
        builder=build_transformer,
        find_revision=find_transformer_revision,
        network=TransformerSettings(weights=weights, input_size=56),
        head=HeadSettings(head=head),
        training=TrainingSettings(learning_rate=1e-2, **training),
        explainer=explainer,
    )


def extract(network, images, tta, name, folder, *arguments, **options):
    """The features that are written, read again."""

    def build():
        return average_features(network, tta)

    extract_features(build, images, tta, name, folder, *arguments, **options)
    return load_features(len(images), name, folder, *arguments[:2])


def fit(probe, features, labels):
    """Fit a head with every second pair held out."""
    patches = Patches(features, labels, features[:0], features)
    folds = np.arange(len(labels)) // 2 % 2
    return probe.fit(patches, split_fold(folds, 0, 1, "fold 0 seed 1"))


@pytest.mark.parametrize("num_registers, swiglu", [(0, True), (4, False)])
def test_features_are_the_class_token_and_the_mean_of_the_patches(
    tmp_path, images, num_registers, swiglu
):
    kind = "dinov2_with_registers" if num_registers else "dinov2"
    folder = write_model(tmp_path / "model", num_registers, swiglu, kind)
    import keras_hub

    plain = keras_hub.models.Backbone.from_preset(str(folder), image_shape=(56, 56, 3))
    small = images[:6, 20:76, 20:76]
    tokens = np.asarray(plain((small / 255 - 0.5) / 0.5))
    assert tokens.shape == (6, 1 + num_registers + 16, DIM)
    patches = tokens[:, 1 + num_registers :].mean(axis=1)
    expected = np.concatenate([tokens[:, 0], patches], axis=-1)
    features = load_backbone(str(folder), 56, crop_size=56)(images[:6])
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


def test_eight_views_make_the_features_the_same_for_every_view(backbone, images, tmp_path):
    few = images[:6]
    upright, turned, single = (
        extract(backbone, array, tta, name, tmp_path)
        for array, tta, name in [
            (few, "dihedral", "upright"),
            (np.rot90(few, axes=(1, 2)), "dihedral", "turned"),
            (few, "none", "single"),
        ]
    )
    assert upright.dtype == np.float16 and upright.shape == (6, 2 * DIM)
    np.testing.assert_allclose(upright, turned, atol=4e-3)  # rounded to float16
    assert np.abs(upright - single).max() > 0.05


def test_parts_that_are_there_or_attached_are_taken(colors, images, tmp_path):
    folder, attached = tmp_path / "features", tmp_path / "input"
    first = extract(colors, images, "none", "run", folder, "mine", find_attached("*.npy", attached))
    path = folder / "run_mine_000000.npy"
    np.save(path, first + 1)
    # No network is built for what is there.
    taken = extract(None, images, "none", "run", folder, "mine", find_attached("*.npy", attached))
    np.testing.assert_array_equal(taken, first + 1)
    (attached / "earlier" / "features").mkdir(parents=True)
    path.rename(attached / "earlier" / "features" / path.name)
    taken = extract(None, images, "none", "run", folder, "mine", find_attached("*.npy", attached))
    np.testing.assert_array_equal(taken, first + 1)
    assert not list(folder.iterdir())
    other = extract(
        colors, images, "none", "run", folder, "other", find_attached("*.npy", attached)
    )
    np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("damage", ["cut", "other images", "no array"])
def test_a_damaged_part_is_named_and_an_attached_one_skipped(
    colors, images, tmp_path, damage, capsys
):
    folder, attached = tmp_path / "features", tmp_path / "input"
    first = extract(colors, images, "none", "run", folder, "mine", find_attached("*.npy", attached))
    path = folder / "run_mine_000000.npy"
    if damage == "other images":
        np.save(path, first[1:])
    else:
        path.write_bytes(path.read_bytes()[: {"cut": -1, "no array": 3}[damage]])
    with pytest.raises(ValueError, match=r"run_mine_000000.npy is damaged.*Try: delete it"):
        extract(colors, images, "none", "run", folder, "mine", find_attached("*.npy", attached))
    attached.mkdir()
    path.rename(attached / path.name)
    again = extract(colors, images, "none", "run", folder, "mine", find_attached("*.npy", attached))
    np.testing.assert_array_equal(again, first)
    assert "attached, not taken: " in capsys.readouterr().out


def test_features_that_no_worker_wrote_are_missed(tmp_path):
    with pytest.raises(FileNotFoundError, match="train_mine_000000.npy"):
        load_features(5, "train", tmp_path, "mine")


def test_the_features_of_a_finished_run_are_discarded(colors, images, tmp_path):
    run = types.SimpleNamespace(output=tmp_path)
    extract(colors, images, "none", "train", tmp_path / "features")
    (tmp_path / "run.json").touch()
    discard_features(run)
    discard_features(run)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_a_head_learns_from_features(head):
    labels = np.arange(200) % 2
    features = np.random.default_rng(0).normal(0, 1, (200, 8)).astype("float16")
    features[:, 3] += 3 * labels
    probe = make_probe(head, epochs=10, batch_size=20)
    network, history = fit(probe, features, labels)
    held_out = np.flatnonzero(np.arange(200) // 2 % 2 == 0)
    predictions, one_view = probe.predict(network, features, held_out)
    assert predictions.dtype == np.float32 and predictions.shape == (100,)
    assert np.array_equal(predictions, one_view)
    assert history["val_auc"].iloc[-1] > 0.95
    assert len(history) == {"logistic": 1, "mlp": 10}[head]
    assert {"epoch", "loss", "val_loss", "accuracy", "auc"} <= set(history)


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_the_map_follows_the_slopes_of_the_head(backbone, images, head):
    features = backbone.predict(images, verbose=0)
    labels = (features[:, DIM + 3] > np.median(features[:, DIM + 3])).astype(int)
    network, _ = fit(make_probe(head, epochs=5, batch_size=8), features, labels)
    slopes = differentiate_head(network, features)
    for place in (0, DIM + 3):
        step = np.zeros_like(features)
        step[:, place] = 2e-4
        ends = [apply_head(network, features + sign * step) for sign in (-1, 1)]
        slope = (log_odds(ends[1]) - log_odds(ends[0])) / 4e-4
        error = np.abs(slope - slopes[:, place]).mean()
        assert error < 0.05 * np.abs(slopes[:, place]).mean() + 1e-3
    answers = apply_head(network, features)
    maps = compute_token_maps(backbone, slopes, images, answers)
    assert maps.shape == (24, 96, 96) and maps.dtype == np.float16
    assert np.isfinite(maps).all() and maps.min() >= 0 and maps.max() == 1
    positions = np.arange(4, 24)
    patches = Patches(features, labels, features[:0], images)
    found = explain_tokens(backbone, network, patches, positions, answers[positions], 96)
    assert np.array_equal(found.patches, images[positions[found.shown]])
    np.testing.assert_allclose(found.maps, maps[positions[found.shown]], atol=1e-2)


def test_a_whole_run_and_its_repetition(model, shared_competition, tmp_path):
    settings = {**SMALL, "weights": str(model)}
    run = run_recipe("midnight", settings, data=shared_competition, output=tmp_path)
    assert run["num_parameters"] > 1000 and run["num_trainable"] == 0
    assert run["backbone"]["weights"] == str(model) and len(run["backbone"]["revision"]) == 10
    assert set(run["fold_auc"]) == {"0", "1"} and 0 <= run["oof_auc"] <= 1
    assert run["stages"]["features"]["images"] == 51 + 16
    first = (tmp_path / "submission.csv").read_bytes()
    with np.load(tmp_path / "folds" / "fold1_seed1.npz") as member:
        assert len(member["shown"]) == len(member["maps"]) > 4
        assert member["patches"].dtype == np.uint8
    assert not (tmp_path / "features").exists()
    again = run_recipe("midnight", settings, data=shared_competition, output=tmp_path)
    assert "features" not in again["stages"]  # all networks are finished
    (tmp_path / "folds" / "fold0_seed0.npz").unlink()
    run_recipe("midnight", settings, data=shared_competition, output=tmp_path)
    assert (tmp_path / "submission.csv").read_bytes() == first


def test_kept_heads_give_the_submission_again(model, shared_competition, tmp_path):
    settings = {**SMALL, "weights": str(model)}
    run_recipe("midnight", settings, data=shared_competition, output=tmp_path)
    table = load_sample(shared_competition)
    images = load_cached(table, True, "test")
    features = extract(load_backbone(str(model), 56), images, "none", "test", tmp_path / "again")
    for name in ("fold0_seed0", "fold1_seed1"):
        head = keras.saving.load_model(tmp_path / "folds" / f"{name}.keras", compile=False)
        with np.load(tmp_path / "folds" / f"{name}.npz") as member:
            np.testing.assert_allclose(apply_head(head, features), member["test"], atol=1e-6)


def test_a_study_extracts_the_features_once(model, shared_competition, tmp_path):
    settings = {**SMALL, "weights": str(model), "trials": 3, "epochs": 1}
    run = run_recipe("midnight_study", settings, data=shared_competition, output=tmp_path)
    assert len(list((tmp_path / "features").iterdir())) == 2
    trials = pd.read_csv(tmp_path / "study.csv")
    assert len(trials) == 3 and trials["head"][0] == "logistic"
    assert run["study"]["highest_auc"] == pytest.approx(trials["value"].max())
    assert run == read_json(tmp_path / "run.json")


@pytest.mark.slow
def test_two_workers_describe_what_one_does(model, shared_competition, tmp_path):
    found = {}
    for num_workers in (1, 2):
        out = tmp_path / str(num_workers)
        settings = {**SMALL, "weights": str(model), "num_workers": num_workers}
        run_recipe("midnight", settings, data=shared_competition, output=out)
        found[num_workers] = pd.read_csv(out / "submission.csv")["label"].to_numpy()
    assert found[1] == pytest.approx(found[2], abs=1e-3)


def test_a_worker_s_share_is_every_second_part(colors, images, tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "IMAGES_PER_PART", 2)
    few, mean = images[:6], images[:6].mean(axis=(1, 2))
    build = functools.partial(average_features, colors, "none")
    extract_features(build, few, "none", "train", tmp_path, share=(1, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["train__000002.npy"]
    assert np.load(tmp_path / "train__000002.npy") == pytest.approx(mean[2:4], rel=1e-3)
    extract_features(lambda: None, few, "none", "train", tmp_path, share=(5, 6))  # no part
    assert extract(colors, few, "none", "train", tmp_path) == pytest.approx(mean, rel=1e-3)


def test_features_without_time_are_refused_and_kept_so_far(colors, images, tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "IMAGES_PER_PART", -(-len(images) // 3))
    arguments = (colors, images, "none", "train", tmp_path, "mine", ())
    with pytest.raises(ValueError, match="max_hours: the features of train needs"):
        extract(*arguments, Budget(1, seconds_left=-1.0))
    assert len(list(tmp_path.iterdir())) == 2  # the first takes longer than the others
    assert len(extract(*arguments, Budget(1))) == len(images)


def test_features_that_overflow_are_named(images, tmp_path):
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    pooled = keras.ops.mean(keras.ops.cast(inputs, "float32"), axis=(1, 2)) * 1e4
    with pytest.raises(FloatingPointError, match="mixed_bfloat16"):
        extract(keras.Model(inputs, pooled), images, "none", "features", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_probe_describes_its_backbone(model, monkeypatch, tmp_path):
    digits = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()[:10]
    assert make_probe(weights=str(model)).describe() == {
        "method": "LinearProbe",
        "tta": "none",
        "backbone": {"weights": str(model), "revision": digits, "crop_size": 96, "input_size": 56},
    }
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert make_probe().describe()["backbone"]["revision"] == "unknown"
    snapshots = tmp_path / "models--owner--name" / "snapshots"
    for commit in ("a" * 40, "b" * 40):
        (snapshots / commit).mkdir(parents=True)
        (snapshots / commit / "config.json").touch()
    (tmp_path / "models--owner--name" / "refs").mkdir()
    (tmp_path / "models--owner--name" / "refs" / "main").write_text("a" * 40, "utf-8")
    assert make_probe().describe()["backbone"]["revision"] == "a" * 40


@pytest.mark.parametrize("head", ["logistic", "mlp"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_kept_head_predicts_the_same(tmp_path, head, policy):
    labels = np.arange(200) % 2
    features = np.random.default_rng(0).normal(0, 1, (200, 8)).astype("float16")
    features[:, 3] += 3 * labels
    keras.config.set_dtype_policy(policy)
    try:
        network, _ = fit(make_probe(head, epochs=2, batch_size=20), features, labels)
    finally:
        keras.config.set_dtype_policy("float32")
    network.save(tmp_path / "head.keras")
    kept = keras.saving.load_model(tmp_path / "head.keras", compile=False)
    expected = apply_head(network, features, np.arange(5, 200))
    np.testing.assert_allclose(apply_head(kept, features)[5:], expected, atol=1e-6)
    np.testing.assert_array_equal(apply_head(kept, features, np.arange(5, 200)), expected)
    assert kept(features.astype("float32")).dtype == "float32"


def test_a_folder_attached_to_the_kernel_is_found_by_its_name(model, monkeypatch):
    monkeypatch.setenv("PCAM_INPUT", str(model.parent))
    assert load_backbone("small", 56).output_shape == (None, 2 * DIM)
    with pytest.raises(FileNotFoundError, match="Received: unknown model 'other'"):
        load_backbone("other", 56)


def test_another_kind_of_model_is_refused(tmp_path):
    folder = write_model(tmp_path / "swin", model_type="swin")
    with pytest.raises(ValueError, match=r"type dinov2.*Received: .*swin"):
        load_backbone(str(folder), 56)


def test_a_size_that_is_no_multiple_of_the_patches_is_refused(model):
    with pytest.raises(ValueError, match="multiple of 14 pixels.*input_size=57"):
        load_backbone(str(model), 57)


def test_a_file_that_lacks_weights_is_refused(tmp_path):
    folder = write_model(tmp_path / "cut")
    weights = safetensors.load_file(folder / "model.safetensors")
    del weights["embeddings.cls_token"]
    safetensors.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"cannot be loaded.*Received: .*cls_token"):
        load_backbone(str(folder), 56)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weights": "none"}, r"weights: expected those of a transformer.*dinov2-base"),
        ({"weights": "imagenet"}, "weights: expected those of a transformer"),
        ({"augmentation": "flip"}, "unknown setting 'augmentation'"),
        ({"stain_jitter": 0.05}, "unknown setting 'stain_jitter'"),
        ({"input_size": 14}, "input_size: expected a whole number from 28 to 518"),
    ],
)
def test_settings_that_a_frozen_network_cannot_heed_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run_recipe("midnight", change, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
