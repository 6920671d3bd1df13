"""Calibration: distorted probabilities of each network mended, then averaged."""

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest

from pcam_kaggle.analysis.reliability import measure_calibration
from pcam_kaggle.data.folds import make_folds
from pcam_kaggle.inference.calibration import (
    calibrate,
    calibrate_members,
    cross_fit,
    fit_calibration,
)
from pcam_kaggle.inference.calibration_settings import CalibratedSettings
from pcam_kaggle.inference.ensemble import average_members, ensemble_predictions, log_odds

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.random(20_000)
LABELS = (RANDOM.random(20_000) < TRUE).astype(int)
DISTORTED = 1 / (1 + np.exp(-(3 * np.log(TRUE / (1 - TRUE)) + 1)))
NONE, PLATT = CalibratedSettings(), CalibratedSettings(calibration="platt")


@dataclasses.dataclass(frozen=True)
class Simulation:
    """Networks of five folds, and labels and slides of the training and the test patches."""

    members: list
    oof: pd.DataFrame
    labels: np.ndarray
    slides: np.ndarray
    test_labels: np.ndarray


def expit(logits):
    return 1 / (1 + np.exp(-logits))


def simulate(seed, noise=0.0, slide_effect=0.0, num_seeds=1, sizes=(5_000, 20_000)):
    """Over-confident networks that share a patch's logit and its slide's effect.

    Each adds its own noise. Training patches are of 40 slides, test patches of 160 others.
    """
    random = np.random.default_rng(seed)
    slides = np.concatenate([np.arange(sizes[0]) % 40, 40 + np.arange(sizes[1]) % 160])
    logits = 2 * random.standard_normal(sum(sizes))
    labels = (random.random(sum(sizes)) < expit(logits)).astype(int)
    shared = logits + slide_effect * random.standard_normal(200)[slides]
    size, members = sizes[0], []
    folds = make_folds(labels[:size], 5, 0, slides[:size])
    for fold in range(5):
        for number in range(num_seeds):
            found = expit(2.5 * (shared + noise * random.standard_normal(len(shared))))
            own = {"positions": np.flatnonzero(folds == fold), "test": found[size:]}
            own["oof"] = found[own["positions"]]
            members.append(types.SimpleNamespace(fold=fold, seed=9 * fold + number, **own))
    parts = [pd.Series(member.oof, member.positions) for member in members]
    mean = pd.concat(parts).groupby(level=0).mean()
    oof = pd.DataFrame({"label": labels[:size], "prediction": mean})
    return Simulation(members, oof, labels[:size], slides[:size], labels[size:])


def test_the_map_mends_distorted_probabilities_and_keeps_the_order():
    scale, offset = fit_calibration(LABELS, DISTORTED)
    assert scale == pytest.approx(1 / 3, rel=0.05)
    assert offset == pytest.approx(-1 / 3, abs=0.05)
    mended = calibrate(DISTORTED, scale, offset)
    assert measure_calibration(LABELS, mended)["ece"] < 0.02
    assert measure_calibration(LABELS, DISTORTED)["ece"] > 0.1
    order = np.argsort(DISTORTED, kind="stable")
    assert (np.diff(mended[order]) >= 0).all()


def test_the_map_is_the_most_likely_one_for_few_patches_as_well():
    labels, predictions = LABELS[:60], DISTORTED[:60]
    mended = calibrate(predictions, *fit_calibration(labels, predictions))
    assert np.sum(labels - mended) == pytest.approx(0, abs=1e-2)
    slopes = log_odds(predictions) * (labels - mended)
    assert np.sum(slopes) == pytest.approx(0, abs=5e-2)


def test_predictions_against_the_labels_are_refused():
    with pytest.raises(ValueError, match="expected out-of-fold predictions that rise"):
        fit_calibration(LABELS, 1 - TRUE)


def test_without_maps_calibration_is_measured_only():
    given = simulate(0, noise=0.7)
    test, _, found = calibrate_members(given.members, given.oof, NONE, None)
    assert found.before == measure_calibration(given.labels, given.oof["prediction"])
    assert (found.maps, found.after, found.refused) == (None, None, None)
    assert (test == average_members(given.members, "mean")).all()


@pytest.mark.parametrize("ensemble", ["mean", "logit"])
def test_each_network_has_a_map_of_its_own_patches_and_the_mapped_are_averaged(ensemble):
    given = simulate(0, noise=0.7, num_seeds=2, sizes=(1_000, 50))
    settings = dataclasses.replace(PLATT, ensemble=ensemble)
    test, _, found = calibrate_members(given.members, given.oof, settings, None)
    expected = {
        f"fold{m.fold}_seed{m.seed}": fit_calibration(given.labels[m.positions], m.oof)
        for m in given.members
    }
    assert found.maps == expected and len(expected) == 10
    mapped = [calibrate(m.test, *expected[f"fold{m.fold}_seed{m.seed}"]) for m in given.members]
    assert np.allclose(test, ensemble_predictions(mapped, ensemble))


