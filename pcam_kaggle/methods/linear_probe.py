"""Heads on the features of a frozen network."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers, ops
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from ..data.batches import Batches
from ..data.folds import Split
from ..data.run import Patches, Run, start_budget
from ..models.transformer_settings import HeadSettings, find_address
from ..system.clock import Budget
from ..system.device import Device
from ..system.paths import find_attached
from ..system.records import Explanation
from ..system.settings import Part
from ..system.workers import run_jobs
from ..training.epoch_log import EpochLog
from ..training.optimizer import compile_model, make_callbacks
from ..training.settings import TrainingSettings
from .features import FEATURES, average_features, extract_features, load_features
from .logistic import fit_regression, make_scale, whole_batches

SETS = ("train", "test")  # start the names of the parts of the features
HIDDEN_UNITS = 256


class LinearProbe:
    """Train a head on the features of a frozen network.

    Args:
        network: settings of the frozen network.
        head: settings of what learns from its features.
        training: settings of the training of head="mlp".
        builder: function of `network` and the dtype of the arithmetic that returns the frozen
            keras.Model, uint8 (b, 96, 96, 3) -> float32 (b, dim).
        find_revision: function of `network` that returns the revision of its weights.
        tta: views over which the features are averaged.
        explainer: function like `explain_tokens`, or None.
    """

    num_views = 1  # per prediction: the features are averaged over views

    def __init__(
        self,
        network: Part,
        head: HeadSettings,
        training: TrainingSettings,
        builder: Callable,
        find_revision: Callable,
        tta: str = "none",
        explainer: Callable | None = None,
    ):
        self.builder = builder
        self.find_revision = find_revision
        self.network = network
        self.head = head
        self.training = training
        self.tta = tta
        self.explainer = explainer
        self.backbone = self.extractor = None
        self.rate = 0.0  # images/s that became features, on all devices

    def __getstate__(self):
        return {**vars(self), "backbone": None, "extractor": None}  # each process loads its own

    def build(self) -> keras.Model:
        """Return the frozen network, loaded once per process.

        Raises:
            ImportError, FileNotFoundError, ValueError: it cannot be loaded.
        """
        if self.backbone is None:
            self.backbone = self.builder(self.network, keras.config.dtype_policy().compute_dtype)
        return self.backbone

    def build_extractor(self) -> keras.Model:
        """Return the frozen network with its views, as `average_features` does, once."""
        if self.extractor is None:
            self.extractor = average_features(self.build(), self.tta)
        return self.extractor

    def describe(self) -> dict:
        """The facts about this method and its frozen network that are stored with a head."""
        weights, revision = find_address(self.network.weights), self.find_revision(self.network)
        sizes = {name: getattr(self.network, name) for name in ("crop_size", "input_size")}
        backbone = {"weights": weights, "revision": revision, **sizes}
        return {"method": "LinearProbe", "tta": self.tta, "backbone": backbone}

    def prepare(self, patches: Patches, run: Run, device: Device) -> Patches:
        """Replace the images with float16 features (n, dim).

        Each worker extracts a share; the parts are kept in features/, and this process, which
        only reads them, loads no network.

        Raises:
            ValueError: there is no time for all of them.
            FloatingPointError: some features are not finite in this precision.
        """
        budget, num_workers = start_budget(run), device.num_workers
        if num_workers > 1:
            self.backbone = None  # each worker loads its own
        folder, images = run.output / FEATURES, (patches.images, patches.test_images)
        attached = find_attached(f"*_{run.fingerprint}_*.npy", run.data)
        extract = functools.partial(
            extract_share,
            method=self,
            policy=device.policy,
            folder=folder,
            fingerprint=run.fingerprint,
            attached=attached,
            max_hours=budget.max_hours,
        )
        jobs = (((n, num_workers), budget.left()) for n in range(num_workers))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            rates = run_jobs(extract, images, jobs, num_workers, device.gpus, scratch)
            self.rate = sum(rates)
        train, test = (
            load_features(len(part), name, folder, run.fingerprint, attached)
            for name, part in zip(SETS, images)
        )
        if not self.explainer:
            self.backbone = self.extractor = None  # frees the memory for other networks
        run.clock.end("features", len(train) + len(test))
        return Patches(train, patches.labels, test, patches.pixels)

    def fit(
        self, patches: Patches, split: Split, checkpoint: object = None, extra: list = ()
    ) -> tuple:
        """Train one head on the features of all folds but one.

        head="logistic" is logistic regression with the L2 penalty chosen by 3-fold
        cross-validation within the training folds; head="mlp" one hidden layer. Neither takes
        long enough to need checkpoints or forecasts.

        Args:
            patches: as `prepare` returns them.
            split: the positions, the random seed and the head's name.
            checkpoint: not used.
            extra: more callbacks of head="mlp", which may stop the training.

        Returns:
            The head, for `predict`, and its history.
        """
        if self.head.head == "logistic":
            return fit_logistic(patches.images, patches.labels, split)
        return fit_mlp(self.training, self.head.dropout_rate, patches, split, extra)

    def predict(
        self, head: keras.Model, features: np.ndarray, positions: np.ndarray | None = None
    ) -> tuple:
        """Like `Finetune.predict`; features are averaged over views, so both are equal."""
        predictions = apply_head(head, features, positions)
        return predictions, predictions

    def explain(
        self, head: keras.Model, patches: Patches, positions: np.ndarray, predictions: np.ndarray
    ) -> Explanation:
        """Explain some patches of a validation fold with `explainer`."""
        return self.explainer(
            self.build(), head, patches, positions, predictions, self.network.crop_size
        )


def extract_share(
    images: tuple,
    share: tuple,
    seconds_left: float,
    *,
    method: LinearProbe,
    policy: str,
    folder: Path,
    fingerprint: str,
    attached: list,
    max_hours: float,
) -> float:
    """Extract a worker's share of the features; return its images per second."""
    keras.config.set_dtype_policy(policy)
    budget = Budget(max_hours, seconds_left)
    options = (folder, fingerprint, attached, budget, share)
    return max(
        extract_features(method.build_extractor, part, method.tta, name, *options)
        for name, part in zip(SETS, images)
    )


