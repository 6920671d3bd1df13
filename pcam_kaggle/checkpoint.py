"""A network under training, kept after every epoch: a killed run goes on from there."""

import json
import zipfile

import keras
import numpy as np
from keras import ops

from .paths import write_beside

# What Keras's callbacks remember between epochs, beside the best weights.
REMEMBERED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")


class Checkpoint(keras.callbacks.Callback):
    """Write all that training depends on to one file, whole, after every epoch.

    Weights, the optimiser's and the random generators' state, the history, what early
    stopping and the plateau remember: a network that goes on from it is, on a CPU, the
    same to the last bit. Keras's BackupAndRestore keeps no callback's memory, and its
    two files can be torn apart by a kill.

    Args:
        path: Path of the .npz.
        fingerprint: str, of the run; a file of another run is refused.
    """

    def __init__(self, path, fingerprint):
        super().__init__()
        self.path = path
        self.fingerprint = fingerprint
        self.remembered = None
        self.num_done = 0

    def restore(self, model, log, callbacks):
        """Bring a compiled model to where the file was written, if there is one.

        Args:
            model: keras.Model, compiled.
            log: EpochLog, whose rows are filled.
            callbacks: list of the callbacks of `fit` that remember anything.

        Returns:
            int, the number of epochs that are done; of a network that had stopped
            early, those of the whole run.

        Raises:
            ValueError: a file that is damaged or of another run.
        """
        self.log, self.callbacks = log, callbacks
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        variables = list_variables(model)
        with open_arrays(self.path, self.fingerprint) as arrays:
            state = json.loads(str(arrays["state"]))
            for number, variable in enumerate(variables):
                variable.assign(arrays[f"variable{number}"])
            if state["num_best"]:
                state["best_weights"] = [
                    arrays[f"best{number}"] for number in range(state["num_best"])
                ]
        log.rows[:] = state["rows"]
        self.remembered = state
        self.num_done = len(state["rows"])
        print(f"{log.label} goes on after epoch {self.num_done}/{log.num_epochs}")
        return log.num_epochs if state["stopped"] else self.num_done

    def on_train_begin(self, logs=None):
        """Remind the other callbacks, which have just forgotten everything."""
        if self.remembered is None:
            return
        for callback, memory in zip(self.callbacks, self.remembered["callbacks"]):
            for name, value in memory.items():
                setattr(callback, name, value)
            if hasattr(callback, "best_weights"):
                callback.best_weights = self.remembered.get("best_weights")

    def on_epoch_end(self, epoch, logs=None):
        """Write the file."""
        arrays = {
            f"variable{number}": ops.convert_to_numpy(variable)
            for number, variable in enumerate(list_variables(self.model))
        }
        best = [getattr(callback, "best_weights", None) for callback in self.callbacks]
        best = next((weights for weights in best if weights), [])
        arrays.update({f"best{number}": array for number, array in enumerate(best)})
        state = {
            "rows": self.log.rows,
            "stopped": self.model.stop_training,
            "num_best": len(best),
            "callbacks": [
                {name: vars(c)[name] for name in REMEMBERED if name in vars(c)}
                for c in self.callbacks
            ],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with write_beside(self.path) as partial:
            np.savez(
                partial,
                **arrays,
                state=json.dumps(state, default=float),
                fingerprint=self.fingerprint,
            )


def list_variables(model):
    """What training changes: weights, random generators, the optimiser's state."""
    return [*model.variables, *model.optimizer.variables]


def open_arrays(path, fingerprint=None):
    """Open an .npz that a run wrote, and check whose it is.

    Args:
        path: Path.
        fingerprint: str, the run's; None takes any.

    Returns:
        The open numpy archive, a context manager.

    Raises:
        ValueError: a file that is damaged, or of another run; names it.
    """
    try:
        arrays = np.load(path)
        found = str(arrays["fingerprint"])
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged. Expected: a file that a run wrote; delete it, and "
            f"only that network is trained again. Received: {error}"
        ) from error
    if fingerprint is not None:
        refuse_other(path, found, fingerprint)
    return arrays


def refuse_other(path, found, fingerprint):
    """Refuse what another run left.

    Raises:
        ValueError: names the file and the two fingerprints.
    """
    if found != fingerprint:
        raise ValueError(
            f"{path} is from another run (its code, settings or data differ). "
            "Expected: an empty output folder or this run's own. "
            f"Received: fingerprint {found}, not {fingerprint}"
        )
