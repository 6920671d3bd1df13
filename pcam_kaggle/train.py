"""One network on one fold: compile, schedule, fit, one line per epoch."""

import contextlib
import re
import time

import keras
import numpy as np
import pandas as pd

from .augment import Augment
from .batches import Batches
from .data import IMAGE_SHAPE
from .device import choose_jit_compile
from .jitter import Jitter
from .models import build_model

OUT_OF_MEMORY = re.compile("resource_?exhausted|out of memory", re.IGNORECASE)


def train_fold(
    config, images, labels, folds, fold, seed, checkpoint=None, watch=None, label=None
):
    """Train one network on all folds but one, which serves for validation.

    Args:
        config: Config.
        images: uint8 array (n, 96, 96, 3).
        labels: int array (n,) of 0 and 1.
        folds: int array (n,), the validation fold of every image; -1 for what
            cleaning leaves out.
        fold: int, the fold left out.
        seed: int, of the first weights, the order and the augmentation.
        checkpoint: Checkpoint, from which training goes on and to which it writes, or
            None.
        watch: function of the batches and the range of epochs still to train that
            returns one more callback, or None.
        label: str, begins each line of the log; None for fold and seed.

    Returns:
        The trained network (as `build_model` returns it) and its history, a DataFrame
        with one row per epoch. With early stopping its weights are the best by
        val_loss, as in the seed; without, those of the last epoch.

    Raises:
        FloatingPointError: the loss is no longer a finite number; names fold and epoch.
        MemoryError: a batch does not fit into the device's memory.
        ValueError: a checkpoint that is damaged or of another run.
    """
    policy = keras.config.dtype_policy()
    keras.backend.clear_session()  # frees the network before, and forgets the policy
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(seed)
    train, valid = split_fold(folds, fold)
    batches = Batches(images, train, config.batch_size, labels, shuffle_seed=seed)
    num_steps = config.epochs * len(batches)
    model, network = compile_model(config, num_steps, seed)
    log = EpochLog(label or f"fold {fold} seed {seed}", config.epochs)
    # The log first: it reads the rate before the plateau lowers it. The checkpoint
    # after all that it keeps, and before what may end the training for want of time.
    callbacks = [log, *make_callbacks(config)]
    first_epoch = 0
    if checkpoint:
        first_epoch = checkpoint.restore(model, log, callbacks[1:])
        batches.skip_epochs(first_epoch)
        callbacks.append(checkpoint)
    if watch:
        callbacks.append(watch(batches, range(first_epoch, config.epochs)))
    with name_memory_error(config.batch_size):
        model.fit(
            batches,
            validation_data=Batches(images, valid, config.batch_size, labels),
            initial_epoch=first_epoch,
            epochs=config.epochs,
            callbacks=callbacks,
            shuffle=False,  # Batches does, in an order that a checkpoint can go on with
            verbose=0,
        )
    history = pd.DataFrame(log.rows)
    history.insert(0, "seed", seed)
    history.insert(0, "fold", fold)
    return network, history


def split_fold(folds, fold):
    """Positions to train on and to validate on: two int arrays."""
    return np.flatnonzero((folds != fold) & (folds >= 0)), np.flatnonzero(folds == fold)


def compile_model(config, num_steps, seed):
    """The network under its augmentation, compiled to train for so many steps.

    Returns:
        The model: uint8 (b, 96, 96, 3) -> float32 (b, 1), and the network in it.
    """
    network = build_network(config)
    inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
    views = Augment(config.augmentation, seed)(inputs)
    model = keras.Model(inputs, network(make_jitter(config, seed)(views)))
    model.compile(
        optimizer=make_optimizer(config, num_steps),
        loss=keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing),
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
        steps_per_execution=config.steps_per_execution,
        jit_compile=choose_jit_compile(),
    )
    return model, network


@contextlib.contextmanager
def name_memory_error(batch_size):
    """Say which setting to change where a device runs out of memory."""
    try:
        yield
    except Exception as error:  # each backend has a class of its own for it
        if not OUT_OF_MEMORY.search(f"{type(error).__name__} {error}"):
            raise
        raise MemoryError(
            f"batch_size: a batch of {batch_size} does not fit into the device's "
            f"memory. Expected: batch_size={max(1, batch_size // 2)}, with half the "
            f"learning_rate, or a smaller input_size. Received: batch_size={batch_size}"
        ) from error


def build_network(config):
    """The network of the settings, as `build_model` returns it."""
    return build_model(
        config.architecture,
        config.weights,
        config.dropout_rate,
        config.input_size,
        config.crop_size,
    )


def make_jitter(config, seed):
    """The layer that changes colour and place, with the strengths of the settings."""
    strengths = (config.brightness, config.contrast, config.translation)
    return Jitter(config.stain_jitter, *strengths, seed=seed + 1)


def make_optimizer(config, num_steps):
    """The optimiser with its learning rate over `num_steps` steps."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        warmup_steps = round(config.warmup * num_steps)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 25 if warmup_steps else rate,
            decay_steps=max(1, num_steps - warmup_steps),
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
            alpha=0.01,
        )
    settings = {
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.gradient_clip or None,
    }
    if config.ema_momentum:  # Keras takes the average over when fit ends
        settings.update(use_ema=True, ema_momentum=config.ema_momentum)
    if config.optimizer == "sgd":
        settings.update(momentum=0.9, nesterov=True)
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
    }
    optimizer = kinds[config.optimizer](rate, **settings)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def make_callbacks(config):
    """The seed's ReduceLROnPlateau and EarlyStopping, where their patience is not 0.

    With averaged weights, validation sees the average as well.
    """
    callbacks = [keras.callbacks.SwapEMAWeights()] if config.ema_momentum else []
    if config.plateau_patience:
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                "val_loss", config.plateau_factor, config.plateau_patience
            )
        )
    if config.early_stopping_patience:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_loss",
                patience=config.early_stopping_patience,
                restore_best_weights=True,
            )
        )
    return callbacks


class EpochLog(keras.callbacks.Callback):
    """Print one aligned line per epoch, keep it as a row, stop at a NaN by name.

    Args:
        label: str, begins each line.
        num_epochs: int, of the whole run.
    """

    def __init__(self, label, num_epochs):
        super().__init__()
        self.label = label
        self.num_epochs = num_epochs
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        train_seconds = self.trained - self.started
        row = {"epoch": epoch + 1, **logs}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = time.perf_counter() - self.started
        row["train_seconds"] = train_seconds
        if not np.isfinite([row["loss"], row["val_loss"]]).all():
            raise FloatingPointError(
                f"{self.label}, epoch {epoch + 1}: the loss is not a finite number. "
                f"Expected: a lower learning_rate. Received: loss={row['loss']}, "
                f"val_loss={row['val_loss']}, learning_rate={row['learning_rate']:.1e}"
            )
        self.rows.append(row)
        print(
            f"{self.label} epoch {epoch + 1:>2}/{self.num_epochs}"
            f" | loss {row['loss']:.4f} acc {row['accuracy']:.4f} auc {row['auc']:.4f}"
            f" | val {row['val_loss']:.4f} {row['val_accuracy']:.4f}"
            f" {row['val_auc']:.4f} | lr {row['learning_rate']:.1e}"
            f" {row['seconds']:6.1f} s",
            flush=True,
        )
