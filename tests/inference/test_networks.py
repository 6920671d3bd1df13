"""Kept networks: the same predictions, in any process and precision; damage is named."""

import json
import os
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers
from small_task import IMAGES, PATCHES, make_method, make_split

from pcam_kaggle.inference.load_network import list_layers, load_network
from pcam_kaggle.inference.networks import FACTS, save_network
from pcam_kaggle.inference.predict import predict
from pcam_kaggle.models.build import build_network, pooled_head
from pcam_kaggle.models.dihedral import GroupConv2D, GroupPooling, LiftingConv2D
from pcam_kaggle.models.pretrained import scale_pixels
from pcam_kaggle.models.scratch import build_scratch
from pcam_kaggle.models.scratch_settings import ScratchSettings

OURS = {"method": "Finetune", "fold": 1, "settings": {"folds": [0, 1]}}

# As a kernel does it: our layers are defined in __main__.
KERNEL = """
import sys
from pathlib import Path
exec(Path(sys.argv[1], "models", "dihedral.py").read_text("utf-8"), globals())
from pcam_kaggle.inference.networks import save_network
keras.utils.set_random_seed(0)
inputs = keras.Input((96, 96, 3))
maps = GroupPooling("mean")(GroupConv2D(2, 3)(LiftingConv2D(2, 3)(inputs)))
features = keras.layers.GlobalAveragePooling2D()(maps)
network = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(features))
assert type(network.layers[1]).__module__ == "__main__"
save_network(Path(sys.argv[2]), network, {"fold": 3})
images = np.full((2, 96, 96, 3), 100.0, "float32")
np.save(sys.argv[3], network.predict(images, verbose=0))
"""


@pytest.fixture(scope="module")
def trained():
    """A network that Finetune has trained."""
    return make_method(epochs=1).fit(PATCHES, make_split())[0]


@pytest.fixture
def kept(tmp_path, trained):
    """Its file, whole."""
    path = tmp_path / "folds" / "fold1_seed0.keras"
    save_network(path, trained, OURS)
    return path


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_a_full_disk_is_not_the_fault_of_the_network(kept):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            load_network(kept)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_trained_network_predicts_the_same_when_it_is_loaded(trained, kept):
    network, facts = load_network(kept)
    assert facts == {"schema": 1, **OURS}
    for tta in ("none", "dihedral"):
        expected = predict(trained, IMAGES, tta=tta)
        np.testing.assert_allclose(predict(network, IMAGES, tta=tta), expected, atol=1e-6)


def test_keras_alone_reads_the_file_too(trained, kept):
    network = keras.saving.load_model(kept)
    expected = predict(trained, IMAGES)
    np.testing.assert_allclose(predict(network, IMAGES), expected, atol=1e-6)
    assert not any(name.endswith((".pkl", ".pickle")) for name in zipfile.ZipFile(kept).namelist())


def build_dense(settings):
    """As `build_pretrained` builds DenseNet-121, with two dense blocks of one layer."""

    def body(pixels, settings):
        inputs = keras.Input(pixels.shape[1:])
        x = layers.Conv2D(8, 3, strides=2, use_bias=False)(inputs)
        for _ in range(2):
            new = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(new)])
            x = layers.AveragePooling2D(2)(x)
        base = keras.Model(inputs, x, name="base")
        return pooled_head(base(scale_pixels(pixels, "torch")), settings.dropout_rate)

    return build_network("dense", body, settings, has_base=True)


@pytest.mark.parametrize("build", [build_scratch, build_dense])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_networks_like_those_of_the_recipes_load_in_float32_on_a_cpu(build, policy, tmp_path):
    """Our layers, a base within a network, resized patches; weights as if trained."""
    keras.config.set_dtype_policy(policy)
    try:
        network = build(ScratchSettings(architecture="p4m_densenet", crop_size=64, input_size=48))
    finally:
        keras.config.set_dtype_policy("float32")
    random = np.random.default_rng(0)
    network.set_weights([w * random.uniform(0.5, 1.5, w.shape) for w in network.get_weights()])
    save_network(tmp_path / "network.keras", network, OURS)
    loaded, _ = load_network(tmp_path / "network.keras")
    kept_in = {layer.compute_dtype for layer in list_layers(network)}
    assert kept_in == ({"float32"} if policy == "float32" else {"float32", "float16"})
    assert {layer.compute_dtype for layer in list_layers(loaded)} == {"float32"}
    expected = predict(network, IMAGES[:6])
    assert np.ptp(expected) > 1e-3
    tolerance = 1e-6 if policy == "float32" else 5e-3
    np.testing.assert_allclose(predict(loaded, IMAGES[:6]), expected, atol=tolerance)


