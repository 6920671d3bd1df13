"""Callbacks: the logs of a step are not fetched, but for one a second."""

import keras
import pytest
from small_task import PATCHES, make_method, make_split

from pcam_kaggle.training import callbacks as callbacks_module
from pcam_kaggle.training.callbacks import ThrottledCallbacks


class Hands:
    """A clock that a test turns."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def hands(monkeypatch):
    """The clock of the callbacks."""
    made = Hands()
    monkeypatch.setattr(callbacks_module, "time", made)
    return made


class Metric:
    """A number on a device, which counts how often it is fetched."""

    num_fetched = 0

    def __float__(self):
        self.num_fetched += 1
        return 0.5


class Recorder(keras.callbacks.Callback):
    """Notes what it sees; each step takes a quarter of a second."""

    def __init__(self, hands):
        super().__init__()
        self.hands, self.trained, self.tested, self.epochs = hands, [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.hands.now += 0.25

    def on_train_batch_end(self, batch, logs=None):
        self.trained.append((batch, type(logs["loss"])))

    def on_test_batch_end(self, batch, logs=None):
        self.tested.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(sorted(logs))


def test_a_metric_is_fetched_once_a_second(hands):
    loss, callbacks = Metric(), ThrottledCallbacks([keras.callbacks.Callback()])
    for step in range(12):
        callbacks.on_train_batch_end(step, {"loss": loss})
        callbacks.on_test_batch_end(step, {"loss": loss})
        hands.now += 0.25
    assert loss.num_fetched == 3


def test_a_training_shows_its_callbacks_a_step_a_second_and_every_epoch(hands):
    recorder = Recorder(hands)
    _, history = make_method(epochs=2, batch_size=4).fit(PATCHES, make_split(), extra=[recorder])
    assert recorder.trained == [(batch, float) for batch in (0, 4, 0, 4)]
    assert recorder.tested == []
    assert len(history) == 2
    names = {"loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc"}
    assert [set(logs) for logs in recorder.epochs] == [names] * 2
