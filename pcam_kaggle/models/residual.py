"""Basic residual blocks (He et al. 2015)."""

from keras import KerasTensor, layers


def residual_network(
    inputs: KerasTensor, stages: list, use_bias: bool, initializer: str
) -> KerasTensor:
    """Stem, basic residual blocks, average pooling.

    Args:
        inputs: float tensor (b, side, side, 3), 0 to 255.
        stages: (filters, stride of the first block, number of blocks) of each stage.
        use_bias: whether the convolutions have biases.
        initializer: Keras's name of the initializer of the weights.
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


def residual_block(inputs: KerasTensor, filters: int, stride: int, settings: dict) -> KerasTensor:
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""
    x = layers.Conv2D(filters, 3, strides=stride, **settings)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(filters, 3, **settings)(x)
    x = layers.BatchNormalization()(x)
    if stride != 1 or inputs.shape[-1] != filters:
        inputs = layers.Conv2D(filters, 1, strides=stride, **settings)(inputs)
        inputs = layers.BatchNormalization()(inputs)
    return layers.ReLU()(layers.Add()([x, inputs]))
