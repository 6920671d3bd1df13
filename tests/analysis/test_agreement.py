"""What seeds and views add: each scored over all folds, and how alike networks are."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.agreement import correlate_members, measure_seeds, score_one_view
from pcam_kaggle.system.records import Member

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.random(2_000)
LABELS = (RANDOM.random(2_000) < TRUE).astype(int)


def make_members(num_seeds):
    """Two folds of networks whose seeds differ in how well they predict."""
    folds = np.arange(2_000) % 2
    members = []
    for fold in (0, 1):
        positions = np.flatnonzero(folds == fold)
        for seed in range(num_seeds):
            noise = np.random.default_rng(seed).normal(0, 0.1 + seed, len(positions))
            oof = TRUE[positions] + noise
            test = np.random.default_rng(7).random(50) + 0.1 * seed * RANDOM.random(50)
            rest = {"history": pd.DataFrame(), "stages": {}, "oof_one_view": -oof, "test": test}
            members.append(Member(fold, seed, positions, oof, **rest))
    return members


def test_each_seed_is_scored_over_all_folds_with_their_spread():
    members = make_members(num_seeds=3)
    measured = measure_seeds(LABELS, members)
    assert len(measured["each"]) == 3
    assert measured["each"] == sorted(measured["each"], reverse=True)
    positions = np.concatenate([members[0].positions, members[3].positions])
    first = np.concatenate([members[0].oof, members[3].oof])
    assert measured["each"][0] == roc_auc_score(LABELS[positions], first)
    assert measured["mean"] == pytest.approx(np.mean(measured["each"]))
    assert measured["sd"] == pytest.approx(np.std(measured["each"], ddof=1))


def test_one_seed_has_no_spread():
    measured = measure_seeds(LABELS, make_members(1))
    assert len(measured["each"]) == 1 and measured["sd"] is None


def test_a_seed_that_a_fold_lacks_is_not_scored():
    members = make_members(num_seeds=3)[:-1]
    assert len(measure_seeds(LABELS, members)["each"]) == 2


def test_networks_are_as_alike_as_the_order_of_their_predictions():
    members = make_members(1)
    assert correlate_members(members[:1]) is None
    same = dataclasses.replace(members[0], test=members[0].test ** 3)
    other = dataclasses.replace(members[0], test=-members[0].test)
    assert correlate_members([members[0], same]) == pytest.approx(1)
    assert correlate_members([members[0], other]) == pytest.approx(-1)
    three = correlate_members([members[0], same, other])
    assert three == pytest.approx((1 - 1 - 1) / 3)
    assert 0.5 < correlate_members(make_members(3)) < 1


def test_networks_without_test_patches_cannot_be_compared():
    members = [dataclasses.replace(m, test=np.zeros(0)) for m in make_members(1)]
    assert correlate_members(members) is None


def test_a_single_view_is_scored_over_the_mean_of_a_fold_s_networks():
    members = make_members(num_seeds=2)
    folds = [members[:2], members[2:]]
    positions = np.concatenate([pair[0].positions for pair in folds])
    mean = np.concatenate([(a.oof_one_view + b.oof_one_view) / 2 for a, b in folds])
    assert score_one_view(LABELS, members) == roc_auc_score(LABELS[positions], mean)
