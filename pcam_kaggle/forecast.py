"""When a run will end, said after a minute, and what it cannot end in time."""

import datetime
import time

import keras

from .budget import OutOfTimeError, say_time

FORECAST_AFTER = 60  # seconds of training, compilation left out
TRAINING_COST = 3  # of an image trained on, where a prediction costs 1


class Forecast(keras.callbacks.Callback):
    """Say after a minute when the run will end, and end what cannot end in time.

    Args:
        budget: Budget.
        label: str, the network's.
        counts: dict of the images in an execution ("batch"), trained on ("train") and
            validated ("valid") in an epoch and, views included, predicted at the end
            ("predict").
        epochs: range of the epochs still to train.
        num_rounds: int, how many networks the run trains one after the other, this
            one included.
        is_alone: bool, no other network of the run has ended yet. Then a forecast
            beyond the budget is an error; a later delay ends the training early, so
            that there is a network to submit. Otherwise this network is given up.
    """

    def __init__(self, budget, label, counts, epochs, num_rounds, is_alone):
        super().__init__()
        self.budget = budget
        self.label = label
        self.counts = counts
        self.epochs = epochs
        self.num_rounds = num_rounds
        self.is_alone = is_alone
        self.was_cut_short = False
        self.first_step = None
        self.num_steps = 0
        self.has_forecast = False

    def on_train_batch_end(self, batch, logs=None):
        """After a minute: forecast from the steps since the first."""
        now = time.monotonic()
        if self.first_step is None:
            self.first_step = now
            return
        self.num_steps += 1
        elapsed = now - self.first_step
        if self.has_forecast or elapsed < FORECAST_AFTER:
            return
        self.has_forecast = True
        counts = self.counts
        images = self.num_steps * counts["batch"]
        seconds = elapsed / (images * TRAINING_COST)  # of one prediction
        epoch = (TRAINING_COST * counts["train"] + counts["valid"]) * seconds
        network = len(self.epochs) * epoch + counts["predict"] * seconds
        needed = network - elapsed
        if needed > self.budget.left():
            if self.is_alone:
                raise self.budget.refuse(self.label, needed)
            raise OutOfTimeError
        if self.is_alone:
            self.say_end(network, elapsed)

    def say_end(self, network, elapsed):
        """One line, the first network's: when the run ends, or the budget does."""
        rest = self.num_rounds * network - elapsed
        left = self.budget.left()
        date = datetime.datetime.now(datetime.UTC)
        end = date + datetime.timedelta(seconds=min(rest, left))
        rounds = f", {self.num_rounds} of them" if self.num_rounds > 1 else ""
        over = ", when max_hours ends it" if rest > left else ""
        print(
            f"forecast: {say_time(network)} for a network{rounds}; the run ends about "
            f"{end:%H:%M} UTC{over}",
            flush=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.monotonic()

    def on_test_begin(self, logs=None):
        self.tested = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Is there time for the epochs that are left, and for the predictions?"""
        now = time.monotonic()
        num_left = self.epochs.stop - 1 - epoch
        prediction = (now - self.tested) / self.counts["valid"]
        after = self.counts["predict"] * prediction
        if not num_left or num_left * (now - self.begun) + after < self.budget.left():
            return
        if not self.is_alone:
            raise OutOfTimeError
        self.was_cut_short = True
        self.model.stop_training = True
