"""The optimizer and its learning rate, decay, clipping; when training slows and stops."""

import importlib

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_task import CHANCE, IMAGES, LABELS, build_tiny, make_settings

from pcam_kaggle.data.batches import Batches
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
    settings = TrainingSettings(label_smoothing=0.2, optimizer="sgd")
    compile_model(model, settings, num_steps=10)
    assert model.loss.label_smoothing == 0.2
    assert isinstance(model.optimizer, keras.optimizers.SGD)


@pytest.mark.parametrize("num_images, batch_size", [(13, 5), (48, 7), (16, 8)])
def test_a_validation_in_whole_batches_is_that_of_the_images(num_images, batch_size):
    keras.utils.set_random_seed(0)
    model, labels = build_tiny(NetworkSettings()), CHANCE.labels
    compile_model(model, TrainingSettings(learning_rate=0.05, schedule="constant"), num_steps=10)
    model.fit(IMAGES, LABELS[:, None], epochs=2, batch_size=8, verbose=0)
    positions = np.arange(48)[-num_images:]
    options = {"return_dict": True, "verbose": 0}
    whole = model.evaluate(Batches(IMAGES, positions, batch_size, labels), **options)
    chosen = IMAGES[positions], labels[positions, None].astype("float32")
    plain = model.evaluate(*chosen, batch_size=batch_size, **options)
    assert whole == pytest.approx(plain, rel=1e-6)
    assert set(whole) == {"loss", "accuracy", "auc"} and 0 < whole["auc"] < 1


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


class Scale(layers.Layer):
    """A factor per channel and one of all, and a token that is added."""

    def build(self, shape):
        self.factor = self.add_weight((shape[-1],), "ones", name="scale")
        self.strength = self.add_weight((), "ones", name="strength")
        self.token = self.add_weight((1, shape[-1]), "ones", name="token_bias")

    def call(self, x):
        return self.strength * self.factor * x + self.token


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_only_weights_of_several_dimensions_decay(name, policy):
    settings = TrainingSettings(
        optimizer=name, learning_rate=0.1, weight_decay=0.5, schedule="constant"
    )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)  # Keras wraps the optimizer for a mixed policy
    tiny = build_tiny(NetworkSettings())
    model = keras.Model(tiny.inputs, Scale()(tiny.outputs[0]))
    compile_model(model, settings, num_steps=1)
    keras.config.set_dtype_policy(before)
    for weight in model.trainable_variables:
        weight.assign(ops.ones_like(weight))
    zeros = [ops.zeros_like(weight) for weight in model.trainable_variables]
    model.optimizer.apply(zeros, model.trainable_variables)
    shrunk = {
        weight.path.rpartition("/")[2]: not np.allclose(ops.convert_to_numpy(weight), 1)
        for weight in model.trainable_variables
    }
    still = dict.fromkeys(["bias", "gamma", "beta", "scale", "strength"], False)
    assert shrunk == {"kernel": True, "token_bias": True, **still}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_without_weight_decay_nothing_decays(name):
    optimizer = make_optimizer(TrainingSettings(optimizer=name, weight_decay=0.0), 10)
    weight = keras.Variable(np.ones((2, 2)))
    optimizer.apply([ops.zeros((2, 2))], [weight])
    np.testing.assert_array_equal(weight, 1)


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
