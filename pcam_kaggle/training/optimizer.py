"""Optimizer, learning rate, loss and early stopping."""

import keras
from keras import optimizers

from ..system.device import choose_jit_compile
from .settings import TrainingSettings


def compile_model(model: keras.Model, settings: TrainingSettings, num_steps: int, **kinds) -> None:
    """Compile a built model that learns binary labels in `num_steps` steps.

    Only weights of two or more dimensions decay; `kinds` replace optimizers by name.
    """
    optimizer = make_optimizer(settings, num_steps, **kinds)
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if v.ndim < 2])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(label_smoothing=settings.label_smoothing),
        weighted_metrics=["accuracy", keras.metrics.AUC(name="auc")],
        jit_compile=choose_jit_compile(),
    )


def make_optimizer(settings: TrainingSettings, num_steps: int, **kinds) -> optimizers.Optimizer:
    """Make the optimizer, with its learning rate over `num_steps` steps."""
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        warmup_steps = round(settings.warmup * num_steps)
        rate = optimizers.schedules.CosineDecay(
            rate / 25 if warmup_steps else rate,
            decay_steps=max(1, num_steps - warmup_steps),
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
            alpha=0.01,
        )
    options = {
        "weight_decay": settings.weight_decay,
        "global_clipnorm": settings.gradient_clip or None,
    }
    if settings.ema_momentum:  # Keras applies the average when fit ends
        options.update(use_ema=True, ema_momentum=settings.ema_momentum)
    if settings.optimizer == "sgd":
        options.update(momentum=0.9, nesterov=True)
    kinds = {"adam": optimizers.Adam, "adamw": optimizers.AdamW, "sgd": optimizers.SGD, **kinds}
    return kinds[settings.optimizer](rate, **options)


def make_callbacks(settings: TrainingSettings) -> list:
    """Make ReduceLROnPlateau and EarlyStopping, unless their patience is 0.

    With averaged weights, validation uses the average as well.
    """
    made = [keras.callbacks.SwapEMAWeights()] if settings.ema_momentum else []
    if settings.plateau_patience:
        factor, patience = settings.plateau_factor, settings.plateau_patience
        made.append(keras.callbacks.ReduceLROnPlateau("val_loss", factor, patience))
    if settings.early_stopping_patience:
        patience = settings.early_stopping_patience
        made.append(
            keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)
        )
    return made
