"""Several methods in one run: kept apart, averaged, and none lost with another."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from small_task import FOLDS, LABELS, PATCHES, make_device, make_method, make_run

from pcam_kaggle.inference.calibration import calibrate
from pcam_kaggle.inference.calibration_settings import CalibratedSettings
from pcam_kaggle.inference.ensemble import ensemble_predictions, log_odds
from pcam_kaggle.system.records import Ensemble, Member, load_member
from pcam_kaggle.training.results import gather_oof
from pcam_kaggle.training.several import (
    Average,
    average_several,
    compare_methods,
    fit_several,
    join_ensembles,
    join_oof,
    keep_available,
)

SMALL = {"folds": (0, 1), "epochs": 2}


@dataclasses.dataclass(frozen=True)
class Absent:
    """A method whose weights cannot be loaded."""

    error: Exception = FileNotFoundError("no weights here")

    def build(self):
        raise self.error

    def describe(self):
        return {"method": "Absent"}


@dataclasses.dataclass(frozen=True)
class Unprepared:
    """A method that has no time for its features."""

    num_views = 1

    def describe(self):
        return {"method": "Unprepared"}

    def prepare(self, patches, run, device):
        raise ValueError("max_hours: no time for the features")


def make_methods(**others):
    return {"wide": make_method(**SMALL), **others, "late": make_method("flip", **SMALL)}


def fit(output, methods, num_workers=1):
    """All that a run of several methods yields."""
    run = make_run(output, **SMALL)
    return run, list(fit_several(methods, PATCHES, FOLDS, run, make_device(num_workers), {}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("several"), make_methods(broken=Unprepared()))


def test_every_method_has_its_own_networks_and_one_that_fails_ends_no_other(finished, capsys):
    run, yielded = finished
    counts = [[len(ensemble.members) for ensemble in parts.values()] for parts in yielded]
    assert counts == [[1], [2], [2, 0, 1], [2, 0, 2], [2, 0, 2]]
    ensembles = yielded[-1]
    assert ensembles["broken"].missing == ["broken"]
    names = [f"{member}_fold{n}_seed{n}.npz" for member in ("late", "wide") for n in (0, 1)]
    assert sorted(p.name for p in (run.output / "folds").glob("*.npz")) == names
    for name, ensemble in ensembles.items():
        for member in ensemble.members:
            path = run.output / "folds" / f"{name}_fold{member.fold}_seed{member.seed}.npz"
            assert (load_member(path).test == member.test).all()
    joined = join_ensembles(list(ensembles.values()))
    assert len(joined.members) == 4 and len(joined.files) == 8
    assert joined.warnings == ("warning: broken is left out: max_hours: no time for the features",)
    assert joined.missing == ["broken"]  # so that the run is not complete


def test_a_repeated_run_trains_nothing_again(finished, capsys):
    run, yielded = finished
    again = list(fit_several(make_methods(), PATCHES, FOLDS, run, make_device(), {}))
    assert [list(parts) for parts in again] == [["wide"], ["wide", "late"], ["wide", "late"]]
    assert "  loss" not in capsys.readouterr().out
    for name in ("wide", "late"):
        for member, other in zip(again[-1][name].members, yielded[-1][name].members, strict=True):
            assert (member.test == other.test).all()


def test_without_any_network_every_reason_is_given(tmp_path):
    methods = {"one": Unprepared(), "two": Unprepared()}
    with pytest.raises(ValueError, match=r"members: .*one is .* features; two is .* features"):
        fit(tmp_path / "out", methods)


def test_what_cannot_be_loaded_is_left_out_and_said(tmp_path, capsys):
    run, device = make_run(tmp_path / "out", **SMALL), make_device()
    kept, network, left_out = keep_available(make_methods(absent=Absent()), run, device)
    assert list(kept) == ["wide", "late"] and network["network"] == "wide + late"
    assert network["num_parameters"] == 2 * kept["wide"].build().count_params()
    warning = "warning: absent is left out: no weights here"
    assert left_out == {"absent": Ensemble([], ["absent"], (warning,))}
    assert warning in capsys.readouterr().out
    with pytest.raises(ValueError, match="members: expected weights of at least one.*no weights"):
        keep_available({"absent": Absent()}, run, device)
    with pytest.raises(ValueError, match="input_size: 43"):  # a typo costs no hours
        keep_available({"wrong": Absent(ValueError("input_size: 43"))}, run, device)


def test_finished_networks_are_used_without_their_weights(finished, capsys):
    run, yielded = finished
    methods = {"wide": Absent(), "late": make_method("flip", **SMALL)}
    kept, _, left_out = keep_available(methods, run, make_device())
    assert list(kept) == ["wide", "late"] and left_out == {}
    assert "wide: its finished networks are used" in capsys.readouterr().out
    *_, last = fit_several(kept, PATCHES, FOLDS, run, make_device(), left_out)
    for member, other in zip(last["wide"].members, yielded[-1]["wide"].members, strict=True):
        assert (member.test == other.test).all()
    assert last["wide"].missing == []


def make_table(predictions, index=None):
    index = np.arange(len(predictions)) if index is None else index
    columns = {"id": index, "label": LABELS[index], "fold": FOLDS[index]}
    return pd.DataFrame({**columns, "prediction": predictions}, index=index)


def test_out_of_fold_predictions_are_averaged_on_the_patches_of_all(finished):
    run, yielded = finished
    tables = {n: gather_oof(run, FOLDS, e.members) for n, e in yielded[-1].items() if e.members}
    joined = join_oof(tables)
    mean = np.mean([log_odds(table["prediction"]) for table in tables.values()], axis=0)
    assert np.allclose(log_odds(joined["prediction"]), mean)
    partly = {**tables, "late": tables["late"].query("fold == 1")}
    assert join_oof(partly)["fold"].unique().tolist() == [1]
    apart = {"wide": tables["wide"].query("fold == 0"), "late": partly["late"]}
    assert join_oof(apart).equals(apart["wide"])


def test_what_a_member_adds_is_measured_on_the_same_patches(capsys):
    random = np.random.default_rng(0)
    signal = LABELS + random.normal(size=(3, len(LABELS)))
    tables = {name: make_table(1 / (1 + np.exp(-row))) for name, row in zip("abc", signal)}
    tables["c"]["prediction"] = random.random(len(LABELS))
    compared = compare_methods(Average(None, join_oof(tables), tables, None, {}))
    found = {part.run: part for part in compared["adds"]}
    assert found["a"].adds > found["c"].adds and found["c"].oof_auc < 0.7
    assert found["a"].interval[0] < found["a"].adds < found["a"].interval[1]
    whole = join_oof(tables)["prediction"]
    rest = join_oof({"b": tables["b"], "c": tables["c"]})["prediction"]
    gain = roc_auc_score(LABELS, whole) - roc_auc_score(LABELS, rest)
    assert found["a"].adds == pytest.approx(gain)
    first, *_ = capsys.readouterr().out.splitlines()
    assert f"adds {gain:+.4f} (" in first and "by patch: too narrow" in first
    (alone,) = compare_methods(Average(None, tables["a"], {"a": tables["a"]}, None, {}))["adds"]
    assert alone.adds is None and alone.oof_auc == found["a"].oof_auc
    apart = {"a": tables["a"].query("fold == 0"), "b": tables["b"].query("fold == 1")}
    assert compare_methods(Average(None, join_oof(apart), apart, None, {}))["adds"] == []


def make_ensemble(predictions, folds=(0, 1, 2)):
    """A network per fold, with those out-of-fold predictions, and its own for two test patches."""
    members = []
    for fold in folds:
        positions = np.flatnonzero(fold == FOLDS)
        oof, test = predictions[positions], np.array([0.2, 0.6 + fold / 10])
        history = pd.DataFrame({"member": ["any"]})
        members.append(Member(fold, fold, positions, oof, oof, test, history, {}))
    return Ensemble(members, [])


def make_noisy(seed, scale=1.0):
    """Probabilities that rise with the labels."""
    signal = 2 * LABELS - 1 + np.random.default_rng(seed).normal(size=len(LABELS))
    return 1 / (1 + np.exp(-scale * signal))


def average_them(ensembles, **settings):
    """What `average_several` makes of them."""
    settings = SimpleNamespace(prediction=CalibratedSettings(ensemble="logit", **settings))
    table = pd.DataFrame({"id": LABELS.astype(str), "label": LABELS})
    run = SimpleNamespace(settings=settings, competition=SimpleNamespace(train=table, slides=None))
    return average_several(ensembles, FOLDS, run)


def test_scores_are_of_the_calibrated_predictions_that_are_averaged():
    ensembles = {"sure": make_ensemble(make_noisy(0, 20.0)), "calm": make_ensemble(make_noisy(1))}
    found, raw = average_them(ensembles, calibration="platt"), average_them(ensembles)
    assert set(found.calibration["sure"].maps) == {f"sure_fold{n}_seed{n}" for n in range(3)}
    tests = []
    for name, ensemble in ensembles.items():
        maps = found.calibration[name].maps
        mapped = [
            calibrate(m.test, *maps[f"{name}_fold{m.fold}_seed{m.seed}"]) for m in ensemble.members
        ]
        tests.append(ensemble_predictions(mapped, "logit"))
    assert np.allclose(found.test, ensemble_predictions(tests, "logit"))
    scores = [roc_auc_score(LABELS, average.oof["prediction"]) for average in (found, raw)]
    assert scores[0] > scores[1]  # the sure one no longer decides alone
    both = [table["prediction"] for table in found.tables.values()]
    assert np.allclose(found.oof["prediction"], ensemble_predictions(both, "logit"))


def test_a_refused_map_leaves_every_method_without_maps():
    ensembles = {"good": make_ensemble(make_noisy(0)), "bad": make_ensemble(1 - make_noisy(1))}
    found, raw = average_them(ensembles, calibration="platt"), average_them(ensembles)
    assert (found.test == raw.test).all() and found.oof.equals(raw.oof)
    for calibration in found.calibration.values():
        assert calibration.maps is None and "a slope of -" in calibration.refused


def test_scores_of_some_patches_only_are_said():
    every, one = make_ensemble(make_noisy(0)), make_ensemble(make_noisy(1), folds=(1,))
    assert average_them({"every": every}).ensemble.warnings == ()
    (warning,) = average_them({"every": every, "one": one}).ensemble.warnings
    assert warning.endswith("of 16 patches, those of all methods")
    other = make_ensemble(make_noisy(0), folds=(0,))
    (warning,) = average_them({"one": one, "other": other}).ensemble.warnings
    assert warning.endswith("of 16 patches, those of one alone")
