"""Networks: the counts of their table, the notebook's layers, the weights they take."""

import csv
import inspect
import math
import runpy

import keras
import numpy as np
import pytest
from conftest import FIXTURES

from kernel.folders import ROOT
from pcam_kaggle.inference.views import test_time_views as make_views
from pcam_kaggle.models.build import resize_center
from pcam_kaggle.models.by_name import build_model
from pcam_kaggle.models.course_settings import COURSE, VGG16_FILE
from pcam_kaggle.models.pretrained import BASES, BATCH_NORM_MOMENTUM, scale_pixels
from pcam_kaggle.models.pretrained_settings import PRETRAINED
from pcam_kaggle.models.scratch_settings import SCRATCH
from pcam_kaggle.models.settings import NetworkSettings
from pcam_kaggle.models.small import build_small
from pcam_kaggle.system.weights import load_file

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype("float32")
NAMES = (*PRETRAINED, *SCRATCH, *COURSE)
BASE_FILE = PRETRAINED["densenet121"]


def small(**settings):
    """The small network."""
    return build_small(NetworkSettings(**settings))


def read_table():
    """The rows of networks.csv by name."""
    with open(ROOT / "kernel" / "facts" / "networks.csv", encoding="utf-8", newline="") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


def read_stages(name):
    """The rows of stages.csv of a network."""
    with open(ROOT / "kernel" / "facts" / "stages.csv", encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["network"] == name]


