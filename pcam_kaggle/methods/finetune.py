"""Fine-tuning on augmented patches."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd

from ..data.batches import Batches
from ..data.decode import IMAGE_SHAPE
from ..data.folds import Split
from ..data.run import Patches, Run
from ..inference.views import NUM_VIEWS, VIEWED, predict_views
from ..system.device import Device
from ..system.records import Explanation
from ..system.settings import Part
from ..system.weights import load_file
from ..training.callbacks import ThrottledCallbacks
from ..training.checkpoint import Checkpoint
from ..training.epoch_log import EpochLog, name_memory_error
from ..training.optimizer import compile_model, make_callbacks
from ..training.settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Train all layers of a network on random views of the patches.

    Args:
        builder: function of `network` that returns a keras.Model, float32 (b, 96, 96, 3),
            0 to 255, -> float32 (b, 1).
        augment: function of a uint8 tensor (b, 96, 96, 3), `augmentation` and a random seed
            that returns a float32 tensor of that shape.
        network, augmentation, training: the settings of each.
        tta: test-time views, "none", "flip" or "dihedral".
        explainer, compiler: functions like `explain_maps` and `compile_model`, or None.
        starts: dict of random seeds and files of weights, or None; see `warm_start`.
    """

    builder: Callable
    augment: Callable
    network: Part
    augmentation: Part
    training: TrainingSettings
    tta: str = "none"
    explainer: Callable | None = None
    compiler: Callable | None = None
    starts: dict | None = None

    @property
    def num_views(self) -> int:
        """The number of views over which a prediction is averaged."""
        return NUM_VIEWS[self.tta]

    def build(self) -> keras.Model:
        """Build the network with its initial weights; refuse weights that do not fit."""
        return self.builder(self.network)

    def describe(self) -> dict:
        """The facts about this method that are stored with a network."""
        return {"method": "Finetune", "tta": self.tta, "backbone": None}

    def prepare(self, patches: Patches, run: Run, device: Device) -> Patches:
        """Return what `fit` and `predict` read: the patches, unchanged."""
        return patches

    def fit(
        self, patches: Patches, split: Split, checkpoint: Checkpoint | None = None, extra: list = ()
    ) -> tuple:
        """Train one network and validate it on the held-out fold.

        Args:
            patches: as `prepare` returns them.
            split: the positions, the random seed and the network's name.
            checkpoint: where training resumes and is saved, or None.
            extra: more callbacks, which may stop the training.

        Returns:
            The trained network and its history, a DataFrame with a row per epoch. With early
            stopping, its weights are those of the lowest val_loss, else the last epoch's.

        Raises:
            FloatingPointError: the loss is no longer a finite number.
            MemoryError: a batch does not fit into the device's memory.
            ValueError: the checkpoint is damaged or of another run.
        """
        settings = self.training
        policy = keras.config.dtype_policy()
        VIEWED.clear()
        keras.backend.clear_session()  # frees the last network, and resets the policy
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(split.seed)
        images, labels, size = patches.images, patches.labels, settings.batch_size
        batches = Batches(images, split.train, size, labels, split.seed, f"{split.name} batch")
        network = self.build()
        if self.starts:
            load_file(network, self.starts[split.seed])
        inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
        model = keras.Model(inputs, network(self.augment(inputs, self.augmentation, split.seed)))
        (self.compiler or compile_model)(model, settings, settings.epochs * len(batches))

        # The log comes first: it reads the rate before the plateau lowers it. The checkpoint comes
        # after the callbacks it saves and before `extra`, which may stop training.
        log = EpochLog(split.name, settings.epochs)
        callbacks = [log, *make_callbacks(settings)]
        first_epoch = 0
        if checkpoint:
            first_epoch = checkpoint.restore(model, log, callbacks[1:])
            batches.skip_epochs(first_epoch)
            callbacks.append(checkpoint)
        about = {"model": model, "epochs": settings.epochs, "steps": len(batches)}
        with name_memory_error(size):
            model.fit(
                batches,
                validation_data=Batches(images, split.valid, size, labels),
                initial_epoch=first_epoch,
                epochs=settings.epochs,
                callbacks=ThrottledCallbacks([*callbacks, *extra], add_history=True, **about),
                shuffle=False,  # Batches shuffles, in an order that can be resumed
                verbose=0,
            )
        return network, pd.DataFrame(log.rows)

    def predict(
        self, network: keras.Model, images: np.ndarray, positions: np.ndarray | None = None
    ) -> tuple:
        """Predict the probability of tumor over all views, and of the unchanged patches.

        Args:
            network: as `fit` returns it.
            images: uint8 array (n, 96, 96, 3).
            positions: int array (m,) of those to predict; None for all.

        Returns:
            Two float32 arrays (m,).
        """
        return predict_views(network, images, positions, self.tta)

    def explain(
        self, network: keras.Model, patches: Patches, positions: np.ndarray, oof: np.ndarray
    ) -> Explanation:
        """Explain some patches of a validation fold with `explainer`."""
        return self.explainer(network, patches, positions, oof, self.network.crop_size)
