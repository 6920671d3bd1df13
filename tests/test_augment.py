"""Augmentation: the seed's own warp, exact views, one draw per image."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.legacy.preprocessing.image import apply_affine_transform
from pcam_kaggle.augment import AFFINE, Augment, random_affine, test_time_views, warp
from PIL import Image

test_time_views.__test__ = False  # a function of the package, not a test


@pytest.fixture(scope="module")
def patches(genuine):
    """Twelve real patches: uint8 (12, 96, 96, 3)."""
    import io

    images = [Image.open(io.BytesIO(content)) for _, content, _ in genuine[:12]]
    return np.stack([np.asarray(image) for image in images])


def eight_views(image):
    """The eight views of one image, by numpy."""
    turned = [np.rot90(image, k) for k in range(4)]
    return turned + [np.flip(view, axis=1) for view in turned]


def is_among(view, views):
    return any((view == other).all() for other in views)


def test_the_warp_is_that_of_the_seeds_generator(patches):
    random = np.random.default_rng(0)
    n = len(patches)
    angle, shear = random.uniform(-90, 90, n), random.uniform(-20, 20, n)
    (tx, ty), (zx, zy) = (
        random.uniform(-9.6, 9.6, (2, n)),
        random.uniform(0.8, 1.2, (2, n)),
    )
    expected = [
        apply_affine_transform(
            patches[i].astype("float32"),
            *(angle[i], tx[i], ty[i], shear[i], zx[i], zy[i]),
            row_axis=0,
            col_axis=1,
            channel_axis=2,
            fill_mode="nearest",
        )
        for i in range(n)
    ]

    def tensor(values):
        return ops.convert_to_tensor(values, "float32")

    warped = warp(
        tensor(patches),
        angle=tensor(np.deg2rad(angle)),
        shift=(tensor(tx), tensor(ty)),
        shear=tensor(np.deg2rad(shear)),
        zoom=(tensor(zx), tensor(zy)),
    )
    assert np.abs(ops.convert_to_numpy(warped) - np.stack(expected)).max() < 0.02


def test_a_negative_zoom_mirrors_the_warped_image(patches):
    ones = np.ones(len(patches), "float32")

    def turn(zoom_x, zoom_y):
        zoom = (zoom_x * ones, zoom_y * ones)
        shift = (3 * ones, -7 * ones)
        pixels = patches.astype("float32")
        return np.asarray(warp(pixels, 0.4 * ones, shift, 0.1 * ones, zoom))

    plain = turn(0.9, 1.1)
    assert np.abs(turn(-0.9, 1.1) - plain[:, :, ::-1]).max() < 0.02
    assert np.abs(turn(0.9, -1.1) - plain[:, ::-1]).max() < 0.02


def test_affine_mirrors_each_way_by_a_coin(patches, monkeypatch):
    for name in AFFINE:
        monkeypatch.setitem(AFFINE, name, 0.0)
    same = np.repeat(patches[:1], 100, axis=0).astype("float32")
    views = ops.convert_to_numpy(random_affine(same, keras.random.SeedGenerator(1)))
    image = same[0]
    flipped = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
    counts = [
        sum(np.abs(view - other).max() < 0.02 for view in views) for other in flipped
    ]
    assert sum(counts) == 100 and min(counts) > 10


def test_affine_has_the_seeds_ranges_and_draws_per_image(patches):
    assert AFFINE == {
        "rotation_range": 90.0,
        "zoom_range": 0.2,
        "shift_range": 0.1,
        "shear_range": 0.05,
        "channel_shift_range": 0.1,
    }
    same = np.repeat(patches[:1], 20, axis=0).astype("float32")
    views = ops.convert_to_numpy(random_affine(same, keras.random.SeedGenerator(0)))
    assert len({view.tobytes() for view in views}) == 20
    assert views.min() >= same.min() and views.max() <= same.max()


@pytest.mark.parametrize("policy, num_views", [("flip", 4), ("dihedral", 8)])
def test_exact_policies_draw_exact_views_each_image_its_own(patches, policy, num_views):
    same = np.repeat(patches[:1], 200, axis=0)
    drawn = ops.convert_to_numpy(Augment(policy, seed=0)(same, training=True))
    assert drawn.dtype == np.float32
    counts = {}
    for view in drawn:
        counts[view.tobytes()] = counts.get(view.tobytes(), 0) + 1
        assert is_among(view, eight_views(patches[0]))
    assert len(counts) == num_views
    assert min(counts.values()) > 200 / num_views / 3


@pytest.mark.parametrize("policy", ["none", "flip", "dihedral", "affine"])
def test_outside_of_training_pixels_stay(patches, policy):
    pixels = ops.convert_to_numpy(Augment(policy, seed=0)(patches, training=False))
    assert pixels.dtype == np.float32 and (pixels == patches).all()


@pytest.mark.parametrize("policy", ["flip", "dihedral", "affine"])
def test_a_seed_gives_its_views_again(patches, policy):
    def draw(seed):
        return ops.convert_to_numpy(Augment(policy, seed)(patches, training=True))

    assert (draw(1) == draw(1)).all() and (draw(1) != draw(2)).any()


def test_an_augment_layer_is_saved_with_its_settings():
    layer = Augment("dihedral", seed=5)
    copy = Augment.from_config(layer.get_config())
    assert (copy.policy, copy.seed) == ("dihedral", 5)


@pytest.mark.parametrize("tta, num_views", [("none", 1), ("flip", 4), ("dihedral", 8)])
def test_views_are_different_and_closed(patches, tta, num_views):
    views = [ops.convert_to_numpy(v)[0] for v in test_time_views(patches[:1], tta)]
    assert len({view.tobytes() for view in views}) == num_views
    for view in views:  # the views of a view are the same set: a group
        again = [ops.convert_to_numpy(v)[0] for v in test_time_views(view[None], tta)]
        assert all(is_among(other, views) for other in again)
        assert is_among(view, eight_views(patches[0]))
