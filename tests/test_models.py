"""Networks: the seed's tables layer by layer, the registry's counts, the weights."""

import csv
import inspect
import math

import keras
import numpy as np
import pytest
from conftest import FIXTURES
from pcam_kaggle.augment import test_time_views as make_views
from pcam_kaggle.config import ARCHITECTURES
from pcam_kaggle.networks import FROM_SCRATCH
from pcam_kaggle.pretrained import BASES, scale_pixels

from pcam_kaggle.models import build_model, resize_centre

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype("float32")
TRAINED = [name for name, a in ARCHITECTURES.items() if not a.is_foundation]
BASE_FILE = ARCHITECTURES["densenet121"].pretrained_file


def count_trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def seed_table(architecture):
    """(kind, output shape, parameters) of the seed's printed summary, row by row."""
    with open(FIXTURES / "seed_layers.csv", encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["architecture"] == architecture]
    return [(r["kind"], r["output_shape"], int(r["parameters"])) for r in rows]


def own_table(model):
    """The same of a model; preprocessing is not in the seed's networks."""
    return [
        (
            type(layer).__name__,
            "x".join(map(str, layer.output.shape[1:])),
            layer.count_params(),
        )
        for layer in model.layers
        if not isinstance(layer, keras.layers.Rescaling)
    ]


def test_the_registry_and_the_builders_name_the_same_networks():
    assert set(TRAINED) == set(FROM_SCRATCH) | set(BASES)
    pretrained = {name for name, a in ARCHITECTURES.items() if a.pretrained_file}
    assert pretrained == set(BASES)


@pytest.mark.parametrize("name", BASES)
def test_the_file_that_is_looked_for_is_the_one_keras_downloads(name, monkeypatch):
    class Found(Exception):
        """Ends the call where Keras would download."""

    def get_file(fname, *rest, **more):
        raise Found(fname)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(Found, match=f"^{ARCHITECTURES[name].pretrained_file}$"):
        BASES[name][0](include_top=False, weights="imagenet", input_shape=(96, 96, 3))


@pytest.mark.parametrize(
    "name", [n for n, (_, scaling) in BASES.items() if scaling in ("torch", "tf")]
)
def test_pixels_are_scaled_as_keras_scales_them(name):
    module = inspect.getmodule(BASES[name][0])
    expected = module.preprocess_input(IMAGE.copy())
    ours = np.asarray(scale_pixels(IMAGE, BASES[name][1]))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("crop_size, input_size", [(96, 128), (64, 64), (64, 96)])
def test_the_centre_at_another_size_turns_with_the_patch(crop_size, input_size):
    seen = np.asarray(resize_centre(IMAGE, crop_size, input_size))
    assert seen.shape == (2, input_size, input_size, 3)
    for turned, view in zip(*(make_views(x, "dihedral") for x in (seen, IMAGE))):
        again = resize_centre(view, crop_size, input_size)
        np.testing.assert_allclose(turned, again, atol=1e-2)  # of 255
    border = IMAGE.copy()
    border[:, 16:80, 16:80] = 0
    assert (np.asarray(resize_centre(border, 64, 64)) == 0).all()


def test_another_size_reaches_the_network():
    model = build_model("small_cnn", input_size=64, crop_size=48)
    assert [x.shape for x in model.inputs] == [(None, 96, 96, 3)]
    sizes = {x.output.shape[1:3] for x in model.layers if len(x.output.shape) == 4}
    assert {(96, 96), (48, 48), (64, 64), (32, 32)} <= sizes
    assert model.count_params() == ARCHITECTURES["small_cnn"].num_parameters


@pytest.mark.parametrize("name", TRAINED)
def test_every_network_has_its_counts_and_gives_probabilities(name):
    model = build_model(name)
    known = ARCHITECTURES[name]
    assert model.count_params() == known.num_parameters
    assert count_trainable(model) == known.num_trainable
    probabilities = np.asarray(model(IMAGE))
    assert probabilities.shape == (2, 1) and probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


@pytest.mark.parametrize("name", ["my_vgg16", "resnet34_seed"])
def test_a_seed_network_is_its_table_row_by_row(name):
    table = seed_table(name)
    assert own_table(build_model(name)) == table
    assert len(table) == {"my_vgg16": 42, "resnet34_seed": 121}[name]


