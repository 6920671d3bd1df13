"""GPUs, the precision they support, and when to use XLA."""

import dataclasses
import itertools
import os
import platform
import subprocess
import sys
from pathlib import Path

import keras

from .machine_settings import MachineSettings
from .workers import joblib_starts_workers

# The lowest compute capability with hardware support (Keras's guide to mixed precision):
# tensor cores for float16 (T4: 7.5) and for bfloat16 (A100: 8.0).
NEEDED_CAPABILITY = {"float32": 0.0, "mixed_float16": 7.0, "mixed_bfloat16": 8.0}
HIDDEN = "PCAM_GPUS"  # the GPUs that this process hides from itself


@dataclasses.dataclass(frozen=True)
class Device:
    """The hardware that a run computes on.

    `policy` is Keras's dtype policy, `num_gpus` the number of GPUs, `num_workers` the number of
    networks to train at a time, and `text` describes the hardware. `gpus` are the names, as
    CUDA_VISIBLE_DEVICES takes them, of the GPUs that only workers use; () if this process
    computes itself. `memory` is the smallest GPU's, in MiB, for each network that it trains at a
    time; 0 if unknown or without a GPU.
    """

    policy: str
    num_gpus: int
    num_workers: int
    text: str
    gpus: tuple = ()
    memory: int = 0


@dataclasses.dataclass(frozen=True)
class Gpu:
    """An NVIDIA card: name for CUDA_VISIBLE_DEVICES, compute capability, model, memory in MiB."""

    name: str
    capability: float
    model: str
    memory: int = 0


