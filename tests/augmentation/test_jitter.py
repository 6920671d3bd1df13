"""Jitter: stains by the book, one draw per patch, nothing outside of training."""

import dataclasses
import io

import numpy as np
import pytest
from keras import ops
from PIL import Image

from pcam_kaggle.augmentation.jitter import HED_TO_DENSITY, Jitter, change_stain, translate
from pcam_kaggle.augmentation.settings import AugmentationSettings


@pytest.fixture(scope="module")
def patches(genuine):
    """Twelve real patches: float32 (12, 96, 96, 3)."""
    images = [Image.open(io.BytesIO(content)) for _, content, _ in genuine[:12]]
    return np.stack([np.asarray(image) for image in images]).astype("float32")


def jitter(images, seed=1, training=True, **strengths):
    layer = Jitter(AugmentationSettings(**strengths), seed)
    return np.asarray(layer(images, training=training))


def test_scale_one_and_shift_zero_change_nothing(patches):
    ones, zeros = np.ones((12, 3), "float32"), np.zeros((12, 3), "float32")
    assert np.allclose(change_stain(patches, ones, zeros), patches, atol=0.01)


def test_more_of_a_stain_is_more_of_its_color():
    """Pure stains of known amounts, changed in amount, have the color that follows."""
    amounts = np.array([[0.5, 0.3, 0.2], [1.0, 0.1, 0.0]], "float32")
    scale = np.array([[1.2, 0.7, 1.0], [0.5, 1.0, 1.0]], "float32")
    shift = np.array([[0.0, 0.1, 0.0], [0.05, 0.0, 0.1]], "float32")

    def color(amounts):
        pixels = 256 * np.exp(-(amounts @ HED_TO_DENSITY)) - 1
        return np.broadcast_to(pixels[:, None, None], (2, 4, 4, 3))

    changed = change_stain(color(amounts), scale, shift)
    assert np.allclose(changed, color(amounts * scale + shift), atol=0.01)


@pytest.mark.parametrize(
    "strengths", [{"stain_jitter": 0.1}, {"brightness": 0.2}, {"contrast": 0.3}, {"translation": 4}]
)
def test_each_patch_has_its_own_draw_within_the_range(patches, strengths):
    same = np.repeat(patches[:1], 12, axis=0)
    changed = jitter(same, **strengths)
    assert changed.min() >= 0 and changed.max() <= 255
    assert len({image.tobytes() for image in changed}) >= 8
    assert changed.shape == same.shape and changed.dtype == "float32"


def test_brightness_and_contrast_stay_within_their_strengths():
    gray = np.full((200, 4, 4, 3), 120, "float32")
    gray[:, :2] = 130
    shifts = jitter(gray, brightness=0.1).mean(axis=(1, 2, 3)) - 125
    assert 20 < np.abs(shifts).max() <= 25.5 and shifts.min() < 0 < shifts.max()
    ranges = np.ptp(jitter(gray, contrast=0.5), axis=(1, 2, 3))
    assert 5 <= ranges.min() < 7 and 13 < ranges.max() <= 15


def test_translation_moves_pixels_and_repeats_the_border():
    image = np.arange(25, dtype="float32").reshape(1, 5, 5, 1)
    shifts = np.array([[1, -2]])
    expected = np.pad(image, ((0, 0), (1, 0), (0, 2), (0, 0)), mode="edge")
    moved = translate(image, ops.convert_to_tensor(shifts))
    assert (np.asarray(moved) == expected[:, :5, 2:]).all()


def test_nothing_changes_outside_of_training_or_without_strength(patches):
    strengths = {"stain_jitter": 0.2, "brightness": 0.2, "contrast": 0.2, "translation": 4}
    assert (jitter(patches, training=False, **strengths) == patches).all()
    assert (jitter(patches) == patches).all()
    assert (jitter(patches, **strengths) != patches).any()


def test_every_strength_of_the_settings_is_heeded(patches):
    names = [field.name for field in dataclasses.fields(AugmentationSettings)]
    assert names == ["augmentation", "stain_jitter", "brightness", "contrast", "translation"]
    for name in names[1:]:
        strength = 4 if name == "translation" else 0.2
        assert (jitter(patches, **{name: strength}) != patches).any(), name


def test_black_and_white_images_stay_finite():
    images = np.stack([np.zeros((8, 8, 3)), np.full((8, 8, 3), 255)]).astype("float32")
    changed = jitter(images, stain_jitter=0.5, contrast=0.5, brightness=0.5)
    assert np.isfinite(changed).all()


def test_a_seed_draws_the_same_again_and_another_something_else(patches):
    strengths = {"stain_jitter": 0.1, "translation": 2}
    assert (jitter(patches, **strengths) == jitter(patches, **strengths)).all()
    assert (jitter(patches, **strengths) != jitter(patches, seed=2, **strengths)).any()