def test_the_seeds_transfer_is_its_table_with_its_heads():
    model = build_model("vgg16")
    base = model.get_layer("vgg16")
    assert own_table(base) == seed_table("vgg16")
    assert base.count_params() == 14_714_688
    assert count_trainable(base) == 7_079_424
    head = [(kind, size) for kind, _, size in own_table(model)[2:]]
    dense = ("Dense", 4096 * 4096)
    block = [("BatchNormalization", 16_384), ("Activation", 0), ("Dropout", 0)]
    assert head == [
        ("Flatten", 0),
        ("Dense", 4608 * 4096),
        *block,
        dense,
        *block,
        ("Dense", 4097),
    ]
    rates = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert rates == [0.5, 0.5]


def test_the_statistics_of_a_pretrained_network_follow_within_few_steps():
    network = build_model("densenet121", input_size=32)
    layer = network.get_layer("densenet121").get_layer("conv1_bn")
    before = np.asarray(layer.moving_mean)
    steps = []
    for _ in range(20):
        network(IMAGE, training=True)
        steps.append(np.asarray(layer.moving_mean))
    # The same batch again and again: the last step's change is all that is missing.
    ways = [np.abs(step - before).max() for step in steps]
    assert ways[-1] - ways[-2] < 0.02 * ways[-1]


def test_resnet34_has_the_published_stages():
    shapes = {shape for kind, shape, _ in own_table(build_model("resnet34"))}
    assert {"24x24x64", "12x12x128", "6x6x256", "3x3x512"} <= shapes


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_dropout_rate_reaches_the_head(rate):
    (layer,) = [
        layer
        for layer in build_model("small_cnn", dropout_rate=rate).layers
        if isinstance(layer, keras.layers.Dropout)
    ]
    assert layer.rate == rate


@pytest.fixture(scope="module")
def base():
    """A DenseNet-121 base whose weights no other has."""
    keras.utils.set_random_seed(7)
    return BASES["densenet121"][0](
        include_top=False, weights=None, input_shape=(96, 96, 3)
    )


def same_base(model, base):
    own = model.get_layer("densenet121").get_weights()
    return all((a == b).all() for a, b in zip(own, base.get_weights()))


def test_a_given_file_becomes_the_base(tmp_path, base):
    path = tmp_path / "base.weights.h5"
    base.save_weights(path)
    assert same_base(build_model("densenet121", weights=str(path)), base)


def test_an_attached_file_serves_a_name_and_imagenet(tmp_path, base, monkeypatch):
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    folder = tmp_path / "datasets" / "owner" / "weights"
    folder.mkdir(parents=True)
    base.save_weights(folder / "mine.weights.h5")
    base.save(folder / BASE_FILE)  # Keras's old format, as its own downloads are
    for weights in ("elsewhere/mine.weights.h5", "imagenet"):
        assert same_base(build_model("densenet121", weights=weights), base)


def test_a_whole_network_is_loaded_where_there_is_no_base(tmp_path):
    first = build_model("small_cnn")
    first.save_weights(tmp_path / "whole.weights.h5")
    again = build_model("small_cnn", weights=str(tmp_path / "whole.weights.h5"))
    assert (np.asarray(first(IMAGE)) == np.asarray(again(IMAGE))).all()


def test_imagenet_that_nobody_has_names_the_ways(tmp_path, monkeypatch):
    # A proxy that refuses: the real download fails at once, and stays on this machine.
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    monkeypatch.setattr(
        "keras.src.utils.file_utils.config.keras_home", lambda: tmp_path
    )
    with pytest.raises(FileNotFoundError) as error:
        build_model("densenet121", weights="imagenet")
    for way in ("internet", BASE_FILE, "weights=PATH", "weights=none"):
        assert way in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="weights='nowhere.h5'"):
        build_model("densenet121", weights="nowhere.h5")


def test_weights_of_another_shape_are_refused(tmp_path, base):
    base.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "broken.weights.h5").write_bytes(b"no weights")
    (tmp_path / "text.csv").write_bytes(b"no weights")
    for name in ("other.weights.h5", "broken.weights.h5", "text.csv"):
        for architecture in ("vgg16", "small_cnn"):
            with pytest.raises(ValueError) as error:
                build_model(architecture, weights=str(tmp_path / name))
            assert f"{name} does not fit {architecture}" in str(error.value)
