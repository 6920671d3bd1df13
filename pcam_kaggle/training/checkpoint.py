"""Checkpoints: the network in training, written after every epoch."""

import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..system.files import write_beside
from ..system.records import open_arrays

# What Keras's callbacks remember between epochs, beside the best weights.
REMEMBERED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")


class Checkpoint(keras.callbacks.Callback):
    """Write all that training depends on to one file, whole, after every epoch.

    Weights, the state of the optimizer and of the random generators, the history, and what
    early stopping and the plateau remember. On a CPU, a network that resumes from it is the
    same to the last bit. Keras's BackupAndRestore does not keep the memory of callbacks, and a
    kill can leave its two files at different epochs.

    Args:
        path: the .npz.
        fingerprint: the run's; a file of another run is refused.
    """

    def __init__(self, path: Path, fingerprint: str):
        super().__init__()
        self.path, self.fingerprint = path, fingerprint
        self.remembered, self.num_done = None, 0

    def restore(self, model: keras.Model, log: object, callbacks: list) -> int:
        """Restore a compiled model from the file, if there is one.

        Args:
            model: keras.Model, compiled.
            log: EpochLog, whose rows are filled.
            callbacks: the callbacks of `fit` that have a memory.

        Returns:
            The number of epochs that are done; for a network that had stopped early, those of
            the whole run.

        Raises:
            ValueError: a file that is damaged or of another run.
        """
        self.log, self.callbacks = log, callbacks
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        with open_arrays(self.path, self.fingerprint) as arrays:
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
        """Give the other callbacks their memory back, which Keras has just reset."""
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
        with write_beside(self.path) as partial:
            np.savez(partial, **arrays, state=text, fingerprint=self.fingerprint)


def list_variables(model: keras.Model) -> list:
    """What training changes: weights, random generators, the optimizer's state."""
    return [*model.variables, *model.optimizer.variables]
