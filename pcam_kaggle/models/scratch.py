"""Networks that start from random weights."""

import keras
from keras import KerasTensor, layers

from .build import build_network, pooled_head
from .dihedral import GroupAveragePooling2D, GroupConv2D, GroupPooling, LiftingConv2D
from .residual import residual_network
from .scratch_settings import ScratchSettings
from .small import small_cnn


def build_scratch(settings: ScratchSettings) -> keras.Model:
    """A network of SCRATCH, as `build_network` returns it."""
    bodies = {"wide_cnn": wide_cnn, "p4m_densenet": p4m_densenet, "resnet34": resnet34}
    name = settings.architecture
    return build_network(name, bodies[name], settings)


def wide_cnn(inputs: KerasTensor, settings: ScratchSettings) -> KerasTensor:
    """The small network with twice the channels: 136,305 parameters."""
    return small_cnn(inputs, settings, width=2)


def p4m_densenet(inputs: KerasTensor, settings: ScratchSettings) -> KerasTensor:
    """A D4-equivariant DenseNet after Veeling et al. (2018), up to its last layer.

    Five dense blocks of one group convolution each, with 1x1 group convolutions and pooling
    between them. The output is the same for all eight views of a patch.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = GroupAveragePooling2D()(LiftingConv2D(8, 5)(x))
    for block in range(5):
        new = layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))
        x = layers.Concatenate()([x, GroupConv2D(12, 3)(new)])
        if block < 4:
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))
            x = GroupConv2D(x.shape[-1], 1)(x)
        if block < 3:
            x = GroupAveragePooling2D()(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))
    return pooled_head(GroupPooling("mean")(x), settings.dropout_rate)


def resnet34(inputs: KerasTensor, settings: ScratchSettings) -> KerasTensor:
    """ResNet-34 (He et al. 2015) up to its last layer, with projection shortcuts."""
    stages = [(64, 1, 3), (128, 2, 4), (256, 2, 6), (512, 2, 3)]
    x = residual_network(inputs, stages, use_bias=False, initializer="he_normal")
    return layers.Dropout(settings.dropout_rate)(x)
