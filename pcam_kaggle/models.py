"""The networks, each with its preprocessing: float pixels in, one probability out."""

from pathlib import Path

import keras
from keras import layers

from .config import ARCHITECTURES
from .data import IMAGE_SHAPE
from .dihedral import GroupAveragePooling2D, GroupConv2D, GroupPooling, LiftingConv2D
from .paths import find_attached

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB from 0 to 1, as DenseNet was trained
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def build_model(architecture, weights="none", dropout_rate=0.3):
    """A network of ARCHITECTURES.

    Args:
        architecture: str, its name.
        weights: "none", "imagenet", or the path of a file: the weights of the base of
            a pretrained architecture, of the whole network for the others.
        dropout_rate: float, of the layer before the last, where it is not published.

    Returns:
        keras.Model: float32 (b, 96, 96, 3), RGB from 0 to 255 -> float32 (b, 1).

    Raises:
        FileNotFoundError: weights that cannot be found; names the ways to provide them.
        ValueError: a file that does not fit the network.
    """
    inputs = keras.Input(IMAGE_SHAPE, name="pixels")
    if ARCHITECTURES[architecture].pretrained_file:
        base = load_base(architecture, weights)
        features = PRETRAINED[architecture](inputs, base, dropout_rate)
    else:
        features = FROM_SCRATCH[architecture](inputs, dropout_rate)
    # The last layer stays in float32 under mixed precision.
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32")(features)
    model = keras.Model(inputs, outputs, name=architecture)
    if not ARCHITECTURES[architecture].pretrained_file and weights != "none":
        load_file(model, find_file(weights))
    return model


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


def vgg16(inputs, base, dropout_rate):
    """The seed's transfer up to its last layer: two heads of 4096, dropout 0.5.

    Pixels are divided by 255 as the seed does, not as VGG16 was trained.
    """
    names = [layer.name for layer in base.layers]
    for layer in base.layers[: names.index("block5_conv1")]:
        layer.trainable = False
    x = base(layers.Rescaling(1 / 255)(inputs))
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(4096, use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Dropout(0.5)(x)
    return x


def densenet121(inputs, base, dropout_rate):
    """DenseNet-121 up to its last layer, its pixels scaled as it was trained."""
    scale = [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION]
    offset = [-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION)]
    return pooled_head(base(layers.Rescaling(scale, offset)(inputs)), dropout_rate)


FROM_SCRATCH = {
    "my_vgg16": my_vgg16,
    "resnet34_seed": resnet34_seed,
    "resnet34": resnet34,
    "small_cnn": small_cnn,
    "p4m_densenet": p4m_densenet,
}
PRETRAINED = {"vgg16": vgg16, "densenet121": densenet121}
BASES = {
    "vgg16": keras.applications.VGG16,
    "densenet121": keras.applications.DenseNet121,
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


def load_base(architecture, weights):
    """The base of a pretrained architecture, its weights found in this order.

    The file given (as a path, else by its name among the kernel's inputs); for
    "imagenet" a file of Keras's name attached to the kernel as a dataset or model,
    Keras's cache, the download.
    """
    build = BASES[architecture]
    file_name = ARCHITECTURES[architecture].pretrained_file
    path = None
    if weights == "imagenet":
        path = next(iter(find_attached(file_name)), None)
    elif weights != "none":
        path = find_file(weights)
    if path or weights == "none":
        base = build(include_top=False, weights=None, input_shape=IMAGE_SHAPE)
        if path:
            load_file(base, path)
        return base
    try:
        return build(include_top=False, weights="imagenet", input_shape=IMAGE_SHAPE)
    except Exception as error:  # Keras raises no narrower class when a download fails
        raise FileNotFoundError(
            f"no ImageNet weights for {architecture}: not attached to the kernel, not "
            "in Keras's cache, and the download failed. Ways to provide them: switch "
            "the kernel's internet on; attach a dataset or model that holds "
            f"{file_name}; give a file with weights=PATH; or train from scratch with "
            f"weights=none. Received: {error}"
        ) from error


def find_file(weights):
    """The path of a weights file, given as a path or by the name of an attached one."""
    found = [Path(weights)] if Path(weights).is_file() else []
    found += find_attached(Path(weights).name)
    if not found:
        raise FileNotFoundError(
            "weights: expected imagenet, none, or a file that exists here or in a "
            f"dataset attached to the kernel. Received: weights={weights!r}"
        )
    return found[0]


def load_file(model, path):
    """Load a weights file into a model, or say that it does not fit."""
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"weights: {path} does not fit {model.name} ({model.count_params():,} "
            "parameters). Expected: weights of that very network. Received: "
            f"{str(error).splitlines()[0]}"
        ) from error
