"""What Keras computes on: its devices, the precision they take, when XLA pays."""

import platform
import shutil
import subprocess
from pathlib import Path

import keras

# The compute capability from which a GPU has the hardware (Keras's guide to mixed
# precision): tensor cores for float16 (T4: 7.5), for bfloat16 (A100: 8.0).
NEEDED_CAPABILITY = {"float32": 0.0, "mixed_float16": 7.0, "mixed_bfloat16": 8.0}


def choose_policy(precision, capabilities, cpu_has_bfloat16=False):
    """The dtype policy of Keras that a precision means on these devices.

    Args:
        precision: "float32", "mixed_float16", "mixed_bfloat16", or "auto": bfloat16
            where a GPU has it, else float16 where it has tensor cores, else float32.
        capabilities: list of float, the compute capability of each GPU; [] for a CPU.
        cpu_has_bfloat16: bool, whether that CPU multiplies bfloat16 by itself. There it
            must be asked for: p4m_densenet trains 1.6 x as fast in it (64 pixels, 185
            images/s against 115, 2 cores), densenet121 no faster (34 against 36).

    Returns:
        str, for `keras.config.set_dtype_policy`.

    Raises:
        ValueError: a precision that a device has no hardware for.
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
            f"precision: {precision} needs a GPU of compute capability "
            f"{NEEDED_CAPABILITY[precision]} or more; use precision=auto, which takes "
            f"{taken[-1]} here. Received: precision={precision!r}, {received}"
        )
    return precision


def find_capabilities():
    """The compute capability of each GPU that Keras uses, [] without one."""
    if not list_gpus():
        return []
    return [float(text) for text in ask_nvidia("compute_cap")]


def find_cpu_bfloat16():
    """Whether the CPU multiplies bfloat16 by itself, as far as Linux tells."""
    source = Path("/proc/cpuinfo")
    flags = source.read_text("utf-8") if source.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_jit_compile():
    """What `compile` should be told of XLA: "auto", or False where it costs.

    TensorFlow on a CPU trains faster without: p4m_densenet 113 images/s against 83 (64
    pixels, 2 cores).
    """
    on_cpu = not list_gpus()
    return False if on_cpu and keras.backend.backend() == "tensorflow" else "auto"


def list_gpus():
    """The names of the GPUs. JAX raises where it is asked for those of none."""
    names = keras.distribution.list_devices()
    return [name for name in names if name.startswith(("gpu", "cuda"))]


def describe_device():
    """The devices Keras computes on, with the names of NVIDIA cards."""
    devices = ", ".join(keras.distribution.list_devices())
    if shutil.which("nvidia-smi"):
        devices += f" ({', '.join(ask_nvidia('name'))})"
    return f"{devices}, {platform.machine()}, backend {keras.backend.backend()}"


def ask_nvidia(question):
    """One answer of nvidia-smi per card."""
    command = ["nvidia-smi", f"--query-gpu={question}", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.splitlines()
