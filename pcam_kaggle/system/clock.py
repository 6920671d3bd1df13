"""The time left to a run and the time of its stages."""

import dataclasses
import math
import os
import sys
import time

RESERVE = 120  # seconds kept for the ensemble and the files


class OutOfTimeError(RuntimeError):
    """A network cannot finish in time; its checkpoint stays for the next session."""


class Budget:
    """What is left of a run's hours, on a monotonic clock.

    Args:
        max_hours: float, from now on.
        seconds_left: float, what is left of them; without a limit by default.
    """

    def __init__(self, max_hours: float, seconds_left: float = math.inf):
        self.max_hours = max_hours
        self.end = time.monotonic() + seconds_left

    def left(self) -> float:
        """Return the seconds left."""
        return self.end - time.monotonic()

    def refuse(self, label: str, needed: float) -> ValueError:
        """Return the error for a task that needs more seconds than are left."""
        return ValueError(
            f"max_hours: {label} needs about {say_time(needed)}, but only {say_time(self.left())} "
            f"are left. Received: max_hours={self.max_hours:g}. Try: lower epochs or input_size"
        )


def say_time(seconds: float) -> str:
    """Format seconds for people."""
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a run: seconds, images, and the process's peak memory in GiB.

    `peak_gib` is None on Windows.
    """

    seconds: float
    images: int
    images_per_second: float
    peak_gib: float | None


class Clock:
    """Time consecutive stages; `stages` maps each name to a Stage."""

    def __init__(self):
        self.stages = {}
        self.started = self.last = time.perf_counter()

    def end(self, name: str, num_images: int) -> None:
        """Close the stage that started when the previous one ended."""
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        self.stages[name] = Stage(seconds, num_images, num_images / seconds, measure_peak())

    def total(self) -> float:
        """Return the seconds since the clock was created."""
        return time.perf_counter() - self.started


def measure_peak() -> float | None:
    """Return the peak resident memory of this process in GiB; None on Windows."""
    if os.name == "nt":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (30 if sys.platform == "darwin" else 20)


def sum_stages(parts: list) -> dict:
    """Add up the stages of several networks.

    Args:
        parts: list of dicts of stage names and Stage; one may lack a stage that failed.

    Returns:
        dict of names and Stage; the peak is the largest.
    """
    sums = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        stages = [part[name] for part in parts if name in part]
        peak = max((stage.peak_gib for stage in stages if stage.peak_gib), default=None)
        seconds, images = (sum(getattr(s, key) for s in stages) for key in ("seconds", "images"))
        sums[name] = Stage(seconds, images, images / seconds, peak)
    return sums
