"""Checkpoints: a network that goes on is the network that never stopped."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from pcam_kaggle.checkpoint import Checkpoint, open_arrays
from pcam_kaggle.train import train_fold
from test_train import FOLDS, IMAGES, LABELS, TINY

# All that has a state: dropout, jitter, averaged weights, the order of the images.
EVERYTHING = dataclasses.replace(
    TINY, stain_jitter=0.05, translation=2, ema_momentum=0.8, gradient_clip=1.0
)
STOPPING = dataclasses.replace(
    TINY,
    schedule="constant",
    learning_rate=0.05,
    epochs=12,
    early_stopping_patience=3,
    plateau_patience=1,
)


class PowerCut(RuntimeError):
    """What ends the training in these tests."""


class Cut(keras.callbacks.Callback):
    """Ends the training in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            raise PowerCut


def train(config, checkpoint=None, cut=None, labels=LABELS):
    watch = None if cut is None else lambda batches, epochs: Cut(cut)
    return train_fold(config, IMAGES, labels, FOLDS, 1, 0, checkpoint, watch)


@pytest.mark.parametrize(
    "config, cut", [(EVERYTHING, 1), (EVERYTHING, 3), (STOPPING, 4)]
)
def test_a_network_goes_on_as_if_it_had_never_stopped(config, cut, tmp_path, capsys):
    whole, history = train(config)
    path = tmp_path / "folds" / "checkpoint.npz"
    with pytest.raises(PowerCut):
        train(config, Checkpoint(path, "mine"), cut)
    capsys.readouterr()
    again, resumed = train(config, Checkpoint(path, "mine"))
    lines = capsys.readouterr().out
    assert f"fold 1 seed 0 goes on after epoch {cut}/{config.epochs}" in lines
    assert lines.count("| loss ") == len(history) - cut
    pairs = zip(whole.get_weights(), again.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    timed = ["seconds", "train_seconds"]
    assert resumed.drop(columns=timed).equals(history.drop(columns=timed))


def test_a_network_that_had_ended_is_not_trained_on(tmp_path, capsys):
    path = tmp_path / "checkpoint.npz"
    chance = np.random.default_rng(3).permutation(LABELS)  # val_loss soon rises
    whole, history = train(STOPPING, Checkpoint(path, "mine"), labels=chance)
    assert len(history) < STOPPING.epochs  # it stopped early
    capsys.readouterr()
    again, resumed = train(STOPPING, Checkpoint(path, "mine"), labels=chance)
    assert "| loss " not in capsys.readouterr().out
    assert resumed.equals(history)
    pairs = zip(whole.get_weights(), again.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_checkpoint_of_another_run_is_refused_by_name_and_stays(tmp_path):
    path = tmp_path / "checkpoint.npz"
    train(dataclasses.replace(TINY, epochs=1), Checkpoint(path, "other"))
    content = path.read_bytes()
    message = r"checkpoint\.npz is from another run.*fingerprint other, not mine"
    with pytest.raises(ValueError, match=message):
        train(TINY, Checkpoint(path, "mine"))
    assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_said_and_stays(share, tmp_path):
    path = tmp_path / "fold0_seed0.npz"
    np.savez(path, weights=np.arange(1000), fingerprint="mine", state=json.dumps({}))
    content = path.read_bytes()
    open_arrays(path, "mine").close()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"fold0_seed0\.npz is damaged.*delete it"):
        open_arrays(path, "mine")
    assert path.exists()
