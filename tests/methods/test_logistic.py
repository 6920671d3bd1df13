"""Logistic regression on the device, compared with scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pcam_kaggle.data.folds import Split
from pcam_kaggle.methods import logistic
from pcam_kaggle.methods.linear_probe import apply_head
from pcam_kaggle.methods.logistic import (
    STRENGTHS,
    fit_regression,
    make_scale,
    minimize,
    precondition,
)


def draw(seed, num_train, dim, decay, signal=4):
    """Correlated float16 features and labels that they predict, and a split of them."""
    random = np.random.default_rng(seed)
    size = np.arange(1, dim + 1) ** -decay
    hidden = random.normal(size=(num_train + 2000, dim)) * size
    mixing = np.linalg.qr(random.normal(size=(dim, dim)))[0]
    log_odds = hidden @ random.normal(size=dim)
    log_odds *= signal / log_odds.std()
    labels = (random.random(len(hidden)) < 1 / (1 + np.exp(-log_odds))).astype(int)
    features = hidden @ mixing * random.uniform(0.1, 10, dim) + random.normal(0, 3, dim)
    rows = random.permutation(len(hidden))
    split = Split(np.sort(rows[:num_train]), np.sort(rows[num_train:]), seed, "fold 0")
    return features.astype("float16"), labels, split


def fit_sklearn(features, labels, split):
    """scikit-learn's pipeline, fitted in float64 to a tolerance of its own."""
    folds = StratifiedKFold(3, shuffle=True, random_state=split.seed)
    regression = LogisticRegressionCV(
        Cs=STRENGTHS, cv=folds, scoring="roc_auc", tol=1e-6, max_iter=5000
    )
    pipeline = make_pipeline(StandardScaler(), regression)
    return pipeline.fit(features[split.train].astype("float64"), labels[split.train])


@pytest.mark.parametrize(
    "seed, num_train, dim, decay",
    [(0, 2000, 32, 0.0), (1, 2000, 32, 1.0), (2, 600, 64, 0.5), (3, 150, 200, 0.5)],
)
def test_it_agrees_with_scikit_learn(seed, num_train, dim, decay, monkeypatch, capsys):
    monkeypatch.setattr(logistic, "ROWS_PER_BATCH", 256)  # with a last batch to fill up
    features, labels, split = draw(seed, num_train, dim, decay)
    pipeline = fit_sklearn(features, labels, split)
    head = fit_regression(features, labels, split)
    theirs = pipeline[-1]
    scores = theirs.scores_[1].mean(axis=0)
    chosen = float(capsys.readouterr().out.split(" C=")[1].split(":")[0])
    assert scores[STRENGTHS.index(chosen)] == pytest.approx(scores.max(), abs=5e-4)
    truth = labels[split.valid]
    expected = pipeline.predict_proba(features[split.valid].astype("float64"))[:, 1]
    found = apply_head(head, features, split.valid)
    assert roc_auc_score(truth, found) == pytest.approx(roc_auc_score(truth, expected), abs=1e-3)
    if chosen == theirs.C_[0]:
        np.testing.assert_allclose(found, expected, atol=0.01)
        kernel = head.layers[-1].kernel[:, 0]
        assert np.abs(kernel - theirs.coef_[0]).max() < 0.02 * np.abs(theirs.coef_).max()


def test_each_column_is_a_regression_on_its_own_rows():
    features, labels, split = draw(4, 500, 24, 0.5)
    problem = precondition(features, split.train, labels[split.train])
    is_used = np.random.default_rng(0).random((500, 3)) < [0.9, 0.5, 0.2]
    strengths = np.array([1e-1, 1e-3, 1e-2])
    weights = minimize(problem, is_used, strengths)
    scaled = np.asarray(problem.scale(features[split.train].astype("float32")), "float64")
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-4)
    for column, strength in enumerate(strengths):
        rows = is_used[:, column]
        theirs = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000)
        theirs.fit(scaled[rows], problem.labels[rows])
        largest = np.abs(theirs.coef_).max()
        np.testing.assert_allclose(weights[:-1, column], theirs.coef_[0], atol=0.02 * largest)
        np.testing.assert_allclose(weights[-1, column], theirs.intercept_[0], atol=2e-3)


def test_constant_and_repeated_features_do_no_harm():
    features, labels, split = draw(5, 400, 8, 0.0)
    plain = apply_head(fit_regression(features, labels, split), features, split.valid)
    constant = np.full_like(features[:, :1], 0.1)
    more = np.concatenate([features, features[:, :1], constant], axis=1)
    head = fit_regression(more, labels, split)
    found = apply_head(head, more, split.valid)
    assert np.isfinite(found).all()
    assert np.abs(found - plain).mean() < 0.03  # the penalty of a repeated feature is halved
    assert head.layers[-1].kernel[-1, 0] == 0
    more[split.valid, -1] = 5  # what was constant in training says nothing
    np.testing.assert_allclose(apply_head(head, more, split.valid), found, atol=1e-6)


def test_a_fit_that_needs_more_steps_says_so(monkeypatch, capsys):
    monkeypatch.setattr(logistic, "MAX_STEPS", 3)
    fit_regression(*draw(6, 300, 16, 1.0))
    assert "warning: fold 0: after 3 steps" in capsys.readouterr().out


def test_large_offsets_are_standardized_exactly():
    features = np.random.default_rng(7).normal(1000, 1, (700, 3)).astype("float16")
    rows = np.arange(650)
    scale = make_scale(features, rows)
    exact = features[rows].astype("float64")
    np.testing.assert_allclose(scale.input_mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale.input_variance, exact.var(axis=0), rtol=1e-6)
