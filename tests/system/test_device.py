"""The precision that devices take, and what is refused by name."""

import os

import joblib
import keras
import numpy as np
import pytest
from small_task import PATCHES, make_method, make_split

from pcam_kaggle.recipes import run_recipe
from pcam_kaggle.system import device
from pcam_kaggle.system.device import choose_jit_compile, choose_policy, find_gpus, set_up_device
from pcam_kaggle.system.machine_settings import MachineSettings

T4, P100, A100 = 7.5, 6.0, 8.0
CARDS = """0, GPU-aa11, 7.5, Tesla T4, 15360 MiB
1, GPU-bb22, 7.5, Tesla T4, 15109 MiB
2, GPU-cc33, 6.0, Tesla P100-PCIE-16GB, [N/A]
"""


@pytest.fixture
def policy():
    """Keras's policy, as it was before the test."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def nvidia(tmp_path, monkeypatch):
    """A function that installs a program nvidia-smi; its output and exit code."""
    for name in ("CUDA_VISIBLE_DEVICES", "PCAM_GPUS", "KAGGLE_KERNEL_RUN_TYPE", "PCAM_ALLOW_CPU"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # restored after the test

    def install(text=CARDS, code=0):
        if os.name == "nt":
            pytest.skip("a script is no program")
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    return install


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
    here = set_up_device(MachineSettings())
    assert here.policy == keras.config.dtype_policy().name != "mixed_float16"
    assert here.num_gpus == len(find_gpus())
    assert here.num_workers == max(1, here.num_gpus)
    assert capsys.readouterr().out == f"device   {here.text}, {here.policy}\n"
    assert f"backend {keras.backend.backend()}" in here.text
    assert set_up_device(MachineSettings(num_workers=3)).num_workers == 3


@pytest.mark.parametrize(
    "visible, names",
    [
        (None, ["0", "1", "2"]),
        ("1,2", ["1", "2"]),
        (" 2, 0", ["2", "0"]),
        ("GPU-bb22", ["GPU-bb22"]),
        ("GPU-c,0", ["GPU-c", "0"]),
        ("0,7,1", ["0"]),
        ("-1", []),
        ("", []),
    ],
)
def test_the_gpus_are_those_that_cuda_would_show(visible, names, nvidia, monkeypatch):
    nvidia()
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus = find_gpus()
    assert [gpu.name for gpu in gpus] == names
    for gpu in gpus:
        expected = (P100, "Tesla P100") if gpu.name in ("2", "GPU-c") else (T4, "Tesla T4")
        assert (gpu.capability, gpu.model[:10]) == expected
        memory = {"0": 15360, "1": 15109, "GPU-bb22": 15109}.get(gpu.name, 0)
        assert gpu.memory == memory


def test_an_nvidia_smi_that_fails_lists_nothing(nvidia):
    nvidia("NVIDIA-SMI has failed because it couldn't communicate with the driver\n", code=9)
    assert find_gpus() == []


def test_on_kaggle_a_run_without_a_gpu_stops(nvidia, monkeypatch, policy):
    nvidia("")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    with pytest.raises(ValueError, match=r"(?s)no GPU.*cuda.*T4 x2.*or require_gpu=false"):
        set_up_device(MachineSettings())
    assert set_up_device(MachineSettings(require_gpu=False)).num_gpus == 0
    monkeypatch.setenv("PCAM_ALLOW_CPU", "1")
    assert set_up_device(MachineSettings()).num_gpus == 0


@pytest.mark.skipif(bool(find_gpus()), reason="this machine has a GPU")
def test_a_gpu_that_the_framework_cannot_use_is_refused_with_its_reason(
    nvidia, monkeypatch, policy, capsys
):
    nvidia()
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    with pytest.raises(ValueError, match="no GPU. Expected") as error:
        set_up_device(MachineSettings())
    if keras.backend.backend() == "tensorflow":
        assert "cuda" in str(error.value).casefold()
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    here = set_up_device(MachineSettings())
    assert (here.num_gpus, here.num_workers, here.policy) == (0, 1, "float32")
    assert "cannot use the GPU" in capsys.readouterr().out
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_parent_of_workers_hides_the_gpus_from_itself(nvidia, monkeypatch, policy):
    nvidia()
    monkeypatch.setattr(device, "find_gpu_error", lambda backend: "")  # there is no GPU to be found
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    alone = set_up_device(MachineSettings(num_workers=1))
    assert (alone.gpus, os.environ["CUDA_VISIBLE_DEVICES"]) == ((), "0,1")
    with joblib.parallel_config("threading"):  # as Ray's or Dask's: their workers are their own
        assert set_up_device(MachineSettings()).gpus == ()
    assert set_up_device(MachineSettings(num_workers=4)).memory == 15109 // 2  # two share a card
    for num_workers, expected in ((0, 2), (1, 1)):  # once hidden, they stay hidden
        parent = set_up_device(MachineSettings(num_workers=num_workers))
        assert (parent.num_gpus, parent.num_workers) == (2, expected)
        assert (parent.gpus, parent.policy) == (("0", "1"), "mixed_float16")
        assert parent.memory == 15109  # of the smaller one
        assert parent.text.startswith("Tesla T4, Tesla T4, ")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_a_backend_that_was_never_tried_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="KERAS_BACKEND: expected tensorflow or jax.*'torch'"):
        set_up_device(MachineSettings())


@pytest.mark.skipif(bool(find_gpus()), reason="this machine has a GPU")
def test_a_run_refuses_a_precision_before_anything_is_written(competition, tmp_path):
    overrides = {"precision": "mixed_float16"}
    with pytest.raises(ValueError, match="precision: mixed_float16 needs compute capability"):
        run_recipe("demo", overrides, data=competition, output=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {".lock"}
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
