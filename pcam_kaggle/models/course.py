"""The course notebook's three networks, as published."""

import keras
from keras import KerasTensor, layers

from ..system.weights import load_base
from .build import build_network
from .course_settings import VGG16_FILE, CourseNetworkSettings
from .residual import residual_network


def build_course(settings: CourseNetworkSettings) -> keras.Model:
    """A network of COURSE, as `build_network` returns it."""
    name = settings.architecture
    return build_network(name, course_body, settings, has_base=name == "vgg16")


def course_body(inputs: KerasTensor, settings: CourseNetworkSettings) -> KerasTensor:
    """The network of the settings up to its last layer; inputs from 0 to 255."""
    if settings.architecture == "vgg16":
        return vgg16(inputs, settings.weights)
    bodies = {"my_vgg16": my_vgg16, "course_resnet34": course_resnet34}
    return bodies[settings.architecture](inputs)


def my_vgg16(inputs: KerasTensor) -> KerasTensor:
    """VGG16 with batch normalization from scratch, up to its last layer."""
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


def course_resnet34(inputs: KerasTensor) -> KerasTensor:
    """The notebook's "ResNet34" up to its last layer; its zip() dropped half the stages."""
    stages = [(64, 1, 3), (64, 1, 4), (128, 2, 6), (128, 1, 3)]
    return residual_network(inputs, stages, use_bias=True, initializer="glorot_uniform")


def vgg16(inputs: KerasTensor, weights: str) -> KerasTensor:
    """VGG16 trained from block5_conv1 on, with two hidden layers of 4096 units and dropout 0.5.

    Pixels are divided by 255 as in the notebook, not as VGG16 was trained.
    """
    base = load_base(keras.applications.VGG16, weights, VGG16_FILE, inputs.shape[1:])
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
