"""The course notebook's augmentation: its own warp and ranges, one draw per patch."""

import io

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.legacy.preprocessing.image import apply_affine_transform
from PIL import Image

from pcam_kaggle.augmentation.affine import (
    AFFINE,
    RandomAffine,
    augment_course,
    random_affine,
    warp,
)
from pcam_kaggle.augmentation.affine_settings import CourseAugmentationSettings
from pcam_kaggle.augmentation.flips import RandomViews


@pytest.fixture(scope="module")
def patches(genuine):
    """Twelve real patches: uint8 (12, 96, 96, 3)."""
    images = [Image.open(io.BytesIO(content)) for _, content, _ in genuine[:12]]
    return np.stack([np.asarray(image) for image in images])


def test_the_warp_is_that_of_the_notebook_s_generator(patches):
    random = np.random.default_rng(0)
    n = len(patches)
    angle, shear = random.uniform(-90, 90, n), random.uniform(-20, 20, n)
    (tx, ty), (zx, zy) = random.uniform(-9.6, 9.6, (2, n)), random.uniform(0.8, 1.2, (2, n))
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


def test_it_mirrors_each_way_by_a_coin(patches, monkeypatch):
    for name in AFFINE:
        monkeypatch.setitem(AFFINE, name, 0.0)
    same = np.repeat(patches[:1], 100, axis=0).astype("float32")
    views = ops.convert_to_numpy(random_affine(same, keras.random.SeedGenerator(1)))
    image = same[0]
    flipped = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
    counts = [sum(np.abs(view - other).max() < 0.02 for view in views) for other in flipped]
    assert sum(counts) == 100 and min(counts) > 10


def test_it_has_the_notebook_s_ranges_and_draws_per_patch(patches):
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


def test_outside_of_training_pixels_stay(patches):
    pixels = ops.convert_to_numpy(RandomAffine(seed=0)(patches, training=False))
    assert pixels.dtype == np.float32 and (pixels == patches).all()


def test_a_seed_draws_the_same_views_again(patches):
    def draw(seed):
        return ops.convert_to_numpy(RandomAffine(seed)(patches, training=True))

    assert (draw(1) == draw(1)).all() and (draw(1) != draw(2)).any()


@pytest.mark.parametrize("policy", ["affine", "dihedral"])
def test_the_policy_chooses_the_notebook_s_views_or_exact_ones(patches, policy):
    settings = CourseAugmentationSettings(augmentation=policy)
    views = ops.convert_to_numpy(augment_course(patches, settings, seed=3))
    assert (views == patches).all()  # a layer outside of training
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    model = keras.Model(inputs, augment_course(inputs, settings, seed=3))
    layer = RandomAffine(3) if policy == "affine" else RandomViews(policy, 3)
    expected = layer(patches, training=True)
    assert np.abs(model(patches, training=True) - expected).max() < 0.02
