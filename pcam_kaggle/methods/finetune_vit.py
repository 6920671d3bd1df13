"""Fine-tuning of a vision transformer."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from ..data.batches import Batches
from ..data.decode import IMAGE_SHAPE
from ..data.folds import Split
from ..data.run import Patches
from ..models.vit import BACKBONE, keep_positions
from ..system.device import choose_jit_compile
from ..training.checkpoint import Checkpoint
from ..training.layer_decay import compile_layerwise
from ..training.vit_memory import check_memory
from .finetune import Finetune
from .logistic import fit_regression

MOST_PATCHES = 20_000  # that the first last layer is fitted to


@dataclasses.dataclass(frozen=True)
class FinetuneVit(Finetune):
    """Train a vision transformer from its fitted linear head, with layer-wise learning rates.

    Random weights of the last layer would change the features before it has learned from them
    (Kumar et al. 2022). `memory` is the GPU's in MiB, or 0, as `Device` has it.
    """

    memory: int = 0

    def __post_init__(self):
        decay, optimizer = self.network.layer_decay, self.training.optimizer
        if optimizer == "adamw":
            compiler = functools.partial(compile_layerwise, decay=decay)
            object.__setattr__(self, "compiler", compiler)
        elif decay < 1:
            raise ValueError(
                "layer_decay: expected optimizer=adamw, or layer_decay=1. Received: "
                f"optimizer={optimizer!r}, layer_decay={decay}"
            )

    def build(self) -> keras.Model:
        """Build the network; refuse one that is too large for the GPU's memory, too."""
        network = super().build()
        check_memory(network, self.network, self.training, self.memory)
        return network

    def start(self, network: keras.Model, patches: Patches, split: Split) -> None:
        """Fit the last layer to the features of some training patches by logistic regression.

        Raises:
            FloatingPointError: some features are not finite in this precision.
        """
        if not self.network.start_from_linear_head:
            return
        random = np.random.default_rng(split.seed)
        num_rows = min(MOST_PATCHES, len(split.train))
        rows = np.sort(random.choice(split.train, num_rows, replace=False))
        features = extract_last(network, patches.images, rows, self.training.batch_size)
        if not np.isfinite(features).all():
            raise FloatingPointError(
                f"{split.name}: features that are not finite. Try: precision=float32"
            )
        whole = Split(np.arange(num_rows), rows[:0], split.seed, f"{split.name} linear head")
        set_head(network.layers[-1], fit_regression(features, patches.labels[rows], whole))

    def fit(
        self, patches: Patches, split: Split, checkpoint: Checkpoint | None = None, extra: list = ()
    ) -> tuple:
        """Train one network as `Finetune.fit` does."""
        begin = FirstEpoch(checkpoint, functools.partial(self.start, patches=patches, split=split))
        network, history = super().fit(patches, split, checkpoint, [begin, *extra])
        keep_positions(network.get_layer(BACKBONE))
        return network, history


class FirstEpoch(keras.callbacks.Callback):
    """Call a function of the network before the first epoch, unless training resumes.

    Args:
        checkpoint: where it resumes, or None.
        start: function of the network.
    """

    def __init__(self, checkpoint: Checkpoint | None, start: Callable):
        super().__init__()
        self.checkpoint, self.start = checkpoint, start

    def on_train_begin(self, logs=None):
        """Find out whether epochs are done, and call it."""
        if not (self.checkpoint and self.checkpoint.num_done):
            self.start(self.model.layers[-1])


def extract_last(
    network: keras.Model, images: np.ndarray, rows: np.ndarray, batch_size: int
) -> np.ndarray:
    """The inputs of the last layer for some unchanged patches: float32 array (m, dim)."""
    inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
    features = keras.Model(network.inputs[0], network.layers[-1].input)
    model = keras.Model(inputs, features(ops.cast(inputs, "float32")))
    model.compile(jit_compile=choose_jit_compile())
    return model.predict(Batches(images, rows, batch_size), verbose=0)[: len(rows)]


def set_head(last: keras.layers.Dense, regression: keras.Sequential) -> None:
    """Give a layer the weights of a regression, for features that are not standardized.

    Args:
        last: the last layer of a network.
        regression: as `fit_regression` returns it.
    """
    scale, head = regression.layers
    kernel, bias = (weight.astype("float64") for weight in head.get_weights())
    mean, variance = (ops.convert_to_numpy(x).reshape(-1, 1) for x in (scale.mean, scale.variance))
    kernel /= np.maximum(np.sqrt(variance), keras.config.epsilon())
    last.set_weights([kernel, bias - (mean * kernel).sum(axis=0)])
