"""Training: the real loop on a tiny network; schedules, callbacks, NaN by name."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from pcam_kaggle.config import Config
from pcam_kaggle.train import make_callbacks, make_optimizer, name_memory_error, train_fold

from pcam_kaggle.models import build_model
from pcam_kaggle.recipes import get_config

RANDOM = np.random.default_rng(0)
LABELS = np.arange(48) % 2
# Bright patches are positive: learnable in a few steps.
IMAGES = RANDOM.integers(0, 120, (48, 96, 96, 3)) + 120 * LABELS[:, None, None, None]
IMAGES = IMAGES.astype("uint8")
FOLDS = np.arange(48) // 2 % 3
TINY = Config(
    architecture="small_cnn",
    num_folds=3,
    epochs=4,
    batch_size=8,
    learning_rate=1e-2,
    label_smoothing=0.0,
)


def train(config=TINY, seed=0):
    return train_fold(config, IMAGES, LABELS, FOLDS, fold=1, seed=seed)


def test_a_fold_learns_and_its_history_is_complete(capsys):
    network, history = train()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history[["fold", "seed", "epoch"]].to_numpy().tolist() == [
        [1, 0, 1],
        [1, 0, 2],
        [1, 0, 3],
        [1, 0, 4],
    ]
    expected = {"loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc"}
    assert expected | {"learning_rate", "seconds", "train_seconds"} < set(history)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert lines[0].startswith("fold 1 seed 0 epoch  1/4 | loss ")
    bright, dark = (IMAGES[label == LABELS] for label in (1, 0))
    scores = [network.predict(part, verbose=0).mean() for part in (bright, dark)]
    assert scores[0] > scores[1]


def test_a_seed_gives_the_same_network_and_another_another():
    first, again, other = (train(seed=seed)[0].get_weights() for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again))
    together = dataclasses.replace(TINY, steps_per_execution=4)
    again = train_fold(together, IMAGES, LABELS, FOLDS, fold=1, seed=3)[0].get_weights()
    assert all((a == b).all() for a, b in zip(first, again))
    assert any((a != b).any() for a, b in zip(first, other))


def test_the_validation_fold_is_never_trained_on():
    images = IMAGES.copy()
    images[FOLDS == 1] = 255 - images[FOLDS == 1]
    plain = train()[0].get_weights()
    changed = train_fold(TINY, images, LABELS, FOLDS, fold=1, seed=0)[0].get_weights()
    assert all((a == b).all() for a, b in zip(plain, changed))


def test_a_loss_that_is_not_a_number_stops_the_run_by_name():
    config = Config(
        architecture="small_cnn",
        optimizer="sgd",
        schedule="constant",
        learning_rate=10,
        weight_decay=1.0,
        batch_size=8,
        epochs=300,
    )
    with pytest.raises(FloatingPointError, match=r"fold 1 seed 0, epoch \d+: the loss"):
        train(config)


def test_cosine_warms_up_to_the_rate_and_falls():
    optimizer = make_optimizer(Config(learning_rate=0.1, warmup=0.1), num_steps=100)
    rates = []
    for step in range(101):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates[0] == pytest.approx(0.1 / 25)
    assert max(rates) == rates[10] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.001)
    assert all(a > b for a, b in zip(rates[10:], rates[11:]))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_leaves_biases_and_norms_alone(name):
    config = Config(
        optimizer=name, learning_rate=0.1, weight_decay=0.5, schedule="constant"
    )
    model = build_model("small_cnn")
    optimizer = make_optimizer(config, num_steps=1)
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_variables]
    zeros = [keras.ops.zeros_like(w) for w in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    for weight, old in zip(model.trainable_variables, before):
        shrunk = not np.allclose(keras.ops.convert_to_numpy(weight), old)
        assert shrunk == weight.path.endswith("kernel"), weight.path


def test_the_seed_stops_and_slows_as_published():
    slow, stop = make_callbacks(get_config("seed_resnet34"))
    assert (slow.monitor, slow.patience, slow.factor) == ("val_loss", 3, 0.1)
    assert (stop.monitor, stop.patience) == ("val_loss", 5)
    assert stop.restore_best_weights
    assert make_callbacks(get_config("densenet121")) == []


def test_the_history_tells_the_rate_that_an_epoch_was_trained_with():
    config = Config(
        architecture="small_cnn",
        schedule="constant",
        learning_rate=0.05,
        epochs=12,
        batch_size=8,
        plateau_patience=1,
    )
    chance = np.random.default_rng(3).permutation(LABELS)  # val_loss soon rises
    _, history = train_fold(config, IMAGES, chance, FOLDS, fold=1, seed=0)
    rate, best, expected = 0.05, np.inf, []
    for val_loss in history["val_loss"]:
        expected.append(rate)
        rate = rate if val_loss < best - 1e-4 else rate * 0.1
        best = min(best, val_loss)
    assert expected[-1] < 0.05
    assert history["learning_rate"].tolist() == pytest.approx(expected)


def test_early_stopping_keeps_the_best_weights():
    config = Config(
        architecture="small_cnn",
        schedule="constant",
        learning_rate=0.05,
        epochs=30,
        batch_size=8,
        label_smoothing=0.0,
        early_stopping_patience=2,
    )
    network, history = train(config)
    best = history["val_loss"].min()
    network.compile(loss="binary_crossentropy")
    valid = FOLDS == 1
    loss = network.evaluate(IMAGES[valid], LABELS[valid][:, None], verbose=0)
    assert len(history) < 30 and loss == pytest.approx(best, rel=1e-3)


def test_the_averaged_weights_are_validated_and_kept():
    config = dataclasses.replace(TINY, ema_momentum=0.9)
    network, history = train(config)
    images = ops.convert_to_tensor(IMAGES[FOLDS == 1], "float32")
    labels = LABELS[FOLDS == 1][:, None].astype("float32")
    loss = ops.mean(keras.losses.binary_crossentropy(labels, network(images)))
    assert float(loss) == pytest.approx(history["val_loss"].iloc[-1], rel=1e-4)
    plain, _ = train()
    weights = zip(network.trainable_weights, plain.trainable_weights)
    assert any(not np.allclose(a, b) for a, b in weights)


def test_gradients_are_clipped_by_their_norm_together():
    optimizer = make_optimizer(dataclasses.replace(TINY, gradient_clip=2.5), 10)
    assert optimizer.global_clipnorm == 2.5
    assert make_optimizer(TINY, 10).global_clipnorm is None


def test_averaging_and_early_stopping_contradict_one_another():
    with pytest.raises(ValueError, match="ema_momentum: averaged weights are those"):
        dataclasses.replace(TINY, ema_momentum=0.99, early_stopping_patience=3)


def test_jitter_reaches_training_only():
    plain, _ = train(dataclasses.replace(TINY, epochs=1))
    jittered, history = train(
        dataclasses.replace(TINY, epochs=1, stain_jitter=0.2, brightness=0.2)
    )
    pairs = zip(plain.trainable_weights, jittered.trainable_weights)
    assert any(not np.allclose(a, b) for a, b in pairs)
    images = ops.convert_to_tensor(IMAGES[FOLDS == 1], "float32")
    labels = LABELS[FOLDS == 1][:, None].astype("float32")
    loss = ops.mean(keras.losses.binary_crossentropy(labels, jittered(images)))
    assert float(loss) == pytest.approx(history["val_loss"].iloc[-1], rel=1e-4)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes."),  # JAX
    ],
)
def test_a_full_device_says_which_batch_to_take(error):
    message = "batch_size: a batch of 64 .* Expected: batch_size=32"
    with pytest.raises(MemoryError, match=message), name_memory_error(64):
        raise error
    with pytest.raises(KeyError), name_memory_error(64):
        raise KeyError("something else")
