"""A large image stitched from real patches: its tiles, its map, its picture."""

import contextlib
import hashlib
import io
import os

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from pcam_kaggle.data import tiles
from pcam_kaggle.inference.networks import save_network
from pcam_kaggle.methods import predict_kept
from pcam_kaggle.methods import predict_tiles as program
from pcam_kaggle.methods.predict_tiles import TilesRequest, predict_tiles

SIDE = 8  # patches; the last of them is glass


@pytest.fixture(scope="module")
def patches(genuine):
    """63 real patches and their labels."""
    chosen = genuine[: SIDE * SIDE - 1]
    pixels = [np.asarray(Image.open(io.BytesIO(content))) for _, content, _ in chosen]
    return np.stack(pixels), np.array([label for *_, label in chosen])


@pytest.fixture(scope="module")
def networks(tmp_path_factory, patches):
    """A network that has learned these patches by heart, and one that is half as sure."""
    folder, digests = tmp_path_factory.mktemp("run"), {}
    pixels, labels = patches
    inputs = keras.Input((96, 96, 3))
    means = keras.layers.Flatten()(keras.layers.AveragePooling2D(16)(inputs) / 255)
    features = keras.Model(inputs, means).predict(pixels, verbose=0)
    weights = np.linalg.lstsq(features, 4.0 * labels - 2, rcond=None)[0][:, None]
    for fold in range(2):
        network = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(means))
        network.layers[-1].set_weights([weights / (fold + 1), np.zeros(1)])
        path = folder / f"fold{fold}_seed{fold}.keras"
        facts = {"fingerprint": "mine", "fold": fold, "seed": fold, "tta": "none"}
        save_network(path, network, {**facts, "settings": {}, "backbone": None})
        digests[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


@pytest.fixture
def image(patches, tmp_path):
    """The patches side by side."""
    glass = np.full((1, 96, 96, 3), 240, np.uint8)
    rows = np.concatenate([patches[0], glass]).reshape(SIDE, SIDE, 96, 96, 3)
    pixels = rows.transpose(0, 2, 1, 3, 4).reshape(SIDE * 96, SIDE * 96, 3)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def make_request(networks, image, name="tiles.csv", mpp=0.97):
    rest = {"fingerprint": "mine", "tta": None, "average": "mean", "maps": None}
    out = image.parent / name
    return TilesRequest(networks=networks, source=str(image), out=str(out), mpp=mpp, **rest)


@contextlib.contextmanager
def full_disk(limit, monkeypatch):
    """Let no file become larger, once the networks are loaded."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def predict_chunk(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        return predict_kept.predict_chunk(*args)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(program, "predict_chunk", predict_chunk)
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def read_map(folder, name="tiles-map.tif"):
    with Image.open(folder / name) as image:
        return np.asarray(image), image.info, image.tag_v2[tiles.DESCRIPTION]


def test_tiles_on_patches_rank_as_their_labels_do(networks, image, patches):
    pixels, labels = patches
    num_tiles, num_glass = predict_tiles(make_request(networks, image))
    table = pd.read_csv(image.parent / "tiles.csv")
    values, info, description = read_map(image.parent)
    assert list(table) == ["x", "y", "probability", "spread"] and values.dtype == np.float32
    assert num_tiles == len(table) == values.size == (3 * SIDE) ** 2
    assert num_glass == table["probability"].isna().sum() == np.isnan(values).sum()
    np.testing.assert_array_equal(values.ravel(), table["probability"].astype("float32"))
    assert (table["x"][5], table["y"][3 * SIDE]) == (160, 32)

    centers = values[1::3, 1::3].ravel()
    assert np.isnan(centers[-1])
    has_tissue = np.isfinite(centers[:-1])
    assert has_tissue.sum() > 55
    assert roc_auc_score(labels[has_tissue], centers[:-1][has_tissue]) > 0.999
    alone = [keras.saving.load_model(path).predict(pixels, verbose=0)[:, 0] for path in networks]
    expected = np.mean(alone, axis=0)[has_tissue]
    np.testing.assert_allclose(centers[:-1][has_tissue], expected, atol=1e-6)
    spread = table["spread"].to_numpy().reshape(values.shape)[1::3, 1::3].ravel()[:-1]
    np.testing.assert_allclose(spread[has_tissue], np.std(alone, axis=0)[has_tissue], atol=1e-6)

    np.testing.assert_allclose(info["dpi"], 25_400 / (32 * 0.97), rtol=1e-4)
    assert "NaN is glass" in description and "research use only" in description
    with Image.open(image.parent / "tiles-map.png") as picture:
        assert picture.width == 1_280
    assert len(list(image.parent.iterdir())) == 4


def test_a_scale_gives_the_map_of_the_image_at_pcams_scale(networks, image):
    half = image.with_name("half.png")
    Image.open(image).reduce(2).save(half)
    predict_tiles(make_request(networks, half, "half.csv"))
    predict_tiles(make_request(networks, image, mpp=0.485))
    np.testing.assert_allclose(
        read_map(image.parent)[0], read_map(image.parent, "half-map.tif")[0], atol=0.02
    )
    first, second = (pd.read_csv(image.with_name(f"{name}.csv")) for name in ("half", "tiles"))
    np.testing.assert_array_equal(second[["x", "y"]], 2 * first[["x", "y"]])


def test_a_stopped_command_continues_with_whole_rows(networks, image, monkeypatch):
    monkeypatch.setattr(tiles, "TILES_PER_BLOCK", 48)
    request = make_request(networks, image)
    expected = predict_tiles(request)
    names = ("tiles.csv", "tiles-map.tif", "tiles-map.png")
    contents = [(image.parent / name).read_bytes() for name in names]
    with pytest.raises(ValueError, match="tiles.csv is there already. Expected: a new file"):
        predict_tiles(request)
    (image.parent / "tiles.csv").unlink()
    with pytest.raises(ValueError, match="tiles-map.tif is there already"):
        predict_tiles(request)
    for name in names[1:]:
        (image.parent / name).unlink()

    calls = iter(range(4))

    def cut_three(*args):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return tiles.cut_block(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(program, "cut_block", cut_three)
        predict_tiles(request)
    part = image.parent / "tiles.csv.part"
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:-5]) + lines[-5][:7])  # as a kill leaves it
    (image.parent / "tiles-map.tif").write_bytes(b"of a call that was killed at its end")
    with pytest.raises(ValueError, match="tiles.csv.part has rows of another run"):
        predict_tiles(make_request(networks, image, mpp=1.0))
    said, num_done = [], 139
    for limit in (part.stat().st_size + 1_000, 60_000) if os.name != "nt" else ():
        message = r"cannot write .*tiles.*; finished (rows are|work is) kept. .*free up disk space"
        with full_disk(limit, monkeypatch), pytest.raises(OSError, match=message):
            predict_tiles(request, said.append)
        assert said.pop() == f"{num_done} of 576 tiles were finished before" and not said
        num_done = part.read_bytes().count(b"\n") - 2
    assert predict_tiles(request, said.append) == expected
    assert said == [f"{num_done} of 576 tiles were finished before"]
    assert [(image.parent / name).read_bytes() for name in names] == contents
    assert not part.exists()


def test_glass_is_not_predicted(image):
    """White, warm and gray."""
    colors = ((240, 238, 242), (236, 231, 221), (170, 172, 168))
    glass = [Image.new("RGB", (64, 96), color) for color in colors]
    Image.fromarray(np.concatenate(glass, axis=1)).save(image)
    assert predict_tiles(make_request({"no network is read": ""}, image)) == (18, 18)
    assert np.isnan(read_map(image.parent)[0]).all()
    assert pd.read_csv(image.parent / "tiles.csv")["probability"].isna().all()
