"""D4 layers: what they promise holds for random weights, sizes and batches."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from pcam_kaggle.inference.views import test_time_views as make_views
from pcam_kaggle.models.dihedral import (
    ORDER,
    GroupAveragePooling2D,
    GroupConv2D,
    GroupPooling,
    LiftingConv2D,
    make_quotients,
    turn,
)
from pcam_kaggle.models.scratch import build_scratch
from pcam_kaggle.models.scratch_settings import ScratchSettings


def make_network(seed, side, pooling="max", dtype="float32"):
    """Every layer once, with random weights and sizes; and the map before pooling."""
    keras.utils.set_random_seed(seed)
    draw = np.random.default_rng(seed)
    inputs = keras.Input((side, side, 3), dtype=dtype)
    x = LiftingConv2D(int(draw.integers(1, 6)), 5, dtype=dtype)(inputs)
    x = layers.BatchNormalization(dtype=dtype)(x)
    x = layers.ReLU(dtype=dtype)(x)
    for size in draw.choice([1, 3, 5], 3):
        x = GroupConv2D(int(draw.integers(1, 6)), int(size), dtype=dtype)(x)
        x = layers.ReLU(dtype=dtype)(x)
    maps = GroupAveragePooling2D(dtype=dtype)(x)
    y = GroupPooling(pooling, dtype=dtype)(maps)
    y = layers.GlobalAveragePooling2D(dtype=dtype)(y)
    return keras.Model(inputs, [maps, y])


@pytest.mark.parametrize("seed", range(6))
def test_the_output_is_the_same_for_all_eight_views(seed):
    draw = np.random.default_rng(seed)
    side = 2 * int(draw.integers(3, 16))
    network = make_network(seed, side, ("max", "mean")[seed % 2])
    images = draw.random((int(draw.integers(1, 5)), side, side, 3), "float32")
    first, *others = [network(view)[1] for view in make_views(images, "dihedral")]
    assert float(ops.max(ops.abs(first))) > 1e-3, "it must not vanish"
    for other in others:
        assert np.allclose(first, other, atol=1e-5)


def test_in_float16_the_views_agree_to_its_precision():
    network = make_network(0, 16, dtype="float16")
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    outputs = [network(view)[1] for view in make_views(images, "dihedral")]
    assert outputs[0].dtype == "float16"
    spread = np.ptp(np.stack([np.asarray(o, "float32") for o in outputs]), axis=0)
    assert spread.max() < 5e-3 * float(ops.max(ops.abs(outputs[0]))) + 1e-3


def test_a_turned_image_gives_turned_maps_whose_slices_change_places():
    network = make_network(3, 12)
    image = np.random.default_rng(3).random((12, 12, 3), "float32")
    quotients = make_quotients()
    maps = np.asarray(network(image[None])[0])[0]
    for element in range(ORDER):
        turned = np.asarray(network(turn(element, image)[None].copy())[0])[0]
        expected = turn(element, maps)[:, :, quotients[element]]
        assert np.allclose(turned, expected, atol=1e-5)


def test_the_table_is_that_of_a_group():
    quotients = make_quotients()
    assert (quotients.diagonal() == 0).all()  # inverse(g) g is the identity
    for row in (*quotients, *quotients.T):
        assert sorted(row) == list(range(ORDER))
    assert quotients[0].tolist() == list(range(ORDER))
    inverse = quotients[:, 0]
    assert [int(i) for i in inverse] == [0, 3, 2, 1, 4, 5, 6, 7]
    assert quotients[1, 4] != quotients[3, 4], "turning does not commute with mirroring"


def test_an_ordinary_convolution_would_not_pass():
    images = np.random.default_rng(0).random((1, 8, 8, 3), "float32")
    layer = layers.Conv2D(4, 3, padding="same")
    outputs = [
        ops.mean(ops.relu(layer(view)), axis=(1, 2)) for view in make_views(images, "dihedral")
    ]
    assert np.ptp(np.stack(outputs), axis=0).max() > 1e-3


def test_statistics_are_shared_over_orientations():
    network = make_network(0, 8)
    (layer,) = [x for x in network.layers if "batch_norm" in x.name]
    assert layer.gamma.shape == (network.layers[1].filters,)


def test_a_network_is_the_same_after_saving_and_loading(tmp_path):
    network = make_network(1, 8)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    images = np.random.default_rng(1).random((2, 8, 8, 3), "float32")
    assert np.allclose(network(images)[1], loaded(images)[1], atol=1e-6)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: LiftingConv2D(4, 2), "kernel_size: expected an odd number"),
        (lambda: GroupConv2D(4, 4), "Received: kernel_size=4"),
        (lambda: GroupPooling("sum"), "expected mean or max. Received: mode='sum'"),
        (
            lambda: GroupAveragePooling2D()(np.zeros((1, 7, 8, 8, 2), "float32")),
            "even height and width.*Received: 7x8",
        ),
    ],
)
def test_what_would_break_the_symmetry_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_p4m_densenet_needs_no_test_time_views():
    keras.utils.set_random_seed(0)
    network = build_scratch(ScratchSettings(architecture="p4m_densenet"))
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (2, 96, 96, 3)).astype("float32")
    network(images, training=True)
    first, *others = [network(view) for view in make_views(images, "dihedral")]
    assert all(np.allclose(first, other, atol=1e-5) for other in others)
    assert float(ops.std(first)) > 1e-6
