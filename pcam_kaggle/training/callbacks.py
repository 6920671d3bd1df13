"""Callbacks that do not slow the steps."""

import time

import keras

LOOK_EVERY = 1  # seconds


class ThrottledCallbacks(keras.callbacks.CallbackList):
    """The callbacks of `fit`, which see the logs of about one step per second.

    Keras fetches the logs of every step, with TensorFlow even if no callback asks for them; the
    next step then waits until the device has finished this one.
    """

    looked = 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Call the callbacks if the last call was a second ago."""
        if time.monotonic() - self.looked >= LOOK_EVERY:
            super().on_train_batch_end(batch, logs)
            self.looked = time.monotonic()

    def on_test_batch_end(self, batch, logs=None):
        """Fetch nothing: no callback asks for the steps of a validation."""