def apply_head(
    head: keras.Model, features: np.ndarray, positions: np.ndarray | None = None
) -> np.ndarray:
    """The probability of tumor: float32 array (m,)."""
    positions = np.arange(len(features)) if positions is None else positions
    predictions = np.zeros(len(positions), "float32")
    for start, size, block in whole_batches(features, positions):
        answers = head(block.astype("float32"), training=False)
        predictions[start : start + size] = ops.convert_to_numpy(answers)[:size, 0]
    return predictions


def fit_logistic(features: np.ndarray, labels: np.ndarray, split: Split) -> tuple:
    """Fit logistic regression to standardized features; return it and its one-row history."""
    head = fit_regression(features, labels, split)
    row = {"epoch": 1}
    for prefix, positions in (("", split.train), ("val_", split.valid)):
        predictions, truth = apply_head(head, features, positions), labels[positions]
        row[f"{prefix}accuracy"] = accuracy_score(truth, predictions > 0.5)
        row[f"{prefix}auc"] = roc_auc_score(truth, predictions)
        row[f"{prefix}loss"] = log_loss(truth, predictions, labels=[0, 1])
    return head, pd.DataFrame([row])


def fit_mlp(
    settings: TrainingSettings, dropout_rate: float, patches: Patches, split: Split, extra: list
) -> tuple:
    """Train one hidden layer on standardized features; return the head and its history."""
    features, labels, size = patches.images, patches.labels, settings.batch_size
    keras.utils.set_random_seed(split.seed)
    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            make_scale(features, split.train),
            layers.Dropout(dropout_rate),
            layers.Dense(HIDDEN_UNITS, activation="relu"),
            layers.Dropout(dropout_rate),
            layers.Dense(1, activation="sigmoid", dtype="float32"),
        ]
    )
    batches = Batches(features, split.train, size, labels, shuffle_seed=split.seed)
    compile_model(head, settings, settings.epochs * len(batches))
    log = EpochLog(split.name, settings.epochs)
    head.fit(
        batches,
        validation_data=Batches(features, split.valid, 4096, labels),
        epochs=settings.epochs,
        callbacks=[log, *make_callbacks(settings), *extra],
        verbose=0,
    )
    return head, pd.DataFrame(log.rows)
