"""A second stage: every network starts from that of its fold, or nothing starts."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from conftest import TINY
from small_task import make_device, same_weights

from pcam_kaggle.data.folds import make_folds, split_fold
from pcam_kaggle.data.run import load_patches, open_run
from pcam_kaggle.inference.load_network import load_network
from pcam_kaggle.methods.finetune import Finetune
from pcam_kaggle.models.scratch import build_scratch
from pcam_kaggle.models.scratch_settings import ScratchSettings
from pcam_kaggle.models.small import build_small
from pcam_kaggle.recipes import demo
from pcam_kaggle.system.files import read_json, write_json
from pcam_kaggle.system.records import load_member
from pcam_kaggle.training.warm_start import warm_start

BUILD = "0123456789"


class Start(keras.callbacks.Callback):
    """Keeps what the network predicts, and its weights, before the first epoch."""

    def __init__(self, images):
        super().__init__()
        self.images = images.astype("float32")

    def on_train_begin(self, logs=None):
        network = self.model.layers[-1]
        self.weights = network.get_weights()
        self.predictions = network.predict(self.images, verbose=0)[:, 0]


@pytest.fixture
def first(finished, tmp_path, monkeypatch):
    """The folder of a run of build BUILD, of two folds, beside the inputs."""
    folder = shutil.copytree(finished, tmp_path / "first")
    write_json(folder / "run.json", {**read_json(folder / "run.json"), "build_id": BUILD})
    monkeypatch.setenv("PCAM_NETWORKS", str(folder))
    return folder


@pytest.fixture
def start(shared_competition, tmp_path):
    """A function that starts a second stage: its run, its folds, its method."""

    def start_one(method=None, **overrides):
        overrides = {**TINY, "weights": BUILD, **overrides}
        folders = {"data": shared_competition, "output": tmp_path / "out"}
        run = open_run("demo", demo.parts(), demo.SETTINGS, overrides, **folders)
        settings, tables = run.settings, run.competition
        labels, seed = tables.train["label"], settings.data.seed
        folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
        parts = {name: getattr(settings, name) for name in ("network", "augmentation", "training")}
        method = method or Finetune(build_small, demo.augment_patches, **parts)
        return run, folds, warm_start(method, folds, run, make_device())

    return start_one


def test_the_first_epoch_starts_from_the_network_of_the_same_fold(first, start):
    for path in list(first.glob("folds/*.keras")):  # as in a dataset
        path.rename(first / path.name)
    run, folds, method = start(epochs=1)
    patches, split = load_patches(run), split_fold(folds, 1, 1, "fold 1")
    seen = Start(patches.images[split.valid])
    method.fit(patches, split, extra=[seen])
    kept = load_member(first / "folds" / "fold1_seed1.npz")
    assert kept.positions.tolist() == split.valid.tolist()
    assert np.allclose(seen.predictions, kept.oof_one_view, atol=1e-5)
    network, _ = load_network(first / "fold1_seed1.keras")
    assert all(map(np.array_equal, seen.weights, network.get_weights()))


def test_another_input_size_keeps_the_weights(first, start):
    run, folds, method = start(input_size=128, crop_size=64, dropout_rate=0.5)
    assert method.network.weights == "none" and run.settings.network.weights == BUILD
    assert {seed: path.name for seed, path in method.starts.items()} == {
        0: "fold0_seed0.keras",
        1: "fold1_seed1.keras",
    }
    assert method.build().input_shape == (None, 96, 96, 3)
    small, larger = (dataclasses.replace(method.network, input_size=n) for n in (96, 128))
    networks = [build_small(small), build_small(larger)]
    for network in networks:
        network.load_weights(method.starts[0])
    assert same_weights(*networks)


def test_several_seeds_start_from_the_one_network_of_their_fold(first, start):
    _, _, method = start(num_seeds=2)
    names = {seed: path.name for seed, path in method.starts.items()}
    assert names == {n: f"fold{n // 2}_seed{n // 2}.keras" for n in range(4)}


def test_without_a_build_id_nothing_changes(first, start):
    run, _, method = start(weights="none")
    assert method.starts is None
    assert start()[0].fingerprint != run.fingerprint


def test_a_fold_that_holds_out_other_patches_is_refused(first, start):
    with pytest.raises(ValueError, match=r"fold 0 of build 0123456789 is another.*Received: \d+,"):
        start(seed=1)
    with pytest.raises(ValueError, match="patches held out. Received"):
        start(num_folds=3, folds=(0,))
    with pytest.raises(ValueError, match="fold 2 in build 0123456789.*Received: none"):
        start(num_folds=3, folds=(2,))


def test_a_map_of_slides_makes_other_folds(first, start, shared_competition, tmp_path):
    ids = [path.stem for path in sorted((shared_competition / "train").iterdir())]
    table = tmp_path / "slides.csv"
    table.write_text("id,slide\n" + "".join(f"{i},s{n % 7}\n" for n, i in enumerate(ids)))
    with pytest.raises(ValueError, match="another, so that its network was trained on patches"):
        start(slide_map=str(table))


@pytest.mark.parametrize("name", ["folds/fold1_seed1.keras", "oof.csv"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_that_run_json_does_not_describe_is_refused(first, start, name, damage):
    (first / name).unlink() if damage == "gone" else (first / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"is missing, damaged or of another build.*Try: fetch"):
        start()


def test_a_network_s_file_is_no_start_whatever_it_has_seen(first, start):
    with pytest.raises(ValueError, match="expected the build id of a run"):
        start(weights="fold0_seed0.keras")


def test_a_build_that_is_not_attached_is_refused(first, start):
    with pytest.raises(FileNotFoundError, match="build abcdefabcd.*Received: 0123456789"):
        start(weights="abcdefabcd")


def test_two_networks_of_a_fold_are_no_start_for_a_third(first, start):
    result = read_json(first / "run.json")
    result["files"]["folds/fold0_seed5.keras"] = result["files"]["folds/fold0_seed0.keras"]
    write_json(first / "run.json", result)
    assert start()[2].starts[0].name == "fold0_seed0.keras"
    result["files"]["folds/fold0_seed6.keras"] = result["files"].pop("folds/fold0_seed0.keras")
    write_json(first / "run.json", result)
    with pytest.raises(ValueError, match="Received: folds/fold0_seed5.keras, folds/fold0_seed6"):
        start()


def test_another_network_is_refused_before_any_patch_is_read(first, start):
    network = ScratchSettings(weights=BUILD)
    method = Finetune(build_scratch, demo.augment_patches, network, None, None)
    with pytest.raises(ValueError, match="does not fit wide_cnn"):
        start(method)
