"""The networks of keras.applications, their preprocessing and their weights."""

from pathlib import Path

import keras
from keras import layers

from .config import ARCHITECTURES
from .networks import pooled_head
from .paths import find_attached

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB from 0 to 1
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

# Keras's 0.99 still carries 37 % of ImageNet's statistics after 100 steps.
BATCH_NORM_MOMENTUM = 0.9

# The class of each base, and how its pixels were scaled when it was trained: "torch" by
# mean and deviation, "tf" to -1 to 1, "inside" by layers of its own; "seed" as there.
BASES = {
    "vgg16": (keras.applications.VGG16, "seed"),
    "densenet121": (keras.applications.DenseNet121, "torch"),
    "densenet169": (keras.applications.DenseNet169, "torch"),
    "resnet50v2": (keras.applications.ResNet50V2, "tf"),
    "efficientnetv2b0": (keras.applications.EfficientNetV2B0, "inside"),
    "efficientnetv2s": (keras.applications.EfficientNetV2S, "inside"),
    "convnext_tiny": (keras.applications.ConvNeXtTiny, "inside"),
    "nasnetmobile": (keras.applications.NASNetMobile, "tf"),
    "xception": (keras.applications.Xception, "tf"),
}


def tuned_network(architecture, inputs, base, dropout_rate):
    """A base with all its layers trained, average and max pooling, dropout.

    inputs: float32 (b, side, side, 3), 0 to 255. The seed's vgg16 has its own head.
    """
    if architecture == "vgg16":
        return vgg16(inputs, base, dropout_rate)
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    x = scale_pixels(inputs, BASES[architecture][1])
    return pooled_head(base(x), dropout_rate)


def scale_pixels(inputs, scaling):
    """Pixels from 0 to 255 as a base was trained on them."""
    if scaling == "torch":
        scale = [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION]
        offset = [-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION)]
        return layers.Rescaling(scale, offset)(inputs)
    if scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    return inputs


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


def load_base(architecture, weights, input_shape):
    """The base of a pretrained architecture, its weights found in this order.

    The file given (as a path, else by its name among the kernel's inputs); for
    "imagenet" a file of Keras's name attached to the kernel as a dataset or model,
    Keras's cache, the download.
    """
    build = BASES[architecture][0]
    file_name = ARCHITECTURES[architecture].pretrained_file
    path = None
    if weights == "imagenet":
        path = next(iter(find_attached(file_name)), None)
    elif weights != "none":
        path = find_file(weights)
    if path or weights == "none":
        base = build(include_top=False, weights=None, input_shape=input_shape)
        if path:
            load_file(base, path)
        return base
    try:
        return build(include_top=False, weights="imagenet", input_shape=input_shape)
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
