"""One line per epoch, and errors with advice."""

import contextlib
import re
import time
from collections.abc import Iterator

import keras
import numpy as np

OUT_OF_MEMORY = re.compile("resource_?exhausted|out of memory", re.IGNORECASE)


class EpochLog(keras.callbacks.Callback):
    """Print one line per epoch, keep it as a row, and stop at a loss that is not finite.

    Args:
        label: str, the start of each line.
        num_epochs: int, of the whole run.
    """

    def __init__(self, label: str, num_epochs: int):
        super().__init__()
        self.label = label
        self.num_epochs = num_epochs
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now, rate = time.perf_counter(), float(self.model.optimizer.learning_rate)
        row = {"epoch": epoch + 1, **logs, "learning_rate": rate, "seconds": now - self.started}
        row["train_seconds"] = self.trained - self.started
        if not np.isfinite([row["loss"], row["val_loss"]]).all():
            raise FloatingPointError(
                f"{self.label}, epoch {epoch + 1}: the loss is not a finite number. Received: "
                f"loss={row['loss']}, val_loss={row['val_loss']}, learning_rate={rate:.1e}. "
                "Try: a lower learning_rate"
            )
        self.rows.append(row)
        print(
            f"{self.label} epoch {epoch + 1:>2}/{self.num_epochs}  loss {row['loss']:.3f}  "
            f"auc {row['auc']:.4f}  val_loss {row['val_loss']:.3f}  val_auc {row['val_auc']:.4f}"
            f"  {row['seconds']:.1f} s",
            flush=True,
        )


@contextlib.contextmanager
def name_memory_error(batch_size: int) -> Iterator:
    """Name the setting to change when a device runs out of memory."""
    try:
        yield
    except Exception as error:  # each backend has its own class for it
        if not OUT_OF_MEMORY.search(f"{type(error).__name__} {error}"):
            raise
        raise MemoryError(
            f"batch_size: a batch of {batch_size} does not fit into the device's memory. "
            f"Received: batch_size={batch_size}. Try: batch_size={max(1, batch_size // 2)}, half "
            "the learning_rate, or a smaller input_size"
        ) from error
