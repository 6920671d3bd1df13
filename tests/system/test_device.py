"""The precision that devices take, and what is refused by name."""

import keras
import numpy as np
import pytest
from small_task import PATCHES, make_method, make_split

from pcam_kaggle.recipes import run_recipe
from pcam_kaggle.system.device import (
    choose_jit_compile,
    choose_policy,
    find_capabilities,
    set_up_device,
)
from pcam_kaggle.system.machine_settings import MachineSettings

T4, P100, A100 = 7.5, 6.0, 8.0


@pytest.fixture
def policy():
    """Keras's policy, as it was before the test."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "capabilities, chosen",
    [
        ([], "float32"),
        ([P100], "float32"),
        ([T4, T4], "mixed_float16"),
        ([A100], "mixed_bfloat16"),
        ([A100, T4], "mixed_float16"),
    ],
)
def test_auto_takes_the_fastest_that_every_device_has(capabilities, chosen):
    assert choose_policy("auto", capabilities) == chosen
    assert choose_policy(chosen, capabilities) == chosen
    assert choose_policy("float32", capabilities) == "float32"


@pytest.mark.parametrize(
    "precision, capabilities, need, received",
    [
        ("mixed_float16", [], "7.0", "no GPU"),
        ("mixed_float16", [P100], "7.0", "compute capability 6.0"),
        ("mixed_bfloat16", [T4], "8.0", "compute capability 7.5"),
        ("mixed_bfloat16", [A100, T4], "8.0", "compute capability 7.5"),
    ],
)
def test_a_precision_without_hardware_is_refused(precision, capabilities, need, received):
    with pytest.raises(ValueError) as error:
        choose_policy(precision, capabilities)
    assert f"{precision} needs compute capability {need} or more" in str(error.value)
    assert str(error.value).endswith(received)


def test_a_cpu_takes_bfloat16_only_where_it_has_it_and_only_when_asked():
    assert choose_policy("mixed_bfloat16", [], cpu_has_bfloat16=True) == "mixed_bfloat16"
    assert choose_policy("auto", [], cpu_has_bfloat16=True) == "float32"
    for capabilities, has_it in (([], False), ([T4], True)):
        with pytest.raises(ValueError, match="mixed_bfloat16 needs compute capability"):
            choose_policy("mixed_bfloat16", capabilities, has_it)
    with pytest.raises(ValueError, match="mixed_float16 needs compute capability"):
        choose_policy("mixed_float16", [], cpu_has_bfloat16=True)


def test_a_device_has_a_worker_per_gpu_unless_told_otherwise(policy, capsys):
    policy("mixed_float16")
    device = set_up_device(MachineSettings())
    assert device.policy == keras.config.dtype_policy().name == "float32"
    assert device.num_gpus == len(find_capabilities())
    assert device.num_workers == max(1, device.num_gpus)
    assert capsys.readouterr().out == f"device   {device.text}, float32\n"
    assert f"backend {keras.backend.backend()}" in device.text
    assert set_up_device(MachineSettings(num_workers=3)).num_workers == 3


def test_a_backend_that_was_never_tried_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="KERAS_BACKEND: expected tensorflow or jax.*'torch'"):
        set_up_device(MachineSettings())


@pytest.mark.skipif(bool(find_capabilities()), reason="this machine has a GPU")
def test_a_run_refuses_a_precision_before_anything_is_written(competition, tmp_path):
    overrides = {"precision": "mixed_float16"}
    with pytest.raises(ValueError, match="precision: mixed_float16 needs compute capability"):
        run_recipe("demo", overrides, data=competition, output=tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert choose_jit_compile() is (False if keras.backend.backend() == "tensorflow" else "auto")


def test_training_in_float16_scales_its_loss_and_averages_weights(policy):
    policy("mixed_float16")  # as on a T4; a CPU has it too, slowly
    method = make_method(stain_jitter=0.02, ema_momentum=0.5, batch_size=16, epochs=6)
    network, history = method.fit(PATCHES, make_split())
    assert network.layers[-2].compute_dtype == "float16"
    assert {str(weight.dtype) for weight in network.weights} == {"float32"}
    assert network(PATCHES.images[:2].astype("float32")).dtype == "float32"
    assert np.isfinite(history[["loss", "val_loss"]].to_numpy()).all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
