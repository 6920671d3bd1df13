"""Folds: disjoint, complete, balanced, grouped, the same for the same seed."""

import numpy as np
import pytest
from conftest import write_rows
from pcam_kaggle.config import Config
from pcam_kaggle.folds import draw_images, load_slides, make_folds, make_stain_folds

LABELS = (np.random.default_rng(0).random(500) < 0.405).astype(int)
SLIDES = np.array([f"slide{i}" for i in np.random.default_rng(1).integers(0, 40, 500)])


@pytest.mark.parametrize("slides", [None, SLIDES])
def test_folds_are_complete_balanced_and_reproducible(slides):
    folds = make_folds(LABELS, 5, seed=3, slides=slides)
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]  # -1 would be an image left out
    for fold in range(5):
        share = LABELS[folds == fold].mean()
        assert abs(share - LABELS.mean()) < (0.01 if slides is None else 0.06)
    assert (folds == make_folds(LABELS, 5, seed=3, slides=slides)).all()
    assert (folds != make_folds(LABELS, 5, seed=4, slides=slides)).any()


def test_folds_never_share_a_slide():
    folds = make_folds(LABELS, 5, seed=0, slides=SLIDES)
    for slide in set(SLIDES):
        assert len(set(folds[slide == SLIDES])) == 1


@pytest.mark.parametrize(
    "labels, slides, message",
    [
        ([1, 0, 0, 0, 0], None, "only 1 positive images. Received: num_folds=2"),
        ([1, 1, 1, 0], None, "only 1 negative images"),
        ([1, 0] * 5, ["a"] * 10, "only 1 slides"),
        ([1, 1, 0, 0], ["a", "a", "b", "b"], "would hold only one label"),
    ],
)
def test_folds_that_cannot_be_are_refused(labels, slides, message):
    with pytest.raises(ValueError, match=message):
        make_folds(np.array(labels), 2, seed=0, slides=slides)


def test_a_draw_is_sorted_without_repeats_and_bounded():
    drawn = draw_images(100, 20, seed=0)
    assert len(set(drawn)) == 20 and (np.diff(drawn) > 0).all()
    assert (drawn == draw_images(100, 20, seed=0)).all()
    assert draw_images(100, 0, seed=0).tolist() == list(range(100))
    with pytest.raises(ValueError, match="only 100 training images. Received: num_im"):
        draw_images(100, 101, seed=0)


@pytest.mark.parametrize("column", ["slide", "wsi"])
def test_slides_come_in_the_order_of_the_ids(tmp_path, column):
    path = tmp_path / "map.csv"
    write_rows(path, [("a", "s1"), ("b", "s2"), ("c", "s1")], ("id", column))
    assert load_slides(path, ["c", "b"]).tolist() == ["s1", "s2"]


@pytest.mark.parametrize(
    "rows, header, message",
    [
        ([("a", "s1")], ("id", "slide"), "misses 1 ids. Received: b"),
        ([("a", "s"), ("a", "t"), ("b", "s")], ("id", "slide"), "names twice 1 ids"),
        ([("a", "s1")], ("patch", "slide"), "expected columns id,slide"),
    ],
)
def test_a_slide_map_that_does_not_serve_is_refused(tmp_path, rows, header, message):
    write_rows(tmp_path / "map.csv", rows, header)
    with pytest.raises(ValueError, match=message):
        load_slides(tmp_path / "map.csv", ["a", "b"])


def test_a_slide_map_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        load_slides(tmp_path / "nowhere.csv", ["a"])


def make_stained(count=60):
    """Pink and violet noise in turn, brighter where the label is 1."""
    random = np.random.default_rng(0)
    colours = np.array([[230, 150, 190], [120, 80, 170]])
    images = colours[np.arange(count) % 3 // 2][:, None, None]
    images = images + random.integers(-40, 25, (count, 96, 96, 3))
    return np.clip(images, 0, 255).astype("uint8"), np.arange(count) // 3 % 2


def test_a_stain_is_held_out_whole():
    images, labels = make_stained()
    folds = make_stain_folds(images, labels)
    assert folds.tolist() == [0, 0, 1] * 20  # the larger cluster first
    assert (make_stain_folds(images, labels) == folds).all()


def test_slides_are_of_one_stain_even_where_patches_differ():
    images, labels = make_stained()
    slides = np.where(np.arange(60) % 3 == 2, "violet", "pink")
    slides[:6] = "pink"  # two violet patches among them
    folds = make_stain_folds(images, labels, slides)
    assert (folds == (slides == "violet")).all()


def test_a_stain_of_one_label_is_refused():
    images, _ = make_stained()
    with pytest.raises(ValueError, match="both labels in both colours of stain"):
        make_stain_folds(images, (np.arange(60) % 3 == 2).astype(int))
    with pytest.raises(ValueError, match="two colours of stain; use num_folds=2"):
        Config(split="stain")
