"""Layer-wise learning rates: the factors, what they do to a step, and that none is missing."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_vit import make_network_settings, make_weights

from pcam_kaggle.models.vit import BACKBONE, build_vit
from pcam_kaggle.training.layer_decay import LayerwiseAdamW, find_factors

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return build_vit(make_network_settings(make_weights(tmp_path_factory.mktemp("hub") / "small")))


def test_the_factors_fall_from_the_head_to_the_embeddings(network):
    factors = find_factors(network, 0.5)
    assert set(factors) == {variable.path for variable in network.trainable_variables}
    found = {}
    for path, factor in factors.items():
        found.setdefault(path.rpartition("/layers_")[2][:1] or path, set()).add(factor)
    blocks = {place: values for place, values in found.items() if place in "01"}
    assert blocks == {"0": {0.25}, "1": {0.5}}
    for path, factor in factors.items():
        if "embeddings/" in path:
            assert factor == 0.125
        elif "layernorm/" in path or path.startswith("dense"):
            assert factor == 1


def test_a_variable_whose_place_is_not_known_is_refused(network, monkeypatch):
    class Renamed:
        num_layers = 2
        trainable_variables = [keras.Variable([1.0], name="block")]

    monkeypatch.setattr(type(network), "get_layer", lambda self, name: Renamed)
    with pytest.raises(ValueError, match=r"layer_decay: expected a variable.*Received: block"):
        find_factors(network, 0.5)


def test_a_variable_without_a_factor_is_refused(network):
    factors = find_factors(network, 0.5)
    del factors[f"{BACKBONE}_layernorm/gamma"]
    optimizer = LayerwiseAdamW(0.1, factors)
    with pytest.raises(ValueError, match=f"Received: none for {BACKBONE}_layernorm/gamma$"):
        optimizer.build(network.trainable_variables)


def make_layers():
    """Two dense layers of ones in a model, and a factor for each of their variables."""
    ones = {"kernel_initializer": "ones", "bias_initializer": "ones"}
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, name="first", **ones), layers.Dense(1, name="last")]
    )
    for variable in model.trainable_variables:
        variable.assign(ops.ones_like(variable))
    factors = {v.path: 0.25 if "first" in v.path else 1.0 for v in model.trainable_variables}
    return model, factors


def step(model, optimizer, gradient):
    """The change of each variable by a step, by the end of its path."""
    gradients = [gradient * ops.ones_like(v) for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    return {
        "/".join(v.path.split("/")[-2:]): float(np.mean(v) - 1) for v in model.trainable_variables
    }


def test_a_step_is_a_multiple_of_adamw_s():
    model, factors = make_layers()
    changes = step(model, LayerwiseAdamW(0.01, factors), 3.0)
    expected = {"first/kernel": -0.0025, "first/bias": -0.0025}
    expected |= {"last/kernel": -0.01, "last/bias": -0.01}
    assert changes == pytest.approx(expected, rel=1e-4)


def test_only_kernels_decay_and_each_at_its_own_rate():
    model, factors = make_layers()
    changes = step(model, LayerwiseAdamW(0.1, factors, weight_decay=0.2), 0.0)
    expected = {"first/kernel": -0.005, "first/bias": 0, "last/kernel": -0.02, "last/bias": 0}
    assert changes == pytest.approx(expected, abs=1e-6)


def test_with_factors_of_one_it_is_adamw():
    random = np.random.default_rng(0)
    ends = []
    for kind in ("ours", "keras"):
        model, factors = make_layers()
        options = {"weight_decay": 0.1, "global_clipnorm": 1.0, "use_ema": True}
        if kind == "ours":
            optimizer = LayerwiseAdamW(0.1, dict.fromkeys(factors, 1.0), **options)
        else:
            optimizer = keras.optimizers.AdamW(0.1, **options)
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        random = np.random.default_rng(0)
        for _ in range(3):
            gradients = [random.normal(0, 1, v.shape) for v in model.trainable_variables]
            gradients = [ops.convert_to_tensor(g, "float32") for g in gradients]
            optimizer.apply(gradients, model.trainable_variables)
        ends.append([*model.get_weights(), *map(np.array, optimizer.variables)])
    for ours, theirs in zip(*ends, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_an_optimizer_is_made_again_from_its_settings():
    _, factors = make_layers()
    optimizer = LayerwiseAdamW(0.1, factors, weight_decay=0.2, global_clipnorm=1.0)
    again = LayerwiseAdamW.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert (again.factors, again.kernel_decay) == (factors, 0.2)
