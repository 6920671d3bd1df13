"""Jitter: stains by the book, one draw per image, nothing outside of training."""

import io

import numpy as np
import pytest
from keras import ops
from pcam_kaggle.jitter import HED_TO_DENSITY, Jitter, change_stain, translate
from PIL import Image

OFF = {"stain": 0.0, "brightness": 0.0, "contrast": 0.0, "translation": 0}


@pytest.fixture(scope="module")
def patches(genuine):
    """Twelve real patches: float32 (12, 96, 96, 3)."""
    images = [Image.open(io.BytesIO(content)) for _, content, _ in genuine[:12]]
    return np.stack([np.asarray(image) for image in images]).astype("float32")


def jitter(images, **strengths):
    return np.asarray(Jitter(**{**OFF, **strengths}, seed=1)(images, training=True))


def test_scale_one_and_shift_zero_change_nothing(patches):
    ones, zeros = np.ones((12, 3), "float32"), np.zeros((12, 3), "float32")
    assert np.allclose(change_stain(patches, ones, zeros), patches, atol=0.01)


def test_more_of_a_stain_is_more_of_its_colour(patches):
    """Pure stains of known amounts, changed in amount, have the colour that follows."""
    amounts = np.array([[0.5, 0.3, 0.2], [1.0, 0.1, 0.0]], "float32")
    scale = np.array([[1.2, 0.7, 1.0], [0.5, 1.0, 1.0]], "float32")
    shift = np.array([[0.0, 0.1, 0.0], [0.05, 0.0, 0.1]], "float32")

    def colour(amounts):
        pixels = 256 * np.exp(-(amounts @ HED_TO_DENSITY)) - 1
        return np.broadcast_to(pixels[:, None, None], (2, 4, 4, 3))

    changed = change_stain(colour(amounts), scale, shift)
    expected = colour(amounts * scale + shift)
    assert np.allclose(changed, expected, atol=0.01)


@pytest.mark.parametrize(
    "strengths",
    [{"stain": 0.1}, {"brightness": 0.2}, {"contrast": 0.3}, {"translation": 4}],
)
def test_each_image_has_its_own_draw_within_the_range(patches, strengths):
    same = np.repeat(patches[:1], 12, axis=0)
    changed = jitter(same, **strengths)
    assert changed.min() >= 0 and changed.max() <= 255
    different = {image.tobytes() for image in changed}
    assert len(different) >= 8
    assert changed.shape == same.shape and changed.dtype == "float32"


def test_brightness_and_contrast_stay_within_their_strengths():
    grey = np.full((200, 4, 4, 3), 120, "float32")
    grey[:, :2] = 130
    shifts = jitter(grey, brightness=0.1).mean(axis=(1, 2, 3)) - 125
    assert 20 < np.abs(shifts).max() <= 25.5 and shifts.min() < 0 < shifts.max()
    ranges = np.ptp(jitter(grey, contrast=0.5), axis=(1, 2, 3))
    assert 5 <= ranges.min() < 7 and 13 < ranges.max() <= 15


def test_translation_moves_pixels_and_repeats_the_border():
    image = np.arange(25, dtype="float32").reshape(1, 5, 5, 1)
    shifts = np.array([[1, -2]])
    expected = np.pad(image, ((0, 0), (1, 0), (0, 2), (0, 0)), mode="edge")
    moved = translate(image, ops.convert_to_tensor(shifts))
    assert (np.asarray(moved) == expected[:, :5, 2:]).all()


def test_nothing_changes_outside_of_training_or_without_strength(patches):
    layer = Jitter(0.2, 0.2, 0.2, 4, seed=1)
    assert (np.asarray(layer(patches, training=False)) == patches).all()
    assert (jitter(patches) == patches).all()


def test_black_and_white_images_stay_finite():
    images = np.stack([np.zeros((8, 8, 3)), np.full((8, 8, 3), 255)]).astype("float32")
    changed = jitter(images, stain=0.5, contrast=0.5, brightness=0.5)
    assert np.isfinite(changed).all()


def test_a_seed_gives_the_same_draws_and_the_layer_can_be_saved(patches):
    strengths = {"stain": 0.1, "translation": 2}
    assert (jitter(patches, **strengths) == jitter(patches, **strengths)).all()
    layer = Jitter(0.1, 0.2, 0.3, 4, seed=7)
    config = Jitter.from_config(layer.get_config()).get_config()
    assert config == layer.get_config() and config["translation"] == 4