def count_trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def read_layers(network):
    """(kind, output shape, parameters) of the notebook's printed summary, row by row."""
    name = {"course_resnet34": "resnet34_seed"}.get(network, network)
    with open(FIXTURES / "seed_layers.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["architecture"] == name]
    return [(row["kind"], row["output_shape"], int(row["parameters"])) for row in rows]


def list_layers(model):
    """The same of a model; preprocessing is not in the notebook's networks."""
    return [
        (type(layer).__name__, "x".join(map(str, layer.output.shape[1:])), layer.count_params())
        for layer in model.layers
        if not isinstance(layer, keras.layers.Rescaling)
    ]


@pytest.fixture
def download(monkeypatch, tmp_path):
    """Stands in for Keras's downloads; the names of the files that were asked for."""
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    names, load = [], keras.Model.load_weights

    def get_file(fname, *_, **__):
        names.append(fname)
        return f"downloaded/{fname}"

    def load_weights(model, path, *rest, **more):
        if str(path) != f"downloaded/{names[-1]}":
            load(model, path, *rest, **more)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    monkeypatch.setattr(keras.Model, "load_weights", load_weights)
    return names


@pytest.fixture(scope="module")
def vgg16():
    return build_model("vgg16")


@pytest.fixture(scope="module")
def base():
    """A DenseNet-121 base whose weights no other has."""
    keras.utils.set_random_seed(7)
    return BASES["densenet121"][0](include_top=False, weights=None, input_shape=(32, 32, 3))


def build_densenet(weights):
    """DenseNet-121 for 32 pixels, whose weights are those of any size."""
    return build_model("densenet121", weights=weights, input_size=32)


def same_base(model, base):
    own = model.get_layer("densenet121").get_weights()
    return all((a == b).all() for a, b in zip(own, base.get_weights(), strict=True))


def test_the_table_and_the_builders_name_the_same_networks():
    families = {name: row["family"] for name, row in read_table().items()}
    assert set(NAMES) | {"small_cnn", "midnight", "vit"} == set(families)
    assert set(BASES) == set(PRETRAINED)
    for family, names in (("pretrained", PRETRAINED), ("scratch", SCRATCH), ("course", COURSE)):
        assert {families[name] for name in names} == {family}


@pytest.mark.parametrize("name", ["small_cnn", *NAMES])
def test_every_network_has_its_counts_its_file_and_predicts_probabilities(name, download, request):
    """Its ImageNet file is the one that Keras would download for it."""
    file = {**PRETRAINED, "vgg16": VGG16_FILE}.get(name)
    if name == "small_cnn":
        model = small()
    elif name == "vgg16":
        model = request.getfixturevalue("vgg16")
    else:
        model = build_model(name, weights="imagenet" if file else None)
        assert download == ([file] if file else [])
    stages = runpy.run_path(FIXTURES / "make_stages.py")["Stages"](model).rows()
    assert stages == read_stages(name)
    row = read_table()[name]
    assert (model.name, model.count_params()) == (name, int(row["parameters"]))
    assert count_trainable(model) == int(row["trainable"])
    assert (model.input_shape, model.output_shape) == ((None, 96, 96, 3), (None, 1))
    probabilities = np.asarray(model(IMAGE))
    assert probabilities.shape == (2, 1) and probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_the_file_of_vgg16_is_the_one_that_keras_downloads(download):
    keras.applications.VGG16(include_top=False, input_shape=(32, 32, 3))
    assert download == [VGG16_FILE]


@pytest.mark.parametrize(
    "name", [n for n, (_, scaling) in BASES.items() if scaling in ("torch", "tf")]
)
def test_pixels_are_scaled_as_keras_scales_them(name):
    module = inspect.getmodule(BASES[name][0])
    expected = module.preprocess_input(IMAGE.copy())
    ours = np.asarray(scale_pixels(IMAGE, BASES[name][1]))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("name", [n for n, (_, scaling) in BASES.items() if scaling == "inside"])
def test_a_base_that_scales_inside_gets_the_pixels_as_they_are(name):
    module = inspect.getmodule(BASES[name][0])
    assert (module.preprocess_input(IMAGE.copy()) == IMAGE).all()
    assert scale_pixels(IMAGE, "inside") is IMAGE


@pytest.mark.parametrize("crop_size, input_size", [(96, 128), (64, 64), (64, 96)])
def test_the_center_at_another_size_turns_with_the_patch(crop_size, input_size):
    seen = np.asarray(resize_center(IMAGE, crop_size, input_size))
    assert seen.shape == (2, input_size, input_size, 3)
    for turned, view in zip(*(make_views(x, "dihedral") for x in (seen, IMAGE)), strict=True):
        again = resize_center(view, crop_size, input_size)
        np.testing.assert_allclose(turned, again, atol=1e-2)  # of 255
    border = IMAGE.copy()
    border[:, 16:80, 16:80] = 0
    assert (np.asarray(resize_center(border, 64, 64)) == 0).all()


def test_another_size_reaches_the_network():
    model = small(input_size=64, crop_size=48)
    assert [x.shape for x in model.inputs] == [(None, 96, 96, 3)]
    sizes = {x.output.shape[1:3] for x in model.layers if len(x.output.shape) == 4}
    assert {(96, 96), (48, 48), (64, 64), (32, 32)} <= sizes
    assert model.count_params() == int(read_table()["small_cnn"]["parameters"])


def test_the_last_layer_stays_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(crop_size=64)  # its resized center is float32 as well
    finally:
        keras.config.set_dtype_policy("float32")
    kinds = {type(layer).__name__: layer.compute_dtype for layer in model.layers}
    assert kinds["Conv2D"] == "float16"
    assert kinds["Dense"] == kinds["Resizing"] == "float32"
    assert model(IMAGE).dtype == "float32"


@pytest.mark.parametrize("name", ["my_vgg16", "course_resnet34"])
def test_a_network_of_the_course_is_its_table_row_by_row(name):
    table = read_layers(name)
    assert list_layers(build_model(name)) == table
    assert len(table) == {"my_vgg16": 42, "course_resnet34": 121}[name]


def test_the_course_s_transfer_is_its_table_with_its_heads(vgg16):
    base = vgg16.get_layer("vgg16")
    assert list_layers(base) == read_layers("vgg16")
    assert base.count_params() == 14_714_688
    assert count_trainable(base) == 7_079_424
    head = [(kind, size) for kind, _, size in list_layers(vgg16)[2:]]
    block = [("BatchNormalization", 16_384), ("Activation", 0), ("Dropout", 0)]
    assert head == [
        ("Flatten", 0),
        ("Dense", 4608 * 4096),
        *block,
        ("Dense", 4096 * 4096),
        *block,
        ("Dense", 4097),
    ]
    rates = [x.rate for x in vgg16.layers if isinstance(x, keras.layers.Dropout)]
    assert rates == [0.5, 0.5]


def test_resnet34_has_the_published_stages():
    shapes = {shape for _, shape, _ in list_layers(build_model("resnet34"))}
    assert {"24x24x64", "12x12x128", "6x6x256", "3x3x512"} <= shapes


def test_the_statistics_of_a_pretrained_network_follow_within_few_steps():
    network = build_densenet(None)
    base = network.get_layer("densenet121")
    norms = [x for x in base.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {x.momentum for x in norms} == {BATCH_NORM_MOMENTUM} and len(norms) > 100
    layer = base.get_layer("conv1_bn")
    first = keras.Model(base.inputs, layer.output)
    before, steps = np.asarray(layer.moving_mean), []
    for _ in range(20):
        first(IMAGE[:, :32, :32], training=True)
        steps.append(np.asarray(layer.moving_mean))
    # The same batch again and again: the last step's change is all that is missing.
    ways = [np.abs(step - before).max() for step in steps]
    assert ways[-1] - ways[-2] < 0.02 * ways[-1]


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_dropout_rate_reaches_the_head(rate):
    (layer,) = [x for x in small(dropout_rate=rate).layers if isinstance(x, keras.layers.Dropout)]
    assert layer.rate == rate


def test_without_weights_every_build_is_another_network():
    first, second = (build_model("p4m_densenet", weights=None) for _ in range(2))
    assert any((a != b).any() for a, b in zip(first.get_weights(), second.get_weights()))
    keras.utils.set_random_seed(1)
    third = build_model("p4m_densenet")
    keras.utils.set_random_seed(1)
    pairs = zip(third.get_weights(), build_model("p4m_densenet").get_weights(), strict=True)
    assert all((a == b).all() for a, b in pairs)


@pytest.mark.parametrize(
    "name, options, error, message",
    [
        (
            "densenet12",
            {},
            ValueError,
            "unknown architecture 'densenet12'. Did you mean 'densenet121'?",
        ),
        (
            "p4m_densenet",
            {"weights": "imagenet"},
            FileNotFoundError,
            "imagenet where the network has such weights. Received: weights='imagenet'",
        ),
        ("my_vgg16", {"weights": "imagenet"}, ValueError, "my_vgg16 has no ImageNet weights"),
        (
            "my_vgg16",
            {"dropout_rate": 0.1},
            TypeError,
            "unexpected keyword argument 'dropout_rate'",
        ),
        ("resnet34", {"crop_size": 33}, ValueError, "crop_size: expected an even number"),
        (
            "densenet121",
            {"input_size": 16},
            ValueError,
            "input_size: expected a whole number from 32",
        ),
    ],
)
def test_what_a_network_cannot_be_is_refused(name, options, error, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    with pytest.raises(error) as found:
        build_model(name, **options)
    assert message in str(found.value)


def test_a_given_file_becomes_the_base(tmp_path, base):
    path = tmp_path / "base.weights.h5"
    base.save_weights(path)
    network = build_densenet(str(path))
    assert same_base(network, base)
    network.save(tmp_path / "kept.keras")  # as a run keeps it for a second stage
    larger = build_model("densenet121", input_size=64, crop_size=64)
    load_file(larger, tmp_path / "kept.keras")
    assert same_base(larger, base)


def test_an_attached_file_serves_a_name_and_imagenet(tmp_path, base, monkeypatch):
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    folder = tmp_path / "datasets" / "owner" / "weights"
    folder.mkdir(parents=True)
    base.save_weights(folder / "mine.weights.h5")
    base.save(folder / BASE_FILE)  # Keras's old format, as its own downloads are
    for weights in ("elsewhere/mine.weights.h5", "imagenet"):
        assert same_base(build_densenet(weights), base)


def test_a_whole_network_is_loaded_where_there_is_no_base(tmp_path):
    first = small()
    first.save_weights(tmp_path / "whole.weights.h5")
    again = small(weights=str(tmp_path / "whole.weights.h5"))
    assert (np.asarray(first(IMAGE)) == np.asarray(again(IMAGE))).all()


def test_imagenet_that_nobody_has_names_the_ways(tmp_path, monkeypatch):
    # A proxy that refuses: the real download fails at once, and stays on this machine.
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        build_densenet("imagenet")
    for way in ("internet", BASE_FILE, "weights=PATH", "weights=none"):
        assert way in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    for build in (small, build_densenet):
        with pytest.raises(FileNotFoundError, match=r"weights='nowhere\.h5'"):
            build(weights="nowhere.h5")


def test_weights_of_another_shape_are_refused(tmp_path, base):
    base.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "broken.weights.h5").write_bytes(b"no weights")
    (tmp_path / "text.csv").write_bytes(b"no weights")
    for name in ("other.weights.h5", "broken.weights.h5", "text.csv"):
        for architecture in ("vgg16", "p4m_densenet"):
            with pytest.raises(ValueError) as error:
                build_model(architecture, weights=str(tmp_path / name))
            assert f"{name} does not fit {architecture}" in str(error.value)
