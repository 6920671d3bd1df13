"""The optimizer and its learning rate, decay, clipping; when training slows and stops."""

import importlib

import keras
import numpy as np
import pytest
from keras import ops
from small_task import build_tiny, make_settings

from pcam_kaggle.models.settings import NetworkSettings
from pcam_kaggle.system.settings import compose
from pcam_kaggle.training.optimizer import compile_model, make_callbacks, make_optimizer
from pcam_kaggle.training.settings import TrainingSettings


def list_rates(num_steps, **settings):
    """The learning rate at every step."""
    optimizer = make_optimizer(TrainingSettings(**settings), num_steps)
    rates = []
    for step in range(num_steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    return rates


def test_a_model_is_compiled_as_the_settings_say():
    model = build_tiny(NetworkSettings())
    settings = TrainingSettings(label_smoothing=0.2, steps_per_execution=4, optimizer="sgd")
    compile_model(model, settings, num_steps=10)
    assert model.loss.label_smoothing == 0.2 and model.steps_per_execution == 4
    assert isinstance(model.optimizer, keras.optimizers.SGD)


def find_training(recipe):
    """The training settings of a recipe."""
    module = importlib.import_module(f"pcam_kaggle.recipes.{recipe}")
    return compose(module.parts(), module.SETTINGS).training


def test_cosine_warms_up_to_the_rate_and_falls():
    rates = list_rates(100, learning_rate=0.1, warmup=0.1)
    assert rates[0] == pytest.approx(0.1 / 25)
    assert max(rates) == rates[10] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.001)
    assert all(a > b for a, b in zip(rates[10:], rates[11:]))


def test_cosine_without_warmup_starts_at_the_rate():
    rates = list_rates(100, learning_rate=0.1, warmup=0)
    assert rates[0] == pytest.approx(0.1) and rates[50] == pytest.approx(0.0505, rel=0.01)
    assert all(a > b for a, b in zip(rates, rates[1:]))


def test_a_constant_rate_stays():
    rates = list_rates(20, learning_rate=0.1, schedule="constant")
    assert rates == pytest.approx([0.1] * 21)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_leaves_biases_and_norms_alone(name):
    settings = TrainingSettings(
        optimizer=name, learning_rate=0.1, weight_decay=0.5, schedule="constant"
    )
    model = build_tiny(NetworkSettings())
    optimizer = make_optimizer(settings, num_steps=1)
    for weight in model.trainable_variables:
        weight.assign(ops.ones_like(weight))
    before = [ops.convert_to_numpy(w) for w in model.trainable_variables]
    zeros = [ops.zeros_like(w) for w in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    kinds = {weight.path.rpartition("/")[2] for weight in model.trainable_variables}
    assert kinds == {"kernel", "bias", "gamma", "beta"}
    for weight, old in zip(model.trainable_variables, before):
        shrunk = not np.allclose(ops.convert_to_numpy(weight), old)
        assert shrunk == weight.path.endswith("kernel"), weight.path


def test_gradients_are_clipped_by_their_norm_together():
    optimizer = make_optimizer(TrainingSettings(gradient_clip=2.5), 10)
    assert optimizer.global_clipnorm == 2.5
    assert make_optimizer(TrainingSettings(), 10).global_clipnorm is None


def test_sgd_has_nesterov_s_momentum():
    optimizer = make_optimizer(TrainingSettings(optimizer="sgd"), 10)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)


def test_averaged_weights_are_swapped_in_before_anything_looks_at_the_validation():
    optimizer = make_optimizer(TrainingSettings(ema_momentum=0.9), 10)
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.9)
    settings = make_settings(ema_momentum=0.9, schedule="constant", plateau_patience=2).training
    first, second = make_callbacks(settings)
    assert isinstance(first, keras.callbacks.SwapEMAWeights)
    assert isinstance(second, keras.callbacks.ReduceLROnPlateau)
    assert not make_optimizer(TrainingSettings(), 10).use_ema


def test_the_course_s_networks_slow_and_stop_as_published():
    slow, stop = make_callbacks(find_training("course_resnet34"))
    assert (slow.monitor, slow.patience, slow.factor) == ("val_loss", 3, 0.1)
    assert (stop.monitor, stop.patience) == ("val_loss", 5)
    assert stop.restore_best_weights
    assert make_callbacks(find_training("fast")) == []
