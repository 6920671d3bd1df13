"""D4-equivariant layers: all eight views seen alike.

The symmetries of the square, four rotations with and without a reflection, form a group of eight
elements (D4, or p4m with the shifts of a convolution). A convolution commutes with shifts: move
the image and its output moves along. These layers also commute with the eight symmetries (Cohen
& Welling 2016, "Group equivariant convolutional networks"; Veeling et al. 2018 applied them to
PatchCamelyon). They work as follows:

1. *Lifting* (LiftingConv2D): each filter is applied in all eight orientations. A map of
   shape (b, h, w, channels) becomes one on the group: (b, h, w, 8, channels). When the
   image is turned, this output is turned too, and its eight slices are permuted.
2. *Group convolution* (GroupConv2D): a filter now also spans the eight orientations. To
   apply it in orientation g, its pixels are turned by g and its slices are moved as g
   moves them. The slices of the output are permuted as those of the input were.
3. *Batch normalization, ReLU, dropout* act alike on all slices. They are Keras's own layers:
   the last axis holds the channels, so that statistics are shared over orientations.
4. *Group pooling* (GroupPooling): the mean or maximum over the slices, whose order no
   longer matters. After pooling over all positions, too, the output is invariant.

Each convolution is one ordinary convolution with eight times the channels, its filters gathered
from the weights by a fixed table, so that XLA and cuDNN do the work.
"""

import keras
import numpy as np
from keras import KerasTensor, ops

ORDER = 8  # elements of the group


def turn(element: int, array: np.ndarray) -> np.ndarray:
    """Apply a symmetry to the first two axes of a NumPy array.

    Element 4 m + r mirrors left-right if m is 1, then turns by r quarters.
    """
    mirrored = np.flip(array, axis=1) if element >= 4 else array
    return np.rot90(mirrored, element % 4, axes=(0, 1))


def make_quotients() -> np.ndarray:
    """Table q[g, h], the element that undoes g after h: inverse(g) h.

    Found by trying which element, applied after g to a numbered square, gives the square turned
    by h.
    """
    square = np.arange(9).reshape(3, 3)
    turned = [turn(element, square).tolist() for element in range(ORDER)]
    products = [
        [turned.index(turn(g, turn(k, square)).tolist()) for k in range(ORDER)]
        for g in range(ORDER)
    ]
    return np.array([[row.index(h) for h in range(ORDER)] for row in products])


def make_turns(size: int) -> np.ndarray:
    """Table t[g, p], the position from which a filter turned by g takes its position p."""
    places = np.arange(size * size).reshape(size, size)
    return np.stack([turn(element, places).ravel() for element in range(ORDER)])


@keras.saving.register_keras_serializable("pcam_kaggle")
class LiftingConv2D(keras.layers.Layer):
    """A convolution from an image to the group.

    Args:
        filters: int, channels of each of the eight slices.
        kernel_size: int, odd, so that "same" padding is symmetric.

    Shapes: (b, h, w, channels) -> (b, h, w, 8, filters), stride 1, no bias.

    Raises:
        ValueError: the kernel_size is even.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(
                "kernel_size: expected an odd number, so that the padding is equal on "
                f"all sides. Received: kernel_size={kernel_size}"
            )
        self.filters, self.kernel_size = filters, kernel_size
        self.turns = make_turns(kernel_size)

    def build(self, input_shape):
        size, channels = self.kernel_size, input_shape[-1]
        shape = (size, size, channels, self.filters)
        self.kernel = self.add_weight(shape, "he_normal", name="kernel")

    def call(self, images):
        size, channels = self.kernel_size, images.shape[-1]
        flat = ops.reshape(self.kernel, (size * size, channels, self.filters))
        kernel = ops.transpose(ops.take(flat, self.turns, axis=0), (1, 2, 0, 3))
        kernel = ops.reshape(kernel, (size, size, channels, ORDER * self.filters))
        return split_slices(ops.conv(images, kernel, padding="same"))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], ORDER, self.filters)

    def get_config(self):
        config = {"filters": self.filters, "kernel_size": self.kernel_size}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("pcam_kaggle")
class GroupConv2D(LiftingConv2D):
    """A convolution on the group.

    Args:
        filters: int, channels of each of the eight slices.
        kernel_size: int, odd; 1 mixes orientations and channels at each position.

    Shapes: (b, h, w, 8, channels) -> (b, h, w, 8, filters), stride 1, no bias.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        # Where the filter in orientation g takes position p of slice h from.
        places = self.turns[:, :, None] * ORDER
        self.sources = places + make_quotients()[:, None, :]

    def build(self, input_shape):
        super().build((*input_shape[:-2], ORDER * input_shape[-1]))

    def call(self, maps):
        size, channels = self.kernel_size, maps.shape[-1]
        flat = ops.reshape(self.kernel, (-1, channels, self.filters))
        kernel = ops.take(flat, self.sources, axis=0)  # g, place, h, channel, filter
        kernel = ops.transpose(kernel, (1, 2, 3, 0, 4))
        shape = (size, size, ORDER * channels, ORDER * self.filters)
        return split_slices(ops.conv(join_slices(maps), ops.reshape(kernel, shape), padding="same"))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)


@keras.saving.register_keras_serializable("pcam_kaggle")
class GroupAveragePooling2D(keras.layers.Layer):
    """Halve the height and width of a map on the group, by the mean of 2x2 positions.

    Shapes: (b, h, w, 8, channels) -> (b, h / 2, w / 2, 8, channels).

    Raises:
        ValueError: the height or width is odd, so that one side would lose a row.
    """

    def build(self, input_shape):
        if input_shape[1] % 2 or input_shape[2] % 2:
            raise ValueError(
                "expected an even height and width, or the views would differ. "
                f"Received: {input_shape[1]}x{input_shape[2]}"
            )

    def call(self, maps):
        return split_slices(ops.average_pool(join_slices(maps), 2, 2))

    def compute_output_shape(self, input_shape):
        batch, height, width, *rest = input_shape
        return (batch, height // 2, width // 2, *rest)


@keras.saving.register_keras_serializable("pcam_kaggle")
class GroupPooling(keras.layers.Layer):
    """The mean or the maximum over the eight slices.

    Shapes: (b, h, w, 8, channels) -> (b, h, w, channels).
    """

    def __init__(self, mode="max", **kwargs):
        super().__init__(**kwargs)
        if mode not in ("mean", "max"):
            raise ValueError(f"mode: expected mean or max. Received: mode={mode!r}")
        self.mode = mode

    def call(self, maps):
        return (ops.max if self.mode == "max" else ops.mean)(maps, axis=-2)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-2], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


def join_slices(maps: KerasTensor) -> KerasTensor:
    """(b, h, w, 8, channels) -> (b, h, w, 8 * channels), which a convolution takes."""
    height, width, _, channels = maps.shape[1:]
    return ops.reshape(maps, (-1, height, width, ORDER * channels))


def split_slices(maps: KerasTensor) -> KerasTensor:
    """(b, h, w, 8 * channels) -> (b, h, w, 8, channels)."""
    height, width, channels = maps.shape[1:]
    return ops.reshape(maps, (-1, height, width, ORDER, channels // ORDER))
