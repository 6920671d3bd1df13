"""Checkpoints: a network that resumes is the network that never stopped."""

import functools

import keras
import pytest
from small_task import CHANCE, CONSTANT, EVERYTHING, PATCHES, make_method, make_split, same_weights

from kernel.progress import Progress
from pcam_kaggle.training.checkpoint import Checkpoint

# What early stopping and the plateau remember is part of the state.
STOPPING = {**CONSTANT, "epochs": 20, "early_stopping_patience": 3, "plateau_patience": 1}
CASES = {"everything": (EVERYTHING, PATCHES), "stopping": (STOPPING, CHANCE)}
TIMED = ["seconds", "train_seconds"]


class PowerCut(RuntimeError):
    """What ends the training in these tests."""


class Cut(keras.callbacks.Callback):
    """Ends the training in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.now == self.epoch and batch == 2:
            raise PowerCut


def train(settings, patches, checkpoint=None, extra=()):
    return make_method(**settings).fit(patches, make_split(), checkpoint, extra)


@functools.cache
def train_whole(case):
    """A network that was never stopped, and its history."""
    return train(*CASES[case])


@pytest.mark.parametrize(
    "case, cut", [("everything", 2), pytest.param("stopping", -1, marks=pytest.mark.slow)]
)
def test_a_network_resumes_as_if_it_had_never_stopped(case, cut, tmp_path, capsys):
    settings, patches = CASES[case]
    whole, history = train_whole(case)
    cut %= len(history)  # -1 is the last epoch, after which it stops early
    assert case == "everything" or cut > 4
    path = tmp_path / "folds" / "checkpoint.npz"
    with pytest.raises(PowerCut):
        train(settings, patches, Checkpoint(path, "mine"), [Cut(cut)])
    capsys.readouterr()
    checkpoint = Checkpoint(path, "mine")
    again, resumed = train(settings, patches, checkpoint)
    lines = capsys.readouterr().out
    num_epochs = settings.get("epochs", 4)
    assert f"fold 1 seed 0 resumes after epoch {cut}/{num_epochs}\n" in lines
    first, *_ = lines.splitlines()
    progress = Progress()
    assert not progress.read(first)
    assert f"fold 1 epoch {cut} of {num_epochs}, " in progress.describe(80)
    assert checkpoint.num_done == cut
    assert lines.count("  loss ") == len(history) - cut
    assert same_weights(whole, again)
    assert resumed.drop(columns=TIMED).equals(history.drop(columns=TIMED))


def test_a_network_that_had_stopped_is_not_trained_further(tmp_path, capsys):
    path = tmp_path / "checkpoint.npz"
    whole, history = train_whole("stopping")
    train(STOPPING, CHANCE, Checkpoint(path, "mine"))
    assert len(history) < STOPPING["epochs"]  # it stopped early
    capsys.readouterr()
    again, resumed = train(STOPPING, CHANCE, Checkpoint(path, "mine"))
    assert "  loss " not in capsys.readouterr().out
    assert resumed.drop(columns=TIMED).equals(history.drop(columns=TIMED))
    assert same_weights(whole, again)


def test_a_checkpoint_of_another_run_is_refused_by_name_and_stays(tmp_path):
    path = tmp_path / "checkpoint.npz"
    train({"epochs": 1}, PATCHES, Checkpoint(path, "other"))
    content = path.read_bytes()
    message = r"checkpoint\.npz is from another run.*fingerprint other, not mine"
    with pytest.raises(ValueError, match=message):
        train({}, PATCHES, Checkpoint(path, "mine"))
    path.write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"checkpoint\.npz is damaged"):
        train({}, PATCHES, Checkpoint(path, "other"))
    assert path.read_bytes() == content[:-100]
