"""What a run may use of the machine."""

import dataclasses

from .settings import Part, setting

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class MachineSettings(Part):
    """Precision, time, processes and the GPU."""

    precision: str = setting("auto", "auto: 16-bit floats where the GPU has them", PRECISIONS)
    max_hours: float = setting(11.0, "hours; a network starts if it can end", low=0.05, high=1000)
    num_workers: int = setting(0, "networks trained at a time; 0: one per GPU", low=0, high=64)
    require_gpu: bool = setting(True, "on Kaggle, stop without a GPU")
