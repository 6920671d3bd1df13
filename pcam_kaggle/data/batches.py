"""Batches of images, uint8 until on the device."""

import math

import keras
import numpy as np

from ..system.progress import beat


class Batches(keras.utils.PyDataset):
    """Feed some images of an array to `fit` or `predict`, in batches of one size.

    XLA compiles a program per size. Without shuffling, the last batch is filled up with the first
    images; callers cut the predictions to m.

    Args:
        images: uint8 array (n, 96, 96, 3) or float16 features (n, dim), may be memory-mapped.
        positions: int array (m,), the images to feed.
        batch_size: int.
        labels: array (n,) of 0 and 1, or None to feed images only.
        shuffle_seed: int, or None for the given order. With a seed, every epoch has a new order and
            a smaller last batch is dropped, as the course notebook does.
        what: for the log.
    """

    def __init__(
        self,
        images: np.ndarray,
        positions: np.ndarray,
        batch_size: int,
        labels: np.ndarray | None = None,
        shuffle_seed: int | None = None,
        what: str = "predicted batch",
    ):
        super().__init__()
        self.images = images
        self.positions = np.asarray(positions)
        self.batch_size = min(batch_size, len(self.positions))
        self.labels, self.what = labels, what
        self.random = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)
        self.on_epoch_end()

    def __len__(self):
        num_batches = len(self.positions) / self.batch_size
        return math.ceil(num_batches) if self.random is None else int(num_batches)

    def __getitem__(self, index):
        """Batch number `index`: images, or (images, float32 labels (b, 1)).

        Without shuffling, labels come with float32 weights (b,), 0 for images that fill up. Losses
        and weighted metrics of Keras are then means over the m images.
        """
        beat(self.what, index + 1, len(self))
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        images = self.images[chosen]
        if self.labels is None:
            return images
        labels = self.labels[chosen].astype("float32")[:, None]
        if self.random is not None:
            return images, labels
        num_images, num_fed = len(self.positions), len(self.order)
        is_first = np.arange(start, start + len(chosen)) < num_images
        return images, labels, is_first * np.float32(num_fed / num_images)

    def skip_epochs(self, num_epochs: int) -> None:
        """Draw the orders of epochs that are already done."""
        for _ in range(num_epochs):
            self.on_epoch_end()

    def on_epoch_end(self):
        """Draw the order of the next epoch."""
        if self.random is None:
            self.order = np.resize(self.positions, len(self) * self.batch_size)
        else:
            self.order = self.random.permutation(self.positions)
