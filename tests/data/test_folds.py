"""Folds: disjoint, complete, balanced, grouped, the same for the same seed."""

import numpy as np
import pytest

from pcam_kaggle.data.folds import make_folds, split_fold

LABELS = (np.random.default_rng(0).random(500) < 0.405).astype(int)
SLIDES = np.array([f"slide{i}" for i in np.random.default_rng(1).integers(0, 40, 500)])


@pytest.mark.parametrize("slides", [None, SLIDES], ids=["patches", "slides"])
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
        ([1, 0, 0, 0, 0], None, "than positive images \\(1\\). Received: num_folds=2"),
        ([1, 1, 1, 0], None, "than negative images \\(1\\)"),
        ([1, 0] * 5, ["a"] * 10, "than slides or groups \\(1\\)"),
        ([1, 1, 0, 0], ["a", "a", "b", "b"], "would hold only one label"),
    ],
)
def test_folds_that_cannot_be_are_refused(labels, slides, message):
    with pytest.raises(ValueError, match=message):
        make_folds(np.array(labels), 2, seed=0, slides=slides)


def test_a_split_holds_one_fold_out_and_leaves_cleaned_patches_in_neither_part():
    folds = np.array([0, 1, 2, -1, 1, 0, -1, 2])
    split = split_fold(folds, 1, seed=9, name="fold 1 seed 9")
    assert split.valid.tolist() == [1, 4]
    assert split.train.tolist() == [0, 2, 5, 7]
    assert (split.seed, split.name) == (9, "fold 1 seed 9")
