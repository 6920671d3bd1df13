"""GPUs, the precision they support, and when to use XLA."""

import dataclasses
import platform
import shutil
import subprocess
from pathlib import Path

import keras

from .machine_settings import MachineSettings

# The lowest compute capability with hardware support (Keras's guide to mixed precision):
# tensor cores for float16 (T4: 7.5) and for bfloat16 (A100: 8.0).
NEEDED_CAPABILITY = {"float32": 0.0, "mixed_float16": 7.0, "mixed_bfloat16": 8.0}


@dataclasses.dataclass(frozen=True)
class Device:
    """The hardware that a run computes on.

    `policy` is Keras's dtype policy, `num_gpus` the number of GPUs, `num_workers` the number of
    networks to train at a time, and `text` describes the hardware.
    """

    policy: str
    num_gpus: int
    num_workers: int
    text: str


def set_up_device(machine: MachineSettings) -> Device:
    """Choose the precision and the number of workers, and set Keras's dtype policy.

    Raises:
        ValueError: the backend is neither TensorFlow nor JAX, or the hardware does not support
            the precision.
    """
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise ValueError(
            f"KERAS_BACKEND: expected tensorflow or jax. Received: {keras.backend.backend()!r}"
        )
    capabilities = find_capabilities()
    policy = choose_policy(machine.precision, capabilities, find_cpu_bfloat16())
    keras.config.set_dtype_policy(policy)
    num_gpus, text = len(capabilities), describe_device()
    print(f"device   {text}, {policy}")
    return Device(policy, num_gpus, machine.num_workers or max(1, num_gpus), text)


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


def find_capabilities() -> list:
    """Return the compute capability of each GPU that Keras uses; [] without GPUs."""
    if not list_gpus():
        return []
    return [float(text) for text in ask_nvidia("compute_cap")]


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


def describe_device() -> str:
    """Describe the devices that Keras computes on, with the names of NVIDIA cards."""
    devices = ", ".join(keras.distribution.list_devices())
    if shutil.which("nvidia-smi"):
        devices += f" ({', '.join(ask_nvidia('name'))})"
    return f"{devices}, {platform.machine()}, backend {keras.backend.backend()}"


def ask_nvidia(question: str) -> list:
    """Ask nvidia-smi for one property of each card."""
    command = ["nvidia-smi", f"--query-gpu={question}", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.splitlines()
