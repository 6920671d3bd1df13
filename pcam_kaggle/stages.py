"""What each stage of a run takes: seconds, images per second, memory."""

import os
import sys
import time


class Clock:
    """Clock of consecutive stages: seconds, images, images/s and memory of each."""

    def __init__(self, stages):
        self.stages = stages
        self.started = time.perf_counter()

    def end(self, name, num_images):
        """Close the stage that began when the one before it ended."""
        now = time.perf_counter()
        self.stages[name] = rate(now - self.started, num_images, measure_peak())
        self.started = now


def rate(seconds, num_images, peak):
    """A stage as it is written to run.json."""
    return {
        "seconds": seconds,
        "images": num_images,
        "images_per_second": num_images / seconds,
        "peak_gib": peak,
    }


def measure_peak():
    """Largest resident memory of this process until now in GiB; None on Windows."""
    if os.name == "nt":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (30 if sys.platform == "darwin" else 20)


def sum_stages(members):
    """The stages of all networks, added up; of the memory the largest."""
    sums = {}
    for name in members[0]["stages"]:
        parts = [member["stages"][name] for member in members]
        peaks = [part["peak_gib"] for part in parts if part["peak_gib"] is not None]
        totals = [sum(part[key] for part in parts) for key in ("seconds", "images")]
        sums[name] = rate(*totals, max(peaks, default=None))
    return sums
