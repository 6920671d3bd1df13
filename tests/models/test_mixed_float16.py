"""Networks train under mixed_float16 with XLA, and predict as in float32."""

import keras
import numpy as np
import pytest
from keras import layers
from small_task import PATCHES, make_settings, make_split, same_weights

from pcam_kaggle.augmentation.flips import augment_patches
from pcam_kaggle.inference.predict import predict
from pcam_kaggle.methods.finetune import Finetune
from pcam_kaggle.models.build import build_network, pooled_head
from pcam_kaggle.models.dihedral import (
    GroupAveragePooling2D,
    GroupConv2D,
    GroupPooling,
    LiftingConv2D,
)
from pcam_kaggle.models.pretrained import scale_pixels
from pcam_kaggle.models.scratch import build_scratch
from pcam_kaggle.models.scratch_settings import ScratchSettings
from pcam_kaggle.training import optimizer
from pcam_kaggle.training.checkpoint import Checkpoint


def dihedral(inputs, settings):
    """Every D4 layer once."""
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = GroupAveragePooling2D()(LiftingConv2D(2, 3)(layers.AveragePooling2D(2)(x)))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(GroupConv2D(4, 3)(x)))
    return pooled_head(GroupPooling("mean")(x), settings.dropout_rate)


def densenet(inputs, settings):
    """Two dense blocks and what joins them, as in keras.applications.DenseNet121."""
    x = layers.Conv2D(8, 7, strides=4, padding="same", use_bias=False)(
        scale_pixels(inputs, "torch")
    )
    for block in range(2):
        for _ in range(2):
            y = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
            y = layers.Conv2D(16, 1, use_bias=False)(y)
            y = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(y))
            y = layers.Conv2D(4, 3, padding="same", use_bias=False)(y)
            x = layers.Concatenate()([x, y])
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.AveragePooling2D(2)(x) if block == 0 else x
    return pooled_head(x, settings.dropout_rate)


def build_dihedral(settings):
    return build_network("small_dihedral", dihedral, settings)


def build_densenet(settings):
    return build_network("small_densenet", densenet, settings)


BUILDERS = {"dihedral": build_dihedral, "densenet": build_densenet, "p4m_densenet": build_scratch}


@pytest.fixture
def mixed_float16():
    """The policy of a T4."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def make_method(name):
    """Fine-tuning of a network with random weights, all that has a state included."""
    settings = make_settings(epochs=2, ema_momentum=0.8, gradient_clip=1.0, stain_jitter=0.05)
    network = ScratchSettings(architecture="p4m_densenet", crop_size=32, input_size=32)
    return Finetune(
        BUILDERS[name], augment_patches, network, settings.augmentation, settings.training
    )


@pytest.mark.parametrize(
    "name", ["dihedral", "densenet", pytest.param("p4m_densenet", marks=pytest.mark.slow)]
)
def test_a_network_trains_and_predicts_as_in_float32(name, mixed_float16, monkeypatch):
    monkeypatch.setattr(optimizer, "choose_jit_compile", lambda: True)
    network, history = make_method(name).fit(PATCHES, make_split())
    assert network.layers[-2].output.dtype == "float16"
    assert np.isfinite(history[["loss", "val_loss"]]).all(axis=None)
    mixed = predict(network, PATCHES.images)
    keras.config.set_dtype_policy("float32")
    twin = BUILDERS[name](ScratchSettings(architecture="p4m_densenet", crop_size=32, input_size=32))
    assert not same_weights(network, twin)  # it was trained
    twin.set_weights(network.get_weights())
    plain = predict(twin, PATCHES.images)
    assert np.ptp(plain) > 0.05
    assert np.abs(mixed - plain).max() < 5e-3


@pytest.mark.slow
def test_a_network_resumes_with_the_scale_of_its_loss(mixed_float16, tmp_path):
    whole, history = make_method("densenet").fit(PATCHES, make_split())
    path = tmp_path / "checkpoint.npz"

    class Cut(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_method("densenet").fit(PATCHES, make_split(), Checkpoint(path, "mine"), [Cut()])
    again, resumed = make_method("densenet").fit(PATCHES, make_split(), Checkpoint(path, "mine"))
    assert same_weights(whole, again)
    assert resumed["loss"].tolist() == history["loss"].tolist()