def test_the_reported_error_is_of_the_average_over_the_networks_of_a_fold():
    given = simulate(0, noise=0.7, num_seeds=2, sizes=(1_000, 50))
    _, crossed, found = calibrate_members(given.members, given.oof, PLATT, None)
    mean = np.zeros(1_000)
    for member in given.members:
        labels = given.labels[member.positions]
        halves = make_folds(labels, 2, 0)
        mean[member.positions] += 0.5 * cross_fit(labels, member.oof, halves)
    assert found.after == pytest.approx(measure_calibration(given.labels, mean))
    assert crossed["prediction"].to_numpy() == pytest.approx(mean)
    assert crossed.drop(columns="prediction").equals(given.oof.drop(columns="prediction"))


def test_a_half_is_mapped_by_the_other_half_alone():
    halves = np.arange(2_000) % 2
    labels, predictions = LABELS[:2_000], DISTORTED[:2_000]
    mapped = cross_fit(labels, predictions, halves)
    other = fit_calibration(labels[1::2], predictions[1::2])
    assert (mapped[::2] == calibrate(predictions[::2], *other)).all()
    swapped = np.where(halves == 0, 1 - labels, labels)
    with pytest.raises(ValueError, match="rise with the labels"):
        cross_fit(swapped, predictions, halves)


@pytest.mark.parametrize("seed", range(3))
def test_the_average_of_mapped_networks_is_better_than_a_map_of_the_average(seed):
    given = simulate(seed, noise=0.7)
    test, _, _ = calibrate_members(given.members, given.oof, PLATT, None)
    plain = average_members(given.members, "mean")
    after_average = calibrate(plain, *fit_calibration(given.labels, given.oof["prediction"]))
    errors = [
        measure_calibration(given.test_labels, predictions)["ece"]
        for predictions in (test, after_average, plain)
    ]
    assert errors[0] < 0.75 * errors[1] < errors[1] < errors[2]


def measure_mapped(given, maps):
    """The mean calibration of single networks with their maps, on the test patches."""
    found = [
        measure_calibration(given.test_labels, calibrate(member.test, *pair))
        for member, pair in zip(given.members, maps.values(), strict=True)
    ]
    return {name: np.mean([one[name] for one in found]) for name in ("ece", "brier")}


def test_the_reported_error_is_that_of_single_networks_on_other_patches():
    given = simulate(0, noise=0.7)
    _, _, found = calibrate_members(given.members, given.oof, PLATT, None)
    single = measure_mapped(given, found.maps)
    assert found.before["ece"] > 0.1
    assert found.after["ece"] == pytest.approx(single["ece"], abs=0.01)
    assert found.after["brier"] == pytest.approx(single["brier"], abs=0.01)


def test_by_slide_the_reported_error_is_that_on_other_slides():
    reported, by_patch, single = [], [], []
    for seed in range(5):
        given = simulate(seed, noise=0.7, slide_effect=2.0)
        _, _, found = calibrate_members(given.members, given.oof, PLATT, given.slides)
        _, _, patches = calibrate_members(given.members, given.oof, PLATT, None)
        assert found.maps == patches.maps
        reported.append(found.after)
        by_patch.append(patches.after)
        single.append(measure_mapped(given, found.maps))
    reported, by_patch, single = (
        {name: np.mean([one[name] for one in many]) for name in ("ece", "brier")}
        for many in (reported, by_patch, single)
    )
    assert by_patch["ece"] < 0.5 * single["ece"] < reported["ece"]
    assert reported["brier"] == pytest.approx(single["brier"], abs=0.01)


def test_a_map_that_cannot_be_fitted_is_said_and_none_is_applied(capsys):
    given = simulate(0, sizes=(1_000, 50))
    given.members[3].oof = 1 - given.members[3].oof
    test, _, found = calibrate_members(given.members, given.oof, PLATT, None)
    assert (found.maps, found.after) == (None, None)
    assert found.refused.startswith("calibration of fold 3 seed 27 and of its halves: expected ")
    assert found.refused.endswith("Try: train longer, or calibration=none")
    assert capsys.readouterr().out == f"{found.refused}\n"
    assert (test == average_members(given.members, "mean")).all()


def test_a_fold_of_one_slide_has_no_halves_and_no_map_is_applied():
    given = simulate(0, sizes=(1_000, 50))
    slides = np.zeros(1_000, int)
    test, _, found = calibrate_members(given.members, given.oof, PLATT, slides)
    assert found.maps is None and "than slides or groups (1)" in found.refused
    assert (test == average_members(given.members, "mean")).all()
