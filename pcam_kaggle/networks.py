"""The networks that start from random weights, up to their last layer."""

from keras import layers

from .dihedral import GroupAveragePooling2D, GroupConv2D, GroupPooling, LiftingConv2D


def my_vgg16(inputs, dropout_rate):
    """The seed's VGG16 up to its last layer; its dropout stays 0.5."""
    x = layers.Rescaling(1 / 255)(inputs)
    for block, (filters, num_layers) in enumerate(
        [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], start=1
    ):
        for _ in range(num_layers):
            x = layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D()(x)
        if block in (3, 5):
            x = layers.Dropout(0.5)(x)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(256, activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.5)(x)
    return x


def resnet34_seed(inputs, dropout_rate):
    """The seed's "ResNet34" up to its last layer: zip() dropped half of its stages."""
    stages = [(64, 1, 3), (64, 1, 4), (128, 2, 6), (128, 1, 3)]
    return residual_network(inputs, stages, use_bias=True, initializer="glorot_uniform")


def resnet34(inputs, dropout_rate):
    """ResNet-34 (He et al. 2015) up to its last layer, with projection shortcuts."""
    stages = [(64, 1, 3), (128, 2, 4), (256, 2, 6), (512, 2, 3)]
    x = residual_network(inputs, stages, use_bias=False, initializer="he_normal")
    return layers.Dropout(dropout_rate)(x)


def small_cnn(inputs, dropout_rate):
    """Five convolutions, average and max pooling: the demo's and the tests' network.

    Batch normalisation forgets fast (momentum 0.9), for the few steps that it sees.
    """
    x = layers.Rescaling(1 / 255)(inputs)
    for filters, size, stride in [(8, 5, 2), (16, 3, 1), (32, 3, 1), (32, 3, 1)]:
        x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x) if stride == 1 else x
    x = layers.Conv2D(64, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return pooled_head(x, dropout_rate)


def p4m_densenet(inputs, dropout_rate):
    """A D4-equivariant DenseNet after Veeling et al. (2018), up to its last layer.

    Five dense blocks of one group convolution each, with 1x1 group convolutions and
    pooling between them. The output is the same for all eight views of a patch.
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
    return pooled_head(GroupPooling("mean")(x), dropout_rate)


FROM_SCRATCH = {
    "my_vgg16": my_vgg16,
    "resnet34_seed": resnet34_seed,
    "resnet34": resnet34,
    "small_cnn": small_cnn,
    "p4m_densenet": p4m_densenet,
}


def pooled_head(x, dropout_rate):
    """Average and max over the places of a feature map, side by side, then dropout."""
    average = layers.GlobalAveragePooling2D()(x)
    highest = layers.GlobalMaxPooling2D()(x)
    return layers.Dropout(dropout_rate)(layers.Concatenate()([average, highest]))


def residual_network(inputs, stages, use_bias, initializer):
    """Stem, basic residual blocks, average pooling.

    stages: list of (filters, stride of the first block, number of blocks).
    """
    settings = {"padding": "same", "use_bias": use_bias}
    settings["kernel_initializer"] = initializer
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(64, 7, strides=2, **settings)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for filters, first_stride, num_blocks in stages:
        for block in range(num_blocks):
            stride = first_stride if block == 0 else 1
            x = residual_block(x, filters, stride, settings)
    return layers.GlobalAveragePooling2D()(x)


def residual_block(inputs, filters, stride, settings):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""
    x = layers.Conv2D(filters, 3, strides=stride, **settings)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(filters, 3, **settings)(x)
    x = layers.BatchNormalization()(x)
    if stride != 1 or inputs.shape[-1] != filters:
        inputs = layers.Conv2D(filters, 1, strides=stride, **settings)(inputs)
        inputs = layers.BatchNormalization()(inputs)
    return layers.ReLU()(layers.Add()([x, inputs]))
