"""What cleaning leaves out of every fold, and a fold that it would empty."""

import types

import numpy as np
import pandas as pd
import pytest

from pcam_kaggle.analysis.cleaning import clean_folds
from pcam_kaggle.analysis.patches import measure_patches
from pcam_kaggle.data.settings import FoldSettings

LABELS = np.arange(12) % 2
FOLDS = np.arange(12) // 2 % 2
IDS = [f"id{n:02}" for n in range(12)]


@pytest.fixture
def images():
    """Noise that no two patches share, a black patch, and a copy with the same label."""
    coarse = np.random.default_rng(0).integers(0, 180, (12, 12, 12, 3), np.uint8)
    made = coarse.repeat(8, axis=1).repeat(8, axis=2)
    made[4] = 0
    made[7] = made[3]
    return made


def make_run(**folds):
    """What cleaning reads of a run."""
    table = pd.DataFrame({"id": IDS, "label": LABELS})
    return types.SimpleNamespace(
        competition=types.SimpleNamespace(train=table),
        settings=types.SimpleNamespace(folds=FoldSettings(num_folds=2, **folds)),
    )


def test_without_a_kind_the_folds_stay(images):
    folds, cleaned = clean_folds((), FOLDS, images, make_run())
    assert folds is FOLDS and cleaned == {}


@pytest.mark.parametrize(
    "kinds, positions",
    [(("blank",), [4]), (("duplicates",), [7]), (("blank", "duplicates"), [4, 7])],
)
def test_what_is_left_out_is_in_no_fold_and_listed(images, kinds, positions, capsys):
    folds, cleaned = clean_folds(kinds, FOLDS, images, make_run())
    assert np.flatnonzero(folds == -1).tolist() == positions
    kept = folds >= 0
    assert (folds[kept] == FOLDS[kept]).all() and (FOLDS >= 0).all()
    assert list(cleaned) == list(kinds)
    assert sorted(sum(cleaned.values(), [])) == [IDS[n] for n in positions]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"cleaned  {kind}: 1 training patches left out" for kind in kinds]


def test_copies_whose_labels_contradict_are_both_left_out(images):
    images[8] = images[3]
    folds, cleaned = clean_folds(("duplicates",), FOLDS, images, make_run())
    assert cleaned["duplicates"] == ["id03", "id07", "id08"]
    assert np.flatnonzero(folds == -1).tolist() == [3, 7, 8]


def test_measurements_that_are_there_are_used(images):
    measured = measure_patches(images)
    measured.loc[5, "blank"] = "white"
    _, cleaned = clean_folds(("blank",), FOLDS, images, make_run(), measured)
    assert cleaned == {"blank": ["id04", "id05"]}


def test_a_fold_that_would_lose_a_label_is_refused_by_name(images):
    images[(FOLDS == 1) & (LABELS == 1)] = 255
    message = "both labels in every fold. Received: fold 1 with 3 patches left, 0 of them tumor"
    with pytest.raises(ValueError, match=message):
        clean_folds(("blank",), FOLDS, images, make_run())
    folds, _ = clean_folds(("blank",), FOLDS, images, make_run(folds=(0,)))  # not trained
    assert (folds == 1).sum() == 3
