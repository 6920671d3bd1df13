"""The hours that a run may take: what cannot end in time is not begun."""

import time

RESERVE = 120  # seconds for the ensemble and the files


class OutOfTimeError(RuntimeError):
    """A network cannot end in time; its checkpoint stays for the next session."""


class Budget:
    """What is left of a run's time, by a steady clock that no change of date moves.

    Args:
        max_hours: float, from now on.
        seconds_left: float, what was left of them elsewhere, or None.
    """

    def __init__(self, max_hours, seconds_left=None):
        self.max_hours = max_hours
        if seconds_left is None:
            seconds_left = 3600 * max_hours - RESERVE
        self.end = time.monotonic() + seconds_left

    def left(self):
        """Seconds."""
        return self.end - time.monotonic()

    def refuse(self, label, needed):
        """The error for what needs more seconds than there are."""
        return ValueError(
            f"max_hours: {label} takes about {say_time(needed)}, and "
            f"{say_time(self.left())} are left. Expected: fewer epochs, a smaller "
            f"input_size or more hours. Received: max_hours={self.max_hours:g}"
        )


def say_time(seconds):
    """Seconds as a person would say them."""
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
