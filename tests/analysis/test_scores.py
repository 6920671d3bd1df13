"""ROC AUC: its interval covers what it says."""

import numpy as np
from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis.scores import NUM_RESAMPLES, bootstrap_auc, resample

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.random(20_000)
LABELS = (RANDOM.random(20_000) < TRUE).astype(int)


def test_the_interval_covers_the_score_and_narrows_with_more_images():
    widths = []
    for count in (500, 20_000):
        labels, predictions = LABELS[:count], TRUE[:count]
        low, high = bootstrap_auc(labels, predictions)
        assert low < roc_auc_score(labels, predictions) < high
        widths.append(high - low)
    assert 4 < widths[0] / widths[1] < 10  # the root of 40 is 6.3
    few = LABELS[:50], TRUE[:50]
    assert bootstrap_auc(*few) == bootstrap_auc(*few) != bootstrap_auc(*few, seed=1)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    truth = roc_auc_score(LABELS, TRUE)
    draws = np.random.default_rng(1).choice(20_000, (20, 300), replace=False)
    intervals = [bootstrap_auc(LABELS[d], TRUE[d]) for d in draws]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.85 <= covered <= 1


def test_draws_are_with_replacement_and_keep_the_balance_of_labels():
    labels = np.array([1, 0, 0, 1, 0])
    draws = list(resample(labels, seed=3))
    assert len(draws) == NUM_RESAMPLES
    assert all(len(drawn) == 5 and labels[drawn].sum() == 2 for drawn in draws)
    assert any(len(set(drawn)) < 5 for drawn in draws)
    assert set(np.concatenate(draws)) == set(range(5))
