"""Forecast of the end; stops what cannot finish."""

import datetime
import time
from collections.abc import Callable

import keras

from ..system.clock import Budget, OutOfTimeError, say_time

FORECAST_AFTER = 60  # seconds of training, compilation left out
TRAINING_COST = 3  # cost of training on an image, relative to a prediction


class Forecast(keras.callbacks.Callback):
    """Print after a minute when the run will end; stop what cannot finish in time.

    Args:
        name: the network's.
        budget: the time left to the run.
        workload: the numbers of patches to train on and to validate in an epoch, and of views to
            predict at the end.
        num_rounds: the number of networks that the method trains one after another.
        is_alone: function that says whether no other network of the run is finished yet. If so, a
            forecast beyond the budget is an error, and a later delay ends the training early, so
            that there is a network to submit. If not, this network is given up.
        is_first: such a function of the networks of its method, which is named `method` in a run
            of several; None for a run of one.
    """

    def __init__(
        self,
        name: str,
        budget: Budget,
        workload: tuple,
        num_rounds: int,
        is_alone: Callable,
        is_first: Callable | None = None,
        method: str = "",
    ):
        super().__init__()
        self.name, self.budget = name, budget
        self.num_train, self.num_valid, self.num_predicted = workload
        self.num_rounds, self.is_alone = num_rounds, is_alone
        self.is_first, self.subject = is_first or is_alone, method or "the run"
        self.was_cut_short = self.has_forecast = False
        self.first = None  # when the first step was done: seconds, epochs

    def on_train_batch_end(self, batch, logs=None):
        """Forecast after a minute, from the steps since the first call, which compiles."""
        now, done = time.monotonic(), self.epoch + (batch + 1) / self.params["steps"]
        self.first = self.first or (now, done)
        elapsed, num_epochs = now - self.first[0], done - self.first[1]
        if not self.has_forecast and elapsed >= FORECAST_AFTER:
            self.has_forecast = True
            self.forecast(elapsed, num_epochs)

    def forecast(self, elapsed: float, num_epochs: float) -> None:
        """Print when the run or its method will end, once for each; refuse a late end."""
        epoch = elapsed / num_epochs
        cost = epoch / (TRAINING_COST * self.num_train)  # seconds of one prediction
        num_left = self.params["epochs"] - self.first_epoch
        network = num_left * (epoch + self.num_valid * cost) + self.num_predicted * cost
        left = self.budget.left()
        if network - elapsed > left:
            if self.is_alone():
                raise self.budget.refuse(self.name, network - elapsed)
            raise OutOfTimeError
        if self.is_first():
            rest = self.num_rounds * network - elapsed
            end = datetime.datetime.now(datetime.UTC)
            end += datetime.timedelta(seconds=min(rest, left))
            rounds = f", {self.num_rounds} of them" if self.num_rounds > 1 else ""
            over = ", when max_hours ends it" if rest > left else ""
            print(
                f"forecast: {say_time(network)} for a network{rounds}; {self.subject} ends about "
                f"{end:%H:%M} UTC{over}",
                flush=True,
            )

    def on_epoch_begin(self, epoch, logs=None):
        if self.first is None:
            self.first_epoch = epoch
        self.epoch, self.epoch_started = epoch, time.monotonic()

    def on_test_begin(self, logs=None):
        self.test_started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Stop if there is no time for the rest; the first call, which compiles, does not count."""
        now = time.monotonic()
        num_left = self.params["epochs"] - 1 - epoch
        started = self.first[0] if epoch == self.first_epoch else self.epoch_started
        cost = (now - self.test_started) / self.num_valid
        needed = num_left * (now - started) + self.num_predicted * cost
        if not num_left or needed < self.budget.left():
            return
        if not self.is_alone():
            raise OutOfTimeError
        self.was_cut_short = self.model.stop_training = True
