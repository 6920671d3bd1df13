"""Networks of keras.applications, all layers trained."""

import keras
from keras import KerasTensor, layers

from ..system.weights import load_base
from .build import build_network, pooled_head
from .pretrained_settings import PRETRAINED, PretrainedSettings

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB from 0 to 1
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

# Keras's 0.99 still carries 37 % of ImageNet's statistics after 100 steps.
BATCH_NORM_MOMENTUM = 0.9

# The class of each base, and how it expects its pixels to be scaled: "torch" by mean and
# deviation, "tf" to the range -1 to 1, "inside" by layers of its own.
BASES = {
    "densenet121": (keras.applications.DenseNet121, "torch"),
    "densenet169": (keras.applications.DenseNet169, "torch"),
    "resnet50v2": (keras.applications.ResNet50V2, "tf"),
    "efficientnetv2b0": (keras.applications.EfficientNetV2B0, "inside"),
    "efficientnetv2s": (keras.applications.EfficientNetV2S, "inside"),
    "convnext_tiny": (keras.applications.ConvNeXtTiny, "inside"),
    "nasnetmobile": (keras.applications.NASNetMobile, "tf"),
    "xception": (keras.applications.Xception, "tf"),
}


def build_pretrained(settings: PretrainedSettings) -> keras.Model:
    """A network of PRETRAINED, as `build_network` returns it."""
    name = settings.architecture
    return build_network(name, pretrained_body, settings, has_base=True)


def pretrained_body(inputs: KerasTensor, settings: PretrainedSettings) -> KerasTensor:
    """A base with all its layers trained, average and max pooling, dropout.

    Args:
        inputs: float32 (b, side, side, 3), 0 to 255.
        settings: architecture, weights and dropout rate.
    """
    base_class, scaling = BASES[settings.architecture]
    file_name = PRETRAINED[settings.architecture]
    base = load_base(base_class, settings.weights, file_name, inputs.shape[1:])
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    features = base(scale_pixels(inputs, scaling))
    return pooled_head(features, settings.dropout_rate)


def scale_pixels(inputs: KerasTensor, scaling: str) -> KerasTensor:
    """Scale pixels from 0 to 255 as a base expects them."""
    if scaling == "torch":
        scale = [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION]
        offset = [-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION)]
        return layers.Rescaling(scale, offset)(inputs)
    if scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    return inputs
