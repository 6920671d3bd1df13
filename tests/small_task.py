"""A task and a network that train within a second, and what trains them."""

import dataclasses

import keras
import numpy as np
import pandas as pd
from keras import layers

from pcam_kaggle.augmentation.flips import augment_patches
from pcam_kaggle.augmentation.settings import AugmentationSettings
from pcam_kaggle.data.folds import split_fold
from pcam_kaggle.data.run import Competition, Patches, Run
from pcam_kaggle.data.settings import DataSettings, FoldSettings
from pcam_kaggle.methods.finetune import Finetune
from pcam_kaggle.models.settings import NetworkSettings
from pcam_kaggle.system.clock import Clock
from pcam_kaggle.system.device import Device
from pcam_kaggle.system.machine_settings import MachineSettings
from pcam_kaggle.system.settings import compose
from pcam_kaggle.training.settings import TrainingSettings

LABELS = np.arange(48) % 2
# Bright patches are positive: learnable in a few steps.
IMAGES = np.random.default_rng(0).integers(0, 120, (48, 96, 96, 3))
IMAGES = (IMAGES + 120 * LABELS[:, None, None, None]).astype("uint8")
FOLDS = np.arange(48) // 2 % 3
PATCHES = Patches(IMAGES, LABELS, IMAGES[:5], IMAGES)
# The same patches with labels that nobody can learn: val_loss soon rises.
CHANCE = dataclasses.replace(PATCHES, labels=np.random.default_rng(3).permutation(LABELS))

PARTS = {
    "data": DataSettings,
    "folds": FoldSettings,
    "network": NetworkSettings,
    "augmentation": AugmentationSettings,
    "training": TrainingSettings,
    "machine": MachineSettings,
}
CHANGES = {
    "num_folds": 3,
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "label_smoothing": 0.0,
}
# All that has a state: dropout, jitter, averaged weights, the order of the patches.
EVERYTHING = {"stain_jitter": 0.05, "translation": 2, "ema_momentum": 0.8, "gradient_clip": 1.0}
CONSTANT = {"schedule": "constant", "learning_rate": 0.05}


def build_tiny(settings):
    """Every kind of layer that has a state, and hardly a pixel."""
    inputs = keras.Input((96, 96, 3))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(4, 3, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(settings.dropout_rate)(layers.GlobalAveragePooling2D()(x))
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="tiny")


def make_settings(**overrides):
    """Settings of the small task, with other values by name."""
    return compose(PARTS, CHANGES, overrides)


def make_method(tta="none", explainer=None, **overrides):
    """Fine-tuning of the tiny network."""
    settings = make_settings(**overrides)
    return Finetune(
        build_tiny,
        augment_patches,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
        tta=tta,
        explainer=explainer,
    )


def make_run(output, **overrides):
    """A run over the small task that writes to a folder."""
    ids = [f"id{n:02}" for n in range(48)]
    train = pd.DataFrame({"path": ids, "id": ids, "label": LABELS})
    tables = Competition(output, train, train[["path", "id"]].head(5), None)
    output.mkdir(exist_ok=True)
    settings = make_settings(**overrides)
    (output / "no_input").mkdir(exist_ok=True)
    inputs = output / "no_input"
    rest = {"build_id": "package", "code": "package", "edited": False, "fingerprint": "mine"}
    return Run("small", settings, tables, output, inputs, Clock(), **rest)


def make_device(num_workers=1):
    """This machine's CPU."""
    return Device("float32", 0, num_workers, "a CPU")


def make_split(seed=0):
    """Fold 1 held out."""
    return split_fold(FOLDS, 1, seed, f"fold 1 seed {seed}")


def same_weights(network, other):
    """Whether two networks agree in every bit."""
    pairs = zip(network.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
