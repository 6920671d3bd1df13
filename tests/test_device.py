"""The precision that devices take, and what is refused by name."""

import keras
import numpy as np
import pytest
from conftest import TINY
from pcam_kaggle.config import Config
from pcam_kaggle.device import choose_jit_compile, choose_policy, find_capabilities
from pcam_kaggle.experiment import run_experiment
from pcam_kaggle.train import train_fold

T4, P100, A100 = 7.5, 6.0, 8.0


@pytest.mark.parametrize(
    "capabilities, policy",
    [
        ([], "float32"),
        ([P100], "float32"),
        ([T4, T4], "mixed_float16"),
        ([A100], "mixed_bfloat16"),
        ([A100, T4], "mixed_float16"),
    ],
)
def test_auto_takes_the_fastest_that_every_device_has(capabilities, policy):
    assert choose_policy("auto", capabilities) == policy
    assert choose_policy(policy, capabilities) == policy
    assert choose_policy("float32", capabilities) == "float32"


@pytest.mark.parametrize(
    "precision, capabilities, received",
    [
        ("mixed_float16", [], "no GPU"),
        ("mixed_float16", [P100], "6.0"),
        ("mixed_bfloat16", [T4], "takes mixed_float16 here.*7.5"),
    ],
)
def test_a_precision_without_hardware_is_refused(precision, capabilities, received):
    with pytest.raises(ValueError, match=f"{precision} needs a GPU.*{received}"):
        choose_policy(precision, capabilities)


def test_a_cpu_takes_bfloat16_only_where_it_has_it_and_only_when_asked():
    assert choose_policy("mixed_bfloat16", [], cpu_has_bfloat16=True) == (
        "mixed_bfloat16"
    )
    assert choose_policy("auto", [], cpu_has_bfloat16=True) == "float32"
    for capabilities, has_it in (([], False), ([T4], True)):
        with pytest.raises(ValueError, match="mixed_bfloat16 needs a GPU"):
            choose_policy("mixed_bfloat16", capabilities, has_it)
    with pytest.raises(ValueError, match="mixed_float16 needs a GPU"):
        choose_policy("mixed_float16", [], cpu_has_bfloat16=True)


@pytest.mark.skipif(bool(find_capabilities()), reason="this machine has a GPU")
def test_a_run_refuses_it_before_anything_is_written(competition, tmp_path):
    config = Config(**{**TINY, "precision": "mixed_float16"})
    with pytest.raises(ValueError, match="precision: mixed_float16 needs a GPU"):
        run_experiment(config, data=competition, output=tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert choose_jit_compile() is False


@pytest.fixture
def half():
    """Float16 as on a T4; a CPU has it too, slowly."""
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def test_training_in_float16_scales_its_loss_and_averages_weights(half):
    random = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = random.integers(0, 120, (64, 96, 96, 3)).astype("uint8")
    images += (labels * 120).astype("uint8")[:, None, None, None]
    settings = {"stain_jitter": 0.02, "ema_momentum": 0.5, "learning_rate": 1e-2}
    config = Config(**{**TINY, **settings, "epochs": 12, "batch_size": 16})
    folds = np.arange(64) // 2 % 2
    network, history = train_fold(config, images, labels, folds, 0, seed=0)
    assert network.layers[-2].compute_dtype == "float16"
    assert {str(weight.dtype) for weight in network.weights} == {"float32"}
    assert network(images[:2].astype("float32")).dtype == "float32"
    assert np.isfinite(history[["loss", "val_loss"]].to_numpy()).all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
