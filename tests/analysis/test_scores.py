"""ROC AUC: its interval covers what it says, and comparisons are paired."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pcam_kaggle.analysis import scores
from pcam_kaggle.analysis.scores import (
    NUM_DRAWS,
    bootstrap_auc,
    compare_auc,
    draw_aucs,
    draw_weights,
)

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


def simulate_slides(random):
    """40 slides of 50 patches that differ in their tumor, how well it shows, and their shade."""
    slides = np.repeat(np.arange(40), 50)
    share, gap, shade = random.beta(2, 2, 40), random.normal(2, 1, 40), random.normal(0, 1, 40)
    labels = (random.random(2_000) < share[slides]).astype(int)
    return labels, gap[slides] * labels + shade[slides] + random.normal(0, 1, 2_000), slides


def test_intervals_by_slide_cover_other_slides_and_those_by_patch_do_not(monkeypatch):
    monkeypatch.setattr(scores, "NUM_DRAWS", 200)
    random = np.random.default_rng(1)
    truth = np.mean([roc_auc_score(*simulate_slides(random)[:2]) for _ in range(500)])
    samples = [simulate_slides(random) for _ in range(60)]

    def measure_coverage(intervals):
        return np.mean([low <= truth <= high for low, high in intervals])

    assert measure_coverage(bootstrap_auc(*sample) for sample in samples) > 0.85
    assert 0.2 < measure_coverage(bootstrap_auc(*sample[:2]) for sample in samples) < 0.55


def test_every_draw_is_scored_as_its_patches_would_be():
    labels, slides = LABELS[:300], np.arange(300) % 9
    predictions = TRUE[:300].round(1)  # with ties
    for drawn in (None, slides.astype(str)):
        weights = np.concatenate([*draw_weights(labels, drawn)])
        aucs = draw_aucs(labels, predictions, drawn)
        assert len(weights) == len(aucs) == NUM_DRAWS
        expected = [roc_auc_score(labels, predictions, sample_weight=row) for row in weights[:20]]
        assert aucs[:20] == pytest.approx(expected)


def test_slides_are_drawn_with_all_their_patches_and_both_labels():
    labels, slides = np.array([1, 1, 0, 0, 0]), np.array(["b", "b", "a", "a", "a"])
    for weights in draw_weights(labels, slides):
        assert (weights == [1, 1, 1, 1, 1]).all()  # any other draw lacks a label
    weights = np.concatenate([*draw_weights(labels)])
    assert (weights.sum(axis=1) == 5).all() and len(np.unique(weights, axis=0)) > 20
    assert (weights[:, :2].any(axis=1) & weights[:, 2:].any(axis=1)).all()
    with pytest.raises(ValueError, match=r"expected 0 and 1. Received: \[1\]"):
        next(draw_weights(labels[:2]))


def test_a_comparison_is_paired_and_says_what_was_drawn():
    labels, first = LABELS[:1_000], TRUE[:1_000]
    second = first + np.random.default_rng(2).normal(0, 0.1, 1_000)
    found = compare_auc(labels, first, second)
    aucs = [roc_auc_score(labels, predictions) for predictions in (first, second)]
    assert found.difference == pytest.approx(aucs[0] - aucs[1])
    low, high = found.interval
    assert low < found.difference < high and not found.is_noise()
    alone = bootstrap_auc(labels, first)
    assert high - low < 0.5 * (alone[1] - alone[0])
    assert (found.num_patches, found.num_slides) == (1_000, None)
    back = compare_auc(labels, second, first)
    assert back.interval == pytest.approx((-high, -low))
    assert compare_auc(labels, first, second, np.arange(1_000) % 7).num_slides == 7
    assert compare_auc(labels, first, second, np.zeros(1_000)) == found  # one slide


def test_equal_predictions_differ_by_nothing():
    labels = LABELS[:200]
    for predictions in (TRUE[:200], np.full(200, 0.5)):
        found = compare_auc(labels, predictions, predictions + 1)
        assert found.difference == 0 and found.interval == (0, 0) and found.is_noise()