def set_up_device(machine: MachineSettings) -> Device:
    """Choose the devices, the precision and the number of workers; set Keras's dtype policy.

    Workers on GPUs need all of their memory, so this process then hides them from itself.

    Raises:
        ValueError: the backend is neither TensorFlow nor JAX, the hardware does not support
            the precision, or there is no GPU on Kaggle.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise ValueError(
            f"KERAS_BACKEND: expected tensorflow or jax. Received: {backend!r}. Try: unset it"
        )
    gpus = find_gpus()
    on_kaggle = "KAGGLE_KERNEL_RUN_TYPE" in os.environ and "PCAM_ALLOW_CPU" not in os.environ
    is_required = machine.require_gpu and on_kaggle
    # GPUs that are hidden were found usable before.
    reason = find_gpu_error(backend) if (gpus or is_required) and HIDDEN not in os.environ else ""
    if reason and is_required:
        raise ValueError(
            f"no GPU. Expected: one that {backend} can use. Received: {reason}. Try: choose the "
            "accelerator GPU T4 x2 for the kernel, or require_gpu=false to compute on its CPU"
        )
    if reason:
        print(f"warning: {backend} cannot use the GPU: {reason}")
        gpus = []
    policy = choose_policy(machine.precision, [gpu.capability for gpu in gpus], find_cpu_bfloat16())
    keras.config.set_dtype_policy(policy)
    num_workers = machine.num_workers or max(1, len(gpus))
    use_workers = num_workers > 1 and joblib_starts_workers()
    hidden = tuple(gpu.name for gpu in gpus) if use_workers or HIDDEN in os.environ else ()
    if hidden:  # before Keras touches them
        os.environ |= {HIDDEN: ",".join(hidden), "CUDA_VISIBLE_DEVICES": "-1"}
    models = [gpu.model for gpu in gpus] or keras.distribution.list_devices()
    text = f"{', '.join(models)}, {platform.machine()}, backend {backend}"
    print(f"device   {text}, {policy}")
    memory = min((gpu.memory for gpu in gpus), default=0) // -(-num_workers // max(1, len(gpus)))
    return Device(policy, len(gpus), num_workers, text, hidden, memory)


def choose_policy(precision: str, capabilities: list, cpu_has_bfloat16: bool = False) -> str:
    """Choose Keras's dtype policy for a precision on these devices.

    Args:
        precision: "float32", "mixed_float16", "mixed_bfloat16", or "auto": bfloat16 where all
            GPUs support it, else float16 where they have tensor cores, else float32.
        capabilities: list of float, the compute capability of each GPU; [] for a CPU.
        cpu_has_bfloat16: bool, whether the CPU multiplies bfloat16 in hardware. On a CPU it
            must be requested: p4m_densenet trains 1.6x as fast in it (64 pixels, 185 images/s
            against 115, 2 cores), densenet121 no faster (34 against 36).

    Returns:
        str, for `keras.config.set_dtype_policy`.

    Raises:
        ValueError: the hardware does not support the precision.
    """
    lowest = min(capabilities, default=0.0)
    taken = [name for name, need in NEEDED_CAPABILITY.items() if need <= lowest]
    if precision == "auto":
        return taken[-1]
    if precision == "mixed_bfloat16" and not capabilities and cpu_has_bfloat16:
        return precision
    if precision not in taken:
        received = f"compute capability {lowest}" if capabilities else "no GPU"
        raise ValueError(
            f"precision: {precision} needs compute capability {NEEDED_CAPABILITY[precision]} or "
            f"more; use precision=auto. Received: precision={precision!r}, {received}"
        )
    return precision


def find_gpus() -> list:
    """List the NVIDIA cards that CUDA_VISIBLE_DEVICES allows, as Gpu, without touching them.

    A framework that lists them opens a CUDA context on each.
    """
    rows = ask_nvidia("index,uuid,compute_cap,name,memory.total")
    visible = os.environ.get(HIDDEN, os.environ.get("CUDA_VISIBLE_DEVICES"))
    names = [row[0] for row in rows] if visible is None else visible.replace(" ", "").split(",")

    def find(name: str) -> list | None:
        return next((r for r in rows if name == r[0] or name and r[1].startswith(name)), None)

    known = itertools.takewhile(find, names)  # CUDA ignores an unknown name and those after it
    return [read_gpu(name, find(name)) for name in known]


def read_gpu(name: str, row: list) -> Gpu:
    """A card from its row of nvidia-smi; its memory is 0 where that is no number of MiB."""
    memory = row[4].partition(" ")[0]
    return Gpu(name, float(row[2]), row[3], int(memory) if memory.isdigit() else 0)


def ask_nvidia(query: str, *options) -> list:
    """The answer of nvidia-smi, a list of values per card; [] without it or if it fails."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", *options]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [] if result.returncode else [line.split(", ") for line in result.stdout.splitlines()]


def find_gpu_error(backend: str) -> str:
    """Ask another process whether the framework finds a GPU.

    Returns:
        str, the end of what the framework says if it finds none, else "".
    """
    code = "import keras; print(keras.distribution.list_devices())"
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "gpu" in result.stdout or "cuda" in result.stdout:
        return ""
    return "\n".join(result.stderr.splitlines()[-5:]) or f"{backend} lists none"


def find_cpu_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware, according to Linux."""
    source = Path("/proc/cpuinfo")
    flags = source.read_text("utf-8") if source.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_jit_compile() -> bool | str:
    """The `jit_compile` argument: "auto", or False where XLA is slower.

    TensorFlow on a CPU trains faster without XLA: p4m_densenet 113 images/s against 83 (64
    pixels, 2 cores).
    """
    on_cpu = not list_gpus()
    return False if on_cpu and keras.backend.backend() == "tensorflow" else "auto"


def list_gpus() -> list:
    """The names of the GPUs. Asked for them directly, JAX raises an error when there are none."""
    return [name for name in keras.distribution.list_devices() if name.startswith(("gpu", "cuda"))]


def describe_place() -> str:
    """The device that this process computes on, and the memory in use there as far as known."""
    if not list_gpus():
        return f"{platform.machine()} CPU"
    name = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    rows = ask_nvidia("memory.used,memory.total", "--id", name)
    return ", ".join([f"GPU {name}", *(" of ".join(row) for row in rows)])