def test_a_float16_network_of_a_run_gives_in_float32_what_float32_gives(tmp_path):
    """The weights are float32 already: only the arithmetic changes."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = build_scratch(ScratchSettings(architecture="p4m_densenet", input_size=32))
    finally:
        keras.config.set_dtype_policy("float32")
    twin = build_scratch(ScratchSettings(architecture="p4m_densenet", input_size=32))
    twin.set_weights(network.get_weights())
    save_network(tmp_path / "network.keras", network, OURS)
    loaded, _ = load_network(tmp_path / "network.keras")
    expected = predict(twin, IMAGES[:6])
    np.testing.assert_allclose(predict(loaded, IMAGES[:6]), expected, atol=1e-6)


def test_a_head_on_features_is_kept_with_its_scaling(tmp_path):
    features = np.random.default_rng(0).normal(3, 2, (40, 24)).astype("float16")
    scale = layers.Normalization()
    scale.adapt(features.astype("float32"))
    dense = layers.Dense(1, activation="sigmoid", dtype="float32")
    head = keras.Sequential([keras.Input((24,)), scale, dense])
    expected = head.predict(features, verbose=0)
    save_network(tmp_path / "head.keras", head, OURS)
    loaded, _ = load_network(tmp_path / "head.keras")
    assert loaded.input_shape == (None, 24) and loaded.output_shape == (None, 1)
    np.testing.assert_allclose(loaded.predict(features, verbose=0), expected, atol=1e-6)


def test_a_network_that_a_kernel_kept_finds_its_layers_in_the_package(tmp_path):
    import pcam_kaggle

    script, path, expected = (tmp_path / n for n in ("kernel.py", "net.keras", "expected.npy"))
    script.write_text(KERNEL, "utf-8")
    words = [sys.executable, script, *pcam_kaggle.__path__, path, expected]
    subprocess.run(list(map(str, words)), check=True, stderr=subprocess.DEVNULL)
    network, facts = load_network(path)
    assert facts["fold"] == 3
    assert [type(layer) for layer in network.layers[1:4]] == [
        LiftingConv2D,
        GroupConv2D,
        GroupPooling,
    ]
    images = np.full((2, 96, 96, 3), 100.0, "float32")
    np.testing.assert_allclose(network.predict(images, verbose=0), np.load(expected), atol=1e-6)


def test_damage_is_named_or_does_no_harm(trained, kept):
    """A bit anywhere: most are found, the others (such as the file's date) change nothing."""
    content, random = kept.read_bytes(), np.random.default_rng(0)
    expected, num_found = predict(trained, IMAGES[:4]), 0
    directory = content.rindex(b"PK\x01\x02")
    places = [*random.integers(0, len(content), 60), *range(directory, len(content), 7)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.integers(8)
        kept.write_bytes(damaged)
        try:
            network, _ = load_network(kept)
        except ValueError as error:
            assert str(kept) in str(error) and "Try: " in str(error)
            num_found += 1
        else:
            np.testing.assert_array_equal(predict(network, IMAGES[:4]), expected)
    assert num_found > len(places) / 2


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_file_that_was_cut_off_is_named(kept, share):
    content = kept.read_bytes()
    kept.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="fold1_seed0.keras is damaged"):
        load_network(kept)


def test_missing_foreign_and_newer_files_are_named(tmp_path, trained, kept):
    with pytest.raises(ValueError, match="nothing.keras is not there. Expected.*Try: python"):
        load_network(tmp_path / "nothing.keras")
    foreign = tmp_path / "foreign.keras"
    trained.save(foreign)
    with pytest.raises(ValueError, match="foreign.keras is not a network.*Received: none"):
        load_network(foreign)
    pickled = tmp_path / "pickled.keras"
    pickled.write_bytes(pickle.dumps(print))
    with pytest.raises(ValueError, match="pickled.keras is damaged"):
        load_network(pickled)
    newer = tmp_path / "newer.keras"
    trained.save(newer)
    with zipfile.ZipFile(newer, "a") as archive:
        archive.writestr(FACTS, json.dumps({"schema": 2}))
    with pytest.raises(ValueError, match="schema 1 in it. Received: another"):
        load_network(newer)


def test_code_in_a_file_is_refused(tmp_path):
    """Keras's safe mode: a Lambda layer holds pickled code."""
    inputs = keras.Input((96, 96, 3))
    network = keras.Model(inputs, layers.Lambda(lambda x: x[:, 0, 0, :1])(inputs))
    save_network(tmp_path / "code.keras", network, OURS)
    with pytest.raises(ValueError, match="code.keras cannot be loaded"):
        load_network(tmp_path / "code.keras")


def test_a_failed_save_leaves_the_earlier_file(kept, trained):
    content = kept.read_bytes()
    with pytest.raises(TypeError):
        save_network(kept, trained, {"fold": object()})
    assert kept.read_bytes() == content
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
