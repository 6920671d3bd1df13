"""Checkpoints, written after every epoch."""

import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..system.files import write_beside
from ..system.records import read_arrays
from .epoch_log import EpochLog

# What Keras's callbacks remember between epochs, besides the best weights.
REMEMBERED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")


class Checkpoint(keras.callbacks.Callback):
    """Save the complete training state to one file after every epoch.

    It holds the weights, the state of the optimizer, of the random generators, of early stopping
    and of the plateau, and the history. On a CPU, a resumed network is bit-identical. Keras's
    BackupAndRestore does not keep the state of callbacks, and a kill can leave its two files at
    different epochs.

    Args:
        path: the .npz file.
        fingerprint: the run's; a file of another run is refused.
    """

    def __init__(self, path: Path, fingerprint: str):
        super().__init__()
        self.path, self.fingerprint = path, fingerprint
        self.remembered, self.num_done = None, 0

    def restore(self, model: keras.Model, log: EpochLog, callbacks: list) -> int:
        """Restore a compiled model from the file, if there is one.

        Args:
            model: keras.Model, compiled.
            log: the log, whose rows are restored.
            callbacks: the callbacks of `fit` that have a state.

        Returns:
            The number of finished epochs; if training had stopped early, that of the whole run.

        Raises:
            ValueError: the file is damaged or of another run.
        """
        self.log, self.callbacks = log, callbacks
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        arrays = read_arrays(self.path, self.fingerprint)
        state = json.loads(str(arrays["state"]))
        for number, variable in enumerate(list_variables(model)):
            variable.assign(arrays[f"variable{number}"])
        state["best_weights"] = [arrays[f"best{n}"] for n in range(state["num_best"])]
        log.rows[:] = state["rows"]
        self.remembered = state
        self.num_done = len(state["rows"])
        print(f"{log.label} resumes after epoch {self.num_done}/{log.num_epochs}")
        return log.num_epochs if state["stopped"] else self.num_done

    def on_train_begin(self, logs=None):
        """Restore the state of the other callbacks, which Keras has just reset."""
        if self.remembered is None:
            return
        for callback, memory in zip(self.callbacks, self.remembered["callbacks"]):
            for name, value in memory.items():
                setattr(callback, name, value)
            if hasattr(callback, "best_weights"):
                callback.best_weights = self.remembered["best_weights"] or None

    def on_epoch_end(self, epoch, logs=None):
        """Write the file."""
        variables = [ops.convert_to_numpy(variable) for variable in list_variables(self.model)]
        best = [getattr(callback, "best_weights", None) for callback in self.callbacks]
        best = next((weights for weights in best if weights), [])
        arrays = {f"variable{number}": array for number, array in enumerate(variables)}
        arrays |= {f"best{number}": array for number, array in enumerate(best)}
        memories = [
            {name: vars(callback)[name] for name in REMEMBERED if name in vars(callback)}
            for callback in self.callbacks
        ]
        stopped = self.model.stop_training
        state = {"rows": self.log.rows, "stopped": stopped, "num_best": len(best)}
        text = json.dumps({**state, "callbacks": memories}, default=float)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with write_beside(self.path) as partial:
                np.savez(partial, **arrays, state=text, fingerprint=self.fingerprint)
        except OSError as error:  # the network itself may still fit
            print(f"warning: no checkpoint: {error}", flush=True)


def list_variables(model: keras.Model) -> list:
    """What training changes: weights, random generators, the optimizer's state."""
    return [*model.variables, *model.optimizer.variables]
