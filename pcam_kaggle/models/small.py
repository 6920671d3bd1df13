"""A small network that trains on a laptop."""

import keras
from keras import KerasTensor, layers

from .build import build_network, pooled_head
from .settings import NetworkSettings


def build_small(settings: NetworkSettings) -> keras.Model:
    """The small network, as `build_network` returns it: 34,745 parameters."""
    return build_network("small_cnn", small_cnn, settings)


def small_cnn(inputs: KerasTensor, settings: NetworkSettings, width: int = 1) -> KerasTensor:
    """Five convolutions of `width` times 8 to 64 channels, average and max pooling.

    Batch normalization uses a momentum of 0.9, which suits runs of few steps.
    """
    x = layers.Rescaling(1 / 255)(inputs)
    for filters, size, stride in [(8, 5, 2), (16, 3, 1), (32, 3, 1), (32, 3, 1)]:
        x = layers.Conv2D(width * filters, size, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x) if stride == 1 else x
    x = layers.Conv2D(width * 64, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return pooled_head(x, settings.dropout_rate)
