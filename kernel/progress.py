"""How far a run is, read from the lines that it prints."""

import re
import time
from collections.abc import Callable

from pcam_kaggle.system.clock import say_time

LABEL = r"(\S.{0,99}?)"  # of a network, or of a trial of a study
COUNT = re.compile(r"networks +(\d{1,6}), \d+ at a time")
EPOCH = re.compile(rf"{LABEL} epoch +(\d{{1,6}})/(\d{{1,6}})  .*\bval_auc (\d\.\d+)")
RESUMED = re.compile(rf"{LABEL} resumes after epoch (\d{{1,6}})/(\d{{1,6}})")
FINISHED = re.compile(r"(\S.{0,99}? seed \d{1,6}) out-of-fold AUC ")
PART = re.compile(rf"progress ({LABEL}(?: batch)? +(\d[\d,]{{0,12}}) of (\d[\d,]{{0,12}}))")
SHARE = re.compile(r"(?:download|unpack|upload) .* [GM]B, \d+ %")
MAX_CHARACTERS = 500  # of a line; more are not read
NARROW = 60  # columns


class Progress:
    """What the lines of a run say about its networks.

    A network that is left is expected to take as long as one that was trained, and so is a share
    of its epochs. Neither what an earlier session has trained counts, nor the first epoch of this
    one, which compiles.

    Args:
        clock: function that returns the seconds.

    Attributes:
        text: str, what the run does while no network is in training.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock, self.began = clock, clock()
        self.text = "starting"
        self.start(0)

    def start(self, total: int) -> None:
        """Reset for a run of `total` networks; 0 if their number is unknown."""
        self.total = total
        self.started = self.since = self.measure_time()  # since: what counts is timed from here
        self.active: dict[str, tuple] = {}  # by label: epoch, epochs, AUC
        self.done: dict[str, float] = {}  # by label: the share of the epochs that is over
        self.untimed: dict[str, float] = {}  # by label: the share that does not count
        self.end: float | None = None  # when the last network is expected to end

    def measure_time(self) -> float:
        """The seconds since the run began."""
        return self.clock() - self.began

    def read(self, line: str, seconds: float | None = None) -> bool:
        """Take a line; whether it says nothing but how far the run is.

        Args:
            line: str.
            seconds: when it was printed, in seconds since the run began; None for now.
        """
        if seconds is not None:
            self.began = self.clock() - seconds
        line = line[:MAX_CHARACTERS]
        if epoch := EPOCH.match(line):
            label, *numbers, auc = epoch.groups()
            self.train(label, *map(int, numbers), float(auc))
            self.text = "predicting"
        elif part := PART.fullmatch(line):
            text, label, *numbers = part.groups()
            done, total = (int(number.replace(",", "")) for number in numbers)
            if label in self.active:
                self.train(label, *self.active[label], done / max(1, total))
            else:
                self.text = text
        elif share := SHARE.fullmatch(line):
            self.text = line
        elif count := COUNT.match(line):
            self.start(int(count[1]))
            self.text = "training"
        elif resumed := RESUMED.match(line):
            label, number, total = resumed[1], int(resumed[2]), int(resumed[3])
            self.untimed[label] = number / max(1, total)
            self.train(label, number, total)
        elif label := self.find_finished(line):
            self.active.pop(label, None)
            self.done[label] = 1
            is_last = self.total <= len(self.done) - len(self.active)
            self.text = "writing the results" if is_last and self.total else "starting the next"
            self.forecast()
        return bool(epoch or part or share)

    def train(
        self, label: str, epoch: int, num_epochs: int, auc: float | None = None, part: float = 0
    ) -> None:
        """Note how far a network is: after an epoch, with a part of the next one."""
        is_first = self.active.get(label, (0, 0, None))[2] is None  # no epoch of this session yet
        self.active[label] = (epoch, num_epochs, auc)
        self.done[label] = min(1, (epoch + part) / max(1, num_epochs))
        if is_first and len(self.active) == len(self.done):  # no network is over
            self.untimed[label] = self.done[label]
        self.forecast()

    def find_finished(self, line: str) -> str | None:
        """The label of the network whose end a line says, in training or without epochs."""
        if finished := FINISHED.match(line):
            return finished[1]
        starts = ((label, (f"{label} ", f"{label}:")) for label in self.active)
        return next((label for label, start in starts if line.startswith(start)), None)

    def forecast(self) -> None:
        """Expect the rest to take as long as what counts of this session."""
        now, self.end = self.measure_time(), None
        timed = sum(share - self.untimed.get(label, 0) for label, share in self.done.items())
        if timed <= 0:
            self.since = now
        elif self.total >= len(self.done):
            left = self.total - sum(self.done.values())
            self.end = now + (now - self.since) * left / timed

    def describe(self, columns: int) -> str:
        """How far the run is, on one line of a terminal with so many columns."""
        of, comma = ("/", " ") if columns < NARROW else (" of ", ", ")
        num_over = len(self.done) - len(self.active)
        parts = [f"{num_over + 1}{of}{self.total}"] if num_over < self.total else []
        for label, (epoch, num_epochs, auc) in sorted(self.active.items()):
            name = [] if columns < NARROW else [label.partition(" seed")[0]]
            parts.append(" ".join([*name, f"epoch {epoch}{of}{num_epochs}"]))
            parts += [f"val_auc {auc:.3f}"] if auc is not None else []
        if not any(epoch < number for epoch, number, _ in self.active.values()):
            parts.append(self.text)
        now = self.measure_time()
        if self.active and self.end is not None and self.end > now:
            parts.append(f"{say_time(self.end - now)} left")
        else:
            parts.append(f"{say_time(now - self.started)} so far")
        return comma.join(parts)[: columns - 1]
