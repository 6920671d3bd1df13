"""Groups of hue: the same patches in one group, and folds that hold one out."""

import numpy as np
import pandas as pd
import pytest

from pcam_kaggle.analysis.groups import group_slides, make_hue_folds, make_stain_folds
from pcam_kaggle.analysis.hospitals import find_hospitals
from pcam_kaggle.analysis.patches import measure_patches
from pcam_kaggle.analysis.stains import cluster_stains, measure_hue
from pcam_kaggle.data.folds import make_folds


def make_stained(count=60):
    """Two pink patches, then a violet one, and so on, with labels that alternate."""
    random = np.random.default_rng(0)
    colors = np.array([[230, 150, 190], [120, 80, 170]])
    images = colors[np.arange(count) % 3 // 2][:, None, None]
    images = images + random.integers(-40, 25, (count, 96, 96, 3))
    patches = measure_patches(np.clip(images, 0, 255).astype("uint8"))
    return patches, np.arange(count) // 3 % 2


def test_the_hue_is_that_of_the_stain_however_much_there_is():
    density = np.array([0.3, 0.8, 0.4])
    images = [np.exp(-k * density) * 256 - 1 for k in (0.5, 1, 2)]
    images = np.stack([np.full((96, 96, 3), np.round(color)) for color in images])
    hue = measure_hue(measure_patches(images.astype("uint8")))
    assert hue == pytest.approx(np.tile([0.375, 0.5], (3, 1)), abs=0.02)


def test_the_largest_cluster_is_the_first_and_blank_patches_are_in_none():
    patches, _ = make_stained()
    patches.loc[:2, "blank"] = "white"
    assert cluster_stains(patches).tolist() == [-1] * 3 + [0, 0, 1] * 19
    assert cluster_stains(patches[:4]).tolist() == [-1, -1, -1, 0]


def test_a_fold_holds_out_a_whole_stain():
    patches, labels = make_stained()
    folds = make_stain_folds(patches, labels)
    assert folds.tolist() == [0, 0, 1] * 20  # the larger cluster first
    assert (make_stain_folds(patches, labels) == folds).all()


def test_blank_patches_are_no_color_of_stain():
    patches, labels = make_stained()
    patches.loc[:2, "blank"] = ["white", "black", "near-empty"]
    patches.loc[:2, ["red", "green", "blue"]] = [[0.0] * 3, [5.5] * 3, [0.03, 0.001, 0.02]]
    folds = make_stain_folds(patches, labels)
    assert folds.tolist() == [0] * 3 + [0, 0, 1] * 19
    slides = np.where(np.arange(60) % 3 == 2, "violet", "pink")
    assert (make_stain_folds(patches, labels, slides) == (slides == "violet")).all()


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("color", [(255, 255, 255), (255, 255, 210), (250, 250, 210)])
def test_white_patches_change_no_group_of_hue(color, count):
    """Their density of green is 0 or nearly so; they are not all called blank."""
    patches, labels = make_stained()
    white = measure_patches(np.full((count, 96, 96, 3), color, "uint8"))
    patches = pd.concat([patches, white], ignore_index=True)
    labels = np.append(labels, np.arange(count) % 2)
    with np.errstate(all="raise"):
        folds = make_stain_folds(patches, labels)
        stains = cluster_stains(patches)
    assert folds.tolist() == [0, 0, 1] * 20 + [0] * count
    assert stains.tolist() == [0, 0, 1] * 20 + [-1] * count


def test_a_group_of_few_patches_is_refused():
    patches, labels = make_stained(150)
    kept = np.flatnonzero((np.arange(150) % 3 < 2) | (np.arange(150) < 15))  # 5 violet of 105
    with pytest.raises(ValueError) as error:
        make_stain_folds(patches.iloc[kept].reset_index(drop=True), labels[kept])
    assert "5% of all patches, in both groups of hue. Received: [50, 50] and [3, 2] " in str(
        error.value
    )
    assert "Try: split=auto" in str(error.value)


def test_a_slide_has_one_stain_even_where_its_patches_differ():
    patches, labels = make_stained()
    slides = np.where(np.arange(60) % 3 == 2, "violet", "pink")
    slides[:6] = "pink"  # two violet patches among them
    folds = make_stain_folds(patches, labels, slides)
    assert (folds == (slides == "violet")).all()


def test_a_stain_with_one_label_is_refused():
    patches, _ = make_stained()
    with pytest.raises(
        ValueError, match="both labels, and 5% of all patches, in both groups of hue"
    ):
        make_stain_folds(patches, (np.arange(60) % 3 == 2).astype(int))


def test_patches_that_are_all_blank_have_no_folds_of_stain():
    patches, labels = make_stained()
    patches["blank"] = "white"
    with pytest.raises(
        ValueError, match="both labels, and 5% of all patches, in both groups of hue"
    ):
        make_stain_folds(patches, labels)


def test_two_folds_of_hue_are_the_two_groups():
    patches, labels = make_stained()
    folds = make_hue_folds(patches, labels, 2, seed=0)
    assert (folds == make_stain_folds(patches, labels)).all()


def test_more_folds_of_hue_share_no_group_and_no_slide():
    random = np.random.default_rng(0)
    colors = random.integers(90, 200, (40, 1, 3)) * [1.0, 0.8, 0.9]
    colors = np.repeat(colors, 6, axis=1).reshape(-1, 1, 1, 3)  # six patches of a slide
    images = np.clip(colors + random.normal(0, 20, (240, 96, 96, 3)), 0, 255)
    patches, labels = measure_patches(images.astype("uint8")), np.arange(240) % 2
    slides = np.array([f"slide{n // 6}" for n in range(240)])
    patches.loc[:5, "blank"] = "white"  # a slide without a hue
    folds = make_hue_folds(patches, labels, 5, seed=0, slides=slides)
    assert set(folds) == set(range(5))
    assert (pd.Series(folds).groupby(slides).nunique() == 1).all()
    hues = pd.DataFrame(measure_hue(patches)).groupby(slides).transform("mean")
    means = hues[6:].groupby(folds[6:]).mean()
    apart = make_folds(labels, 5, seed=0, slides=slides)
    shuffled = hues[6:].groupby(apart[6:]).mean()
    assert (means.std() > shuffled.std()).all()
    assert (make_hue_folds(patches, labels, 5, seed=0) >= 0).all()


def test_a_hospital_is_read_from_the_name_of_a_slide():
    slides = ["train_normal_001", "train_normal_100", "train_normal_101", "train_tumor_070"]
    slides += ["train_tumor_071", "train_tumor_111", "test_071", "tumor_1", ""]
    found = find_hospitals([f"camelyon16_{name}" for name in slides])
    first, second = "Radboud UMC", "UMC Utrecht"
    assert found.tolist() == [first, first, second, first, second, second, "", "", ""]


def test_folds_of_hospitals_hold_one_out_or_name_the_other_slides():
    slides = np.array([f"camelyon16_train_normal_{n:03}" for n in (99, 100, 101, 102)] * 4)
    labels = np.arange(16) // 4 % 2
    groups = group_slides("hospital", slides)
    folds = make_folds(labels, 2, seed=0, slides=groups)
    assert (pd.Series(groups).groupby(folds).nunique() == 1).all() and set(folds) == {0, 1}
    assert group_slides("auto", slides) is slides and group_slides("hue", None) is None
    slides[3] = "elsewhere"
    with pytest.raises(ValueError, match=r"Received: 1 other name\s+elsewhere\nTry: split=auto"):
        group_slides("hospital", slides)
    with pytest.raises(ValueError, match="Received: no map"):
        group_slides("hospital", None)
