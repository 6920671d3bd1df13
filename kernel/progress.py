"""How far a run is, read from the lines that it prints."""

import re
import time
from collections.abc import Callable

from pcam_kaggle.system.clock import say_time

COUNT = re.compile(r"(?:networks|trials) +(\d{1,6}), \d+ at a time")
EPOCH = re.compile(r"(.+) epoch +(\d{1,6})/(\d{1,6})  .*\bval_auc (\d\.\d+)")
NUMBER = r"(\d[\d,]{0,12}(?:\.\d+)?)"
PART = re.compile(rf"(.+?) +{NUMBER} of {NUMBER}(?: GB, \d+ %)?")  # of `beat` and `download`
NARROW = 60  # columns


class Progress:
    """What the lines of a run say about its networks, or about the trials of a study.

    Args:
        clock: function that returns the seconds.

    Attributes:
        text: str, what the run does while no network is in training.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock, self.started = clock, clock()
        self.text = "starting"
        self.total = self.num_over = 0
        self.active: dict[str, tuple] = {}  # by label: epoch, epochs, AUC, share of the next epoch
        self.end: float | None = None  # when the last network is expected to end

    def read(self, line: str) -> bool:
        """Take a line; whether it says nothing but how far the run is."""
        if epoch := EPOCH.match(line):
            label, *numbers, auc = epoch.groups()
            self.active[label] = (*map(int, numbers), float(auc), 0)
            self.text = "predicting"
        elif part := PART.fullmatch(line):
            label, *numbers = part.groups()
            label = label.removesuffix(" batch")
            done, total = (float(number.replace(",", "")) for number in numbers)
            if label in self.active:
                self.active[label] = (*self.active[label][:3], done / max(1, total))
            else:
                self.text = line
        elif count := COUNT.match(line):
            self.total, self.started, self.text = int(count[1]), self.clock(), "first epoch"
        elif label := next((name for name in self.active if is_about(line, name)), None):
            del self.active[label]
            self.num_over += 1
            self.text = "next network" if self.num_over < self.total else "writing the results"
        self.forecast()
        return bool(epoch or part)

    def forecast(self) -> None:
        """Expect the rest to take as long as what is done, epoch by epoch."""
        num_epochs = max((number for _, number, *_ in self.active.values()), default=0)
        done = sum(epoch + share for epoch, _, _, share in self.active.values())
        done += num_epochs * self.num_over
        total = num_epochs * max(self.total, self.num_over + len(self.active))
        if done:
            now = self.clock()
            self.end = now + (now - self.started) * (total / done - 1)

    def describe(self, columns: int) -> str:
        """How far the run is, on one line of a terminal with so many columns."""
        of, comma = ("/", " ") if columns < NARROW else (" of ", ", ")
        parts = [f"{self.num_over + 1}{of}{self.total}"] if self.num_over < self.total else []
        for label, (epoch, num_epochs, auc, _) in sorted(self.active.items()):
            name = [] if columns < NARROW else [label.partition(" seed")[0]]
            parts.append(" ".join([*name, f"epoch {epoch}{of}{num_epochs}"]))
            parts.append(f"val_auc {auc:.3f}")
        if not any(epoch < number for epoch, number, *_ in self.active.values()):
            parts.append(self.text)
        now = self.clock()
        if self.active:
            parts.append(f"{say_time(self.end - now)} left")
        else:
            parts.append(say_time(now - self.started))
        return comma.join(parts)[: columns - 1]


def is_about(line: str, label: str) -> bool:
    """Whether a line starts with the label of a network or a trial."""
    return line.startswith((f"{label} ", f"{label}:"))
