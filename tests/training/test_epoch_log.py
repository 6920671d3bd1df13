"""A line and a row per epoch; a loss that is no number and a full device, by name."""

import keras
import pytest
import tensorflow as tf
from small_task import build_tiny

from pcam_kaggle.models.settings import NetworkSettings
from pcam_kaggle.training.epoch_log import EpochLog, name_memory_error

LOGS = {"loss": 0.5, "accuracy": 0.75, "auc": 0.8}
LOGS |= {"val_loss": 0.6, "val_accuracy": 0.7, "val_auc": 0.9}


@pytest.fixture
def log():
    """The log of a network whose learning rate is 0.01."""
    made = EpochLog("fold 1 seed 0", 12)
    model = build_tiny(NetworkSettings())
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    made.set_model(model)
    return made


def end_epoch(log, epoch, **logs):
    """What Keras calls in an epoch."""
    log.on_epoch_begin(epoch)
    log.on_test_begin()
    log.on_epoch_end(epoch, {**LOGS, **logs})


def test_an_epoch_is_a_line_and_a_row(log, capsys):
    end_epoch(log, 0)
    log.model.optimizer.learning_rate = 0.001
    end_epoch(log, 9)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and len(lines[0]) == len(lines[1])
    assert lines[0].startswith(
        "fold 1 seed 0 epoch  1/12  loss 0.500  auc 0.8000  val_loss 0.600  val_auc 0.9000  "
    )
    assert lines[1].startswith("fold 1 seed 0 epoch 10/12  loss ")
    first, second = log.rows
    assert {name: first[name] for name in LOGS} == LOGS
    assert (first["epoch"], second["epoch"]) == (1, 10)
    assert [row["learning_rate"] for row in log.rows] == pytest.approx([0.01, 0.001])
    assert 0 <= first["train_seconds"] <= first["seconds"]


@pytest.mark.parametrize("name", ["loss", "val_loss"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training_by_name(log, name, value, capsys):
    with pytest.raises(FloatingPointError) as error:
        end_epoch(log, 4, **{name: value})
    text = str(error.value)
    assert text.startswith("fold 1 seed 0, epoch 5: the loss is not a finite number. Received: ")
    assert f"{name}={value}" in text and "learning_rate=1.0e-02. Try: a lower" in text
    assert log.rows == [] and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes."),  # JAX
    ],
    ids=["tensorflow", "jax"],
)
@pytest.mark.parametrize("batch_size, smaller", [(64, 32), (1, 1)])
def test_a_full_device_says_which_batch_to_take(error, batch_size, smaller):
    message = f"batch_size: a batch of {batch_size} .* Try: batch_size={smaller}, .*half the"
    with pytest.raises(MemoryError, match=message) as found, name_memory_error(batch_size):
        raise error
    assert found.value.__cause__ is error


def test_another_error_stays_what_it_is():
    with pytest.raises(KeyError), name_memory_error(64):
        raise KeyError("something else")
