"""Fine-tuning: the real loop on a tiny network, repeatable, averaged, stopped by name."""

import contextlib
import dataclasses
import io

import keras
import numpy as np
import pytest
from keras import ops
from small_task import (
    CHANCE,
    CONSTANT,
    FOLDS,
    IMAGES,
    LABELS,
    PATCHES,
    make_method,
    make_split,
    same_weights,
)


def train(seed=0, patches=PATCHES, **overrides):
    return make_method(**overrides).fit(patches, make_split(seed))


def measure_loss(network):
    """The loss of the validation fold in evaluation mode."""
    images = ops.convert_to_tensor(IMAGES[FOLDS == 1], "float32")
    labels = LABELS[FOLDS == 1][:, None].astype("float32")
    predictions = network(images, training=False)
    return float(ops.mean(keras.losses.binary_crossentropy(labels, predictions)))


@pytest.fixture(scope="module")
def plain():
    """A network of four epochs, its history and its log."""
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        network, history = train()
    return network, history, log.getvalue()


@pytest.fixture(scope="module")
def short():
    """A network of one epoch."""
    return train(epochs=1)[0]


def test_a_fold_learns_and_its_history_is_complete(plain):
    network, history, log = plain
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    expected = {"loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc"}
    assert expected | {"learning_rate", "seconds", "train_seconds"} < set(history)
    bright, dark = (IMAGES[label == LABELS].astype("float32") for label in (1, 0))
    scores = [float(ops.mean(network(part, training=False))) for part in (bright, dark)]
    assert scores[0] > scores[1] + 0.1
    assert measure_loss(network) == pytest.approx(history["val_loss"].iloc[-1], rel=1e-4)
    lines = log.splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert lines[0].startswith("fold 1 seed 0 epoch  1/4  loss ")


def test_a_seed_trains_the_same_network_and_another_another(short):
    again, _ = train(epochs=1)
    assert same_weights(short, again)
    other, _ = train(seed=4, epochs=1)
    assert not same_weights(short, other)


def test_the_validation_fold_is_never_trained_on(plain):
    images = IMAGES.copy()
    images[FOLDS == 1] = 255 - images[FOLDS == 1]
    changed, history = train(patches=dataclasses.replace(PATCHES, images=images))
    assert same_weights(plain[0], changed)
    assert history["val_loss"].iloc[-1] != plain[1]["val_loss"].iloc[-1]


def test_a_loss_that_is_not_a_number_stops_the_run_by_name():
    diverging = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 10.0}
    with pytest.raises(FloatingPointError, match=r"fold 1 seed 0, epoch \d+: the loss"):
        train(**diverging, weight_decay=1.0, epochs=300)


def test_the_history_tells_the_rate_that_an_epoch_was_trained_with():
    _, history = train(patches=CHANCE, **CONSTANT, epochs=10, plateau_patience=1)
    rate, best, expected = 0.05, np.inf, []
    for val_loss in history["val_loss"]:
        expected.append(rate)
        rate = rate if val_loss < best - 1e-4 else rate * 0.1
        best = min(best, val_loss)
    assert expected[-1] < 0.05
    assert history["learning_rate"].tolist() == pytest.approx(expected)


def test_early_stopping_keeps_the_best_weights():
    network, history = train(patches=CHANCE, **CONSTANT, epochs=30, early_stopping_patience=2)
    best = history["val_loss"].min()
    assert len(history) < 30 and best < history["val_loss"].iloc[-1]
    network.compile(loss="binary_crossentropy")
    valid = FOLDS == 1
    loss = network.evaluate(IMAGES[valid], CHANCE.labels[valid][:, None], verbose=0)
    assert loss == pytest.approx(best, rel=1e-3)


def test_the_averaged_weights_are_validated_and_kept(plain):
    network, history = train(ema_momentum=0.9)
    assert measure_loss(network) == pytest.approx(history["val_loss"].iloc[-1], rel=1e-4)
    pairs = zip(network.trainable_weights, plain[0].trainable_weights)
    assert any(not np.allclose(a, b) for a, b in pairs)


def test_jitter_reaches_training_only(short):
    jittered, history = train(epochs=1, stain_jitter=0.2, brightness=0.2)
    assert not same_weights(short, jittered)
    assert measure_loss(jittered) == pytest.approx(history["val_loss"].iloc[-1], rel=1e-4)


def test_a_network_predicts_over_its_views_and_as_the_patches_are(plain):
    network = plain[0]
    positions = np.array([4, 0, 7])
    mean, one_view = make_method("dihedral").predict(network, IMAGES, positions)
    expected = ops.convert_to_numpy(network(IMAGES[positions].astype("float32"), training=False))
    assert np.allclose(one_view, expected[:, 0], atol=1e-6)
    assert mean.shape == (3,) and not np.allclose(mean, one_view, atol=1e-7)
    whole, _ = make_method("dihedral").predict(network, IMAGES[:8])
    assert np.allclose(whole[positions], mean, atol=1e-6)


@pytest.mark.parametrize("tta, num_views", [("none", 1), ("flip", 4), ("dihedral", 8)])
def test_a_method_knows_what_a_prediction_costs(tta, num_views):
    assert make_method(tta).num_views == num_views


def test_patches_are_read_as_they_are():
    assert make_method().prepare(PATCHES, run=None, device=None) is PATCHES


def test_a_method_explains_by_the_function_that_it_is_given():
    called = []

    def explain(*arguments):
        called.append(arguments)
        return "explained"

    arguments = ("network", PATCHES, np.arange(3), np.zeros(3))
    assert make_method(explainer=explain, crop_size=64).explain(*arguments) == "explained"
    assert called == [(*arguments, 64)]
