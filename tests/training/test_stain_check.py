"""What another stain would cost: each color scored on its own, a gap warned of."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from small_task import FOLDS, IMAGES, PATCHES, make_device, make_method, make_run

from pcam_kaggle.analysis.patches import measure_patches
from pcam_kaggle.system.records import Ensemble, Member
from pcam_kaggle.training.stain_check import check_stains, score_stains, warn_of_gap

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.random(2_000)
LABELS = (RANDOM.random(2_000) < TRUE).astype(int)
NOTHING = {"test": np.zeros(0), "history": pd.DataFrame(), "stages": {}}


def make_stains(missing=()):
    """A network per color, the second on another scale."""
    members = []
    for fold in (0, 1):
        positions = np.flatnonzero(np.arange(2_000) % 2 == fold)
        oof = TRUE[positions] + 100 * fold
        members.append(Member(fold, 0, positions, oof, oof, **NOTHING))
    return Ensemble(members[: 2 - len(missing)], list(missing))


def make_oof(auc):
    """Out-of-fold predictions with about that ROC AUC."""
    labels = np.arange(1_000) % 2
    unsure = np.arange(1_000) < 1_000 * np.sqrt(2 * (1 - auc))
    return pd.DataFrame({"label": labels, "prediction": np.where(unsure, 0.5, labels)})


def test_each_color_is_scored_on_its_own(capsys):
    stains = make_stains()
    scores = score_stains(stains, LABELS)
    assert list(scores) == ["0", "1", "mean"]
    for member in stains.members:
        expected = roc_auc_score(LABELS[member.positions], member.oof)
        assert scores[str(member.fold)] == expected > 0.8
    lines = [f"stain {fold} held out, AUC {scores[fold]:.4f}" for fold in ("0", "1")]
    assert capsys.readouterr().out.splitlines() == lines
    assert scores["mean"] == pytest.approx((scores["0"] + scores["1"]) / 2)


def test_one_color_alone_is_no_score():
    assert score_stains(make_stains(missing=["stain 1 seed 0"]), LABELS) is None


@pytest.mark.parametrize("stain_auc", [{"mean": 0.93}, {"mean": 0.99}, None])
def test_a_small_gap_is_no_warning(stain_auc):
    ensemble = Ensemble([], ["fold 1 seed 1"])
    checked = warn_of_gap(ensemble, make_stains(["stain 1 seed 0"]), make_oof(0.95), stain_auc)
    assert checked.warnings == ("warning: the stain check lacks stain 1 seed 0",)
    assert checked.missing == ["fold 1 seed 1"]


def test_a_gap_to_another_stain_is_warned_of():
    oof = make_oof(0.95)
    auc = roc_auc_score(oof["label"], oof["prediction"])
    assert auc == pytest.approx(0.95, abs=0.005)
    checked = warn_of_gap(Ensemble([], []), make_stains(), oof, {"mean": 0.90})
    (warning,) = checked.warnings
    assert f"{auc:.3f}" in warning and "0.900" in warning and "lower figure" in warning


def test_a_check_that_fails_is_a_warning(tmp_path, capsys):
    measured = measure_patches(IMAGES)  # of random pixels: blank patches have no hue
    ensemble, oof = Ensemble(["a member"], []), make_oof(0.95)
    task = (make_method(), PATCHES, measured.assign(blank="white"), FOLDS)
    checked, scores = check_stains(*task, make_run(tmp_path / "out"), make_device(), ensemble, oof)
    assert scores is None and checked.members == ["a member"] and checked.missing == []
    (warning,) = checked.warnings
    assert warning.startswith("warning: the stain check failed: ValueError: ")
    assert "Traceback" in capsys.readouterr().err
