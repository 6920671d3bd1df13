"""Fine-tuning of a vision transformer: its start, its resumption, its precision, its page."""

import dataclasses
import runpy

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from small_task import CHANCE, IMAGES, LABELS, PATCHES, make_split, same_weights
from small_vit import SIZE, make_method, make_network_settings, make_weights

from kernel.bundle.page import bundle_kernel
from pcam_kaggle.data.folds import Split
from pcam_kaggle.inference.load_network import load_network
from pcam_kaggle.inference.networks import save_network
from pcam_kaggle.inference.predict import predict
from pcam_kaggle.methods import finetune_vit, logistic
from pcam_kaggle.methods.explain_files import Request, explain_files
from pcam_kaggle.methods.finetune_vit import extract_last, set_head
from pcam_kaggle.methods.logistic import fit_regression
from pcam_kaggle.models.transformer import hash_weights
from pcam_kaggle.models.vit import BACKBONE, build_vit
from pcam_kaggle.recipes import run_recipe
from pcam_kaggle.training import optimizer
from pcam_kaggle.training.checkpoint import Checkpoint

pytest.importorskip("safetensors")

TIMED = ["seconds", "train_seconds"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return make_weights(tmp_path_factory.mktemp("hub") / "small")


@pytest.fixture(params=["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def policy(request):
    """Both precisions, one after the other."""
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def eager():
    """Let TensorFlow compile nothing, which would take most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class Cut(keras.callbacks.Callback):
    """Ends the training in the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.now == 1 and batch == 2:
            raise KeyboardInterrupt


def count_starts(monkeypatch):
    """The names of the linear heads that are fitted from now on."""
    names = []

    def fit(features, labels, split):
        names.append(split.name)
        return fit_regression(features, labels, split)

    monkeypatch.setattr(finetune_vit, "fit_regression", fit)
    return names


def test_a_transformer_learns_resumes_and_is_kept(weights, policy, tmp_path, monkeypatch):
    """With XLA in float16, as on a T4; a kill changes no byte, and repeats no start."""
    monkeypatch.setattr(optimizer, "choose_jit_compile", lambda: policy != "float32")
    starts = count_starts(monkeypatch)
    whole, history = make_method(weights, epochs=2).fit(PATCHES, make_split())
    assert starts == ["fold 1 seed 0 linear head"]
    assert np.isfinite(history[["loss", "val_loss"]]).all(axis=None)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    saved = Checkpoint(tmp_path / "checkpoint.npz", "mine")
    with pytest.raises(KeyboardInterrupt):
        make_method(weights, epochs=2).fit(PATCHES, make_split(), saved, [Cut()])
    del starts[:]
    again, resumed = make_method(weights, epochs=2).fit(PATCHES, make_split(), saved)
    assert starts == [] and saved.num_done == 1
    assert same_weights(whole, again)
    assert resumed.drop(columns=TIMED).equals(history.drop(columns=TIMED))
    save_network(tmp_path / "network.keras", whole, {"fold": 1})
    loaded, _ = load_network(tmp_path / "network.keras")
    assert same_weights(whole, loaded)
    tolerance = 1e-6 if policy == "float32" else 5e-3
    np.testing.assert_allclose(predict(loaded, IMAGES), predict(whole, IMAGES), atol=tolerance)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_every_layer_moves_and_the_lower_ones_less(weights, eager):
    """Adam's first step is the learning rate times the factor, whatever the gradient."""
    decay = 0.5
    first = build_vit(make_network_settings(weights))
    method = make_method(
        weights,
        {"layer_decay": decay, "start_from_linear_head": False, "dropout_rate": 0.0},
        **{"schedule": "constant", "learning_rate": 1e-3, "ema_momentum": 0.0},
        **{"epochs": 1, "batch_size": 32, "stain_jitter": 0.0},
    )
    network, _ = method.fit(PATCHES, make_split())
    ours, theirs = (net.get_layer(BACKBONE) for net in (first, network))
    moves = {}
    for before, after in zip(ours.trainable_variables, theirs.trainable_variables, strict=True):
        path = before.path.removeprefix(f"{BACKBONE}_")
        if not path.endswith(("/kernel", "/key/bias")):  # decay; change no softmax
            moves[path] = float(np.abs(np.array(after) - np.array(before)).max())
    factors = {"embeddings/": decay**3, "encoder/layers_0/": decay**2, "encoder/layers_1/": decay}
    factors["layernorm/"] = 1
    for path, move in moves.items():
        factor = next(factor for place, factor in factors.items() if path.startswith(place))
        assert move == pytest.approx(1e-3 * factor, rel=0.01), path


def test_a_head_starts_where_regression_on_the_frozen_features_ends(weights, monkeypatch):
    monkeypatch.setattr(logistic, "STRENGTHS", (1.0,))  # one whose predictions differ
    network = build_vit(make_network_settings(weights, dropout_rate=0.5))
    split = make_split()
    before = network.get_layer(BACKBONE).get_weights()
    make_method(weights).start(network, CHANCE, split)
    features = extract_last(network, IMAGES, split.train, 5)
    whole = Split(np.arange(len(features)), split.valid[:0], split.seed, "head")
    regression = fit_regression(features, CHANCE.labels[split.train], whole)
    expected = np.asarray(regression(features))[:, 0]
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(predict(network, IMAGES[split.train]), expected, atol=1e-4)
    after = network.get_layer(BACKBONE).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_head_is_fitted_to_a_part_of_the_training_patches_only(weights, monkeypatch):
    seen = []

    def fit(features, labels, split):
        seen.append((len(features), list(labels)))
        return fit_regression(features, labels, split)

    monkeypatch.setattr(finetune_vit, "fit_regression", fit)
    monkeypatch.setattr(finetune_vit, "MOST_PATCHES", 20)
    patches, split = PATCHES, make_split()
    labels = np.where(np.isin(np.arange(48), split.train), LABELS, 7)
    network = build_vit(make_network_settings(weights))
    method = make_method(weights)
    method.start(network, patches.__class__(IMAGES, labels, IMAGES[:5], IMAGES), split)
    assert seen[0][0] == 20 and set(seen[0][1]) == {0, 1}
    first = network.get_weights()
    make_method(weights, {"start_from_linear_head": False}).start(network, patches, split)
    assert len(seen) == 1
    assert all(np.array_equal(a, b) for a, b in zip(first, network.get_weights(), strict=True))


def test_a_constant_feature_leaves_a_head_finite():
    features = np.random.default_rng(0).normal(5, 2, (60, 4)).astype("float32")
    features[:, 1] = 3.0
    labels = (features[:, 0] > 5).astype(int)
    regression = fit_regression(features, labels, Split(np.arange(60), [], 0, "head"))
    last = keras.layers.Dense(1, activation="sigmoid")
    last.build((None, 4))
    set_head(last, regression)
    np.testing.assert_allclose(last(features), regression(features), atol=1e-5)


def test_features_that_overflow_stop_the_start_by_name(weights, monkeypatch):
    bad = np.full((32, 4), np.inf, "float32")
    monkeypatch.setattr(finetune_vit, "extract_last", lambda *_: bad)
    with pytest.raises(FloatingPointError, match="fold 1 seed 0: features.*precision=float32"):
        make_method(weights).start(None, PATCHES, make_split())


def test_layer_wise_rates_need_their_optimizer(weights):
    with pytest.raises(ValueError, match="layer_decay: expected optimizer=adamw.*'sgd'"):
        make_method(weights, optimizer="sgd")
    assert make_method(weights, {"layer_decay": 1.0}, optimizer="sgd")


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_the_page_and_the_package_write_the_same_bytes(
    competition, tmp_path, monkeypatch, eager, capsys
):
    inputs, pages = competition.parents[1], tmp_path / "page"
    make_weights(inputs / "small")
    settings = {"weights": "small", "input_size": SIZE, "num_folds": 2, "folds": (0,), "epochs": 1}
    settings |= {"batch_size": 32, "tta": "none"}
    pages.mkdir()
    script = pages / "kernel.py"
    script.write_text(bundle_kernel("vit", settings).source, "utf-8")
    monkeypatch.setenv("PCAM_INPUT", str(inputs))
    monkeypatch.setenv("PCAM_WORKING", str(tmp_path / "out"))
    runpy.run_path(str(script), run_name="__main__")
    lines = capsys.readouterr().out
    assert "network  vit, " in lines and "linear head C=" in lines and "memory   about" in lines
    run = run_recipe("vit", settings, data=inputs, output=tmp_path / "package")
    assert run["complete"] and run["network"] == "vit"
    assert run["backbone"] == {"weights": "small", "revision": hash_weights(inputs / "small")}
    for name in ("submission.csv", "oof.csv"):
        ours, theirs = (tmp_path / folder / name for folder in ("out", "package"))
        assert ours.read_bytes() == theirs.read_bytes()
    check_maps(tmp_path, inputs, pd.read_csv(tmp_path / "package" / "oof.csv"), monkeypatch)


def check_maps(folder, inputs, oof, monkeypatch):
    """The tokens of the tuned network explain its own predictions, also by the command."""
    monkeypatch.setenv("PCAM_NETWORKS", str(folder / "package"))
    out = folder / "explained"
    run_recipe("explain_tokens", {"networks": "package"}, data=inputs, output=out)
    table = pd.read_csv(out / "explained.csv")
    with np.load(out / "maps.npz") as file:
        maps = file["map"].astype("float32")
    assert maps.max() == 1 and maps.min() >= 0 and len(maps) == len(table)
    own = oof.set_index("id")["prediction"][table["id"]]
    np.testing.assert_allclose(table["own"], own, atol=1e-5)
    (patch,) = inputs.rglob(f"{table['id'][0]}.tif")
    (path,) = (folder / "package" / "folds").glob("*.keras")
    known = {"networks": {str(path): ""}, "fingerprint": None, "average": "mean", "maps": None}
    request = Request(**known, sources=[str(patch)], out=str(folder / "one"), name="$a run$")
    assert explain_files(request) == (1, 0)
    with Image.open(folder / "one" / f"{patch.stem}-map.tif") as found:
        np.testing.assert_allclose(np.asarray(found), maps[0], atol=1e-2)


def test_a_backbone_too_large_is_refused_before_any_patch_is_read(weights):
    message = r"weights: .* is too large for the GPU\. Expected: at most"
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_method(weights), memory=1).build()
