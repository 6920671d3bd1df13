"""Exact views: those of the square, one draw per patch, nothing outside of training."""

import io

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from pcam_kaggle.augmentation.flips import RandomViews, augment_patches
from pcam_kaggle.augmentation.jitter import Jitter
from pcam_kaggle.augmentation.settings import AugmentationSettings


@pytest.fixture(scope="module")
def patches(genuine):
    """Twelve real patches: uint8 (12, 96, 96, 3)."""
    images = [Image.open(io.BytesIO(content)) for _, content, _ in genuine[:12]]
    return np.stack([np.asarray(image) for image in images])


def eight_views(image):
    """The eight views of one image, by numpy."""
    turned = [np.rot90(image, k) for k in range(4)]
    return turned + [np.flip(view, axis=1) for view in turned]


@pytest.mark.parametrize("policy, num_views", [("flip", 4), ("dihedral", 8)])
def test_each_patch_has_a_view_of_its_own_and_all_are_as_likely(patches, policy, num_views):
    same = np.repeat(patches[:1], 200, axis=0)
    drawn = ops.convert_to_numpy(RandomViews(policy, seed=0)(same, training=True))
    assert drawn.dtype == np.float32
    known = {view.astype("float32").tobytes() for view in eight_views(patches[0])}
    counts = {}
    for view in drawn:
        counts[view.tobytes()] = counts.get(view.tobytes(), 0) + 1
    assert set(counts) <= known and len(counts) == num_views
    assert min(counts.values()) > 200 / num_views / 3


@pytest.mark.parametrize("policy", ["none", "flip", "dihedral"])
def test_outside_of_training_pixels_stay(patches, policy):
    pixels = ops.convert_to_numpy(RandomViews(policy, seed=0)(patches, training=False))
    assert pixels.dtype == np.float32 and (pixels == patches).all()


def test_the_policy_none_changes_nothing_in_training_either(patches):
    pixels = ops.convert_to_numpy(RandomViews("none", seed=0)(patches, training=True))
    assert pixels.dtype == np.float32 and (pixels == patches).all()


@pytest.mark.parametrize("policy", ["flip", "dihedral"])
def test_a_seed_draws_the_same_views_again(patches, policy):
    def draw(seed):
        return ops.convert_to_numpy(RandomViews(policy, seed)(patches, training=True))

    assert (draw(1) == draw(1)).all() and (draw(1) != draw(2)).any()


def test_augmented_patches_are_views_and_then_colors(patches):
    settings = AugmentationSettings(augmentation="flip", brightness=0.2)
    layers = RandomViews("flip", seed=4), Jitter(settings, seed=5)
    expected = layers[1](layers[0](patches, training=True), training=True)
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    model = keras.Model(inputs, augment_patches(inputs, settings, seed=4))
    assert np.allclose(model(patches, training=True), expected, atol=1e-3)
    assert (ops.convert_to_numpy(model(patches, training=False)) == patches).all()
