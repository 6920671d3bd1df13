"""Thresholds, curves and gains against what counting by hand gives."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pcam_kaggle.evaluation import (
    GRID,
    band_curves,
    evaluate,
    find_operating_points,
)
from pcam_kaggle.validation import bin_predictions


@pytest.fixture
def oof():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 2_000)
    predictions = 1 / (1 + np.exp(-random.normal(2.0 * labels - 1, 1)))
    table = {"label": labels, "prediction": predictions, "fold": labels * 0}
    return pd.DataFrame(table, index=np.arange(2_000) + 100)


def make_members(oof, noises):
    """Networks of one fold, whose mean is noisier for more noise."""
    random = np.random.default_rng(1)
    members = []
    for seed, noise in enumerate(noises):
        predictions = oof["prediction"] + random.normal(0, noise, len(oof))
        members.append(
            {
                "fold": 0,
                "seed": seed,
                "positions": oof.index.to_numpy(),
                "oof": predictions.to_numpy(),
                "oof_one_view": (predictions + random.normal(0, 0.3, len(oof))).values,
                "test": random.uniform(size=50),
            }
        )
    return members


def test_operating_points_are_what_counting_gives(oof):
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    points = find_operating_points(labels, predictions)
    for point in points.values():
        called = predictions >= point["threshold"]
        assert point["sensitivity"] == pytest.approx(called[labels == 1].mean())
        assert point["specificity"] == pytest.approx(1 - called[labels == 0].mean())
        assert point["precision"] == pytest.approx(labels[called].mean())
    assert 0.95 <= points["specificity 95 %"]["specificity"] < 0.952
    assert 0.95 <= points["sensitivity 95 %"]["sensitivity"] < 0.952
    assert points["0.5"]["threshold"] == 0.5
    best = max(
        (predictions[labels == 1] >= t).mean() - (predictions[labels == 0] >= t).mean()
        for t in predictions
    )
    youden = points["Youden"]
    assert youden["sensitivity"] + youden["specificity"] - 1 == pytest.approx(best)


def test_points_of_predictions_without_order_are_finite():
    points = find_operating_points(np.array([0, 1, 1, 0]), np.full(4, 0.3))
    for point in points.values():
        assert np.isfinite([point["threshold"], point["sensitivity"]]).all()
    assert points["0.5"]["precision"] is None


def test_the_bands_hold_the_curves_and_narrow_with_patches(oof):
    curves = band_curves(oof["label"], oof["prediction"])
    few = band_curves(oof["label"][:200], oof["prediction"][:200])
    for name in ("roc", "pr"):
        line, lower, upper = curves[name]
        assert ((lower <= line + 1e-9) & (line <= upper + 1e-9)).mean() > 0.98
        assert (upper - lower).mean() < 0.6 * (few[name][2] - few[name][1]).mean()
    area = np.trapezoid(curves["roc"][0], GRID)
    assert area == pytest.approx(
        roc_auc_score(oof["label"], oof["prediction"]), abs=3e-3
    )


def test_views_and_seeds_add_what_they_add(oof):
    members = make_members(oof, noises=(0.2, 0.2))
    described = evaluate(oof, members)["adds"]
    mean = np.mean([member["oof"] for member in members], axis=0)
    assert described["auc"] == pytest.approx(roc_auc_score(oof["label"], mean))
    single = np.mean([roc_auc_score(oof["label"], m["oof"]) for m in members])
    assert described["auc_one_network"] == pytest.approx(single)
    assert described["auc_one_view"] < described["auc"]
    assert abs(described["test_correlation"]) < 0.5
    assert evaluate(oof, members[:1])["adds"]["test_correlation"] is None


def test_errors_are_counted_by_stain_and_in_all(oof):
    stains = np.zeros(2_200, int)
    stains[oof.index[oof["label"] == 1][:50]] = 1  # of one class alone
    stains[oof.index[:20]] = -1
    described = evaluate(oof, make_members(oof, [0]), stains)
    (tn, fp), (fn, tp) = described["confusion"]["counts"]
    called = oof["prediction"] >= described["confusion"]["threshold"]
    assert (tp, fp) == (
        (called & (oof["label"] == 1)).sum(),
        (called & (oof["label"] == 0)).sum(),
    )
    assert tn + fp + fn + tp == len(oof)
    first, second = described["by_stain"]
    assert first["patches"] + second["patches"] == 1_980
    assert second["auc"] is None and second["specificity"] is None
    assert 0 < second["sensitivity"] < 1


def test_the_calibration_curve_counts_every_patch(oof):
    bins = bin_predictions(oof["label"].to_numpy(), oof["prediction"].to_numpy())
    assert bins["count"].sum() == len(oof)
    assert np.average(bins["share"], weights=bins["count"]) == pytest.approx(
        oof["label"].mean()
    )
    assert (bins["prediction"].diff().dropna() > 0).all()
