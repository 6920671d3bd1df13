"""Thresholds, curves and errors against what counting by hand gives."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from pcam_kaggle.analysis.evaluation import (
    CURVE_GRID,
    band_curves,
    evaluate_predictions,
    find_operating_points,
)
from pcam_kaggle.analysis.reliability import bin_predictions
from pcam_kaggle.analysis.scores import bootstrap_auc


@pytest.fixture
def oof():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 2_000)
    predictions = 1 / (1 + np.exp(-random.normal(2.0 * labels - 1, 1)))
    return pd.DataFrame({"label": labels, "prediction": predictions})


def test_operating_points_are_what_counting_gives(oof):
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    points = find_operating_points(labels, predictions)
    for point in points.values():
        called = predictions >= point.threshold
        assert point.sensitivity == pytest.approx(called[labels == 1].mean())
        assert point.specificity == pytest.approx(1 - called[labels == 0].mean())
        assert point.precision == pytest.approx(labels[called].mean())
    assert 0.95 <= points["specificity 95 %"].specificity < 0.952
    assert 0.95 <= points["sensitivity 95 %"].sensitivity < 0.952
    assert points["0.5"].threshold == 0.5
    best = max(
        (predictions[labels == 1] >= t).mean() - (predictions[labels == 0] >= t).mean()
        for t in predictions
    )
    youden = points["Youden"]
    assert youden.sensitivity + youden.specificity - 1 == pytest.approx(best)


def test_points_of_equal_predictions_are_finite():
    points = find_operating_points(np.array([0, 1, 1, 0]), np.full(4, 0.3))
    for point in points.values():
        assert np.isfinite([point.threshold, point.sensitivity]).all()
    assert points["0.5"].precision is None


def test_the_bands_hold_the_curves_and_narrow_with_patches(oof):
    curves = band_curves(oof["label"], oof["prediction"])
    few = band_curves(oof["label"][:200], oof["prediction"][:200])
    for name in ("roc", "pr"):
        line, lower, upper = curves[name]
        assert ((lower <= line + 1e-9) & (line <= upper + 1e-9)).mean() > 0.98
        assert (upper - lower).mean() < 0.6 * (few[name][2] - few[name][1]).mean()
    area = np.trapezoid(curves["roc"][0], CURVE_GRID)
    assert area == pytest.approx(roc_auc_score(oof["label"], oof["prediction"]), abs=3e-3)


def test_the_bands_are_wider_by_slide_where_slides_differ(oof):
    slides = np.arange(len(oof)) // 100
    shifted = oof["prediction"] + np.random.default_rng(1).normal(0, 0.5, 20)[slides]
    widths = [
        np.diff(band_curves(oof["label"], shifted, drawn)["roc"][1:], axis=0).mean()
        for drawn in (None, slides)
    ]
    assert widths[1] > 1.3 * widths[0]


@pytest.mark.parametrize("decimals", [1, 3])
def test_the_curves_are_those_of_scikit_learn(oof, decimals):
    labels, predictions = oof["label"][:200], oof["prediction"][:200].round(decimals)
    curves = band_curves(labels, predictions)
    false_rate, true_rate, _ = roc_curve(labels, predictions)
    precision, recall, _ = precision_recall_curve(labels, predictions)
    assert curves["roc"][0] == pytest.approx(np.interp(CURVE_GRID, false_rate, true_rate))
    expected = np.interp(CURVE_GRID, recall[::-1], precision[::-1])
    assert curves["pr"][0] == pytest.approx(expected)


def test_errors_are_counted_by_stain_and_in_all(oof):
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    stains = np.zeros(len(oof), int)
    stains[np.flatnonzero(labels == 1)[:50]] = 1  # of one class only
    stains[:20] = -1
    evaluation = evaluate_predictions(labels, predictions, stains)
    assert evaluation.auc == roc_auc_score(labels, predictions)
    (tn, fp), (fn, tp) = evaluation.confusion.counts
    called = predictions >= evaluation.confusion.threshold
    assert tp == (called & (labels == 1)).sum()
    assert fp == (called & (labels == 0)).sum()
    assert tn + fp + fn + tp == len(oof)
    first, second = evaluation.by_stain
    assert first.patches + second.patches == 1_980
    assert second.auc is None and second.specificity is None
    assert 0 < second.sensitivity < 1


def test_an_evaluation_says_what_was_resampled(oof):
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    evaluation = evaluate_predictions(labels, predictions)
    assert evaluation.by_stain == ()
    assert evaluation.interval == bootstrap_auc(labels, predictions)
    assert (evaluation.resampled, evaluation.num_slides) == ("patches", None)
    slides = np.arange(len(oof)) // 100
    evaluation = evaluate_predictions(labels, predictions, slides=slides)
    assert evaluation.interval == bootstrap_auc(labels, predictions, slides)
    assert (evaluation.resampled, evaluation.num_slides) == ("slides", 20)


def test_the_calibration_curve_counts_every_patch(oof):
    bins = bin_predictions(oof["label"].to_numpy(), oof["prediction"].to_numpy())
    assert bins["count"].sum() == len(oof)
    assert np.average(bins["share"], weights=bins["count"]) == pytest.approx(oof["label"].mean())
    assert (bins["prediction"].diff().dropna() > 0).all()
