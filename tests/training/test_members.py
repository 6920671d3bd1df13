"""The networks of a run: which, each kept when it is done, none without time."""

import dataclasses
import os
import shutil
import time

import numpy as np
import pytest
import small_task
from sklearn.metrics import roc_auc_score
from small_task import FOLDS, IMAGES, LABELS, PATCHES, make_device, make_method, make_run

from kernel.progress import Progress
from pcam_kaggle.analysis.gradcam import explain_maps
from pcam_kaggle.data import run as run_module
from pcam_kaggle.inference.load_network import load_network
from pcam_kaggle.system import clock as clock_module
from pcam_kaggle.system.clock import Stage
from pcam_kaggle.system.records import Ensemble, load_member, save_member
from pcam_kaggle.training import members as members_module
from pcam_kaggle.training.explain import explain_member
from pcam_kaggle.training.members import fit_members, list_jobs

SMALL = {"folds": (0, 1), "epochs": 2}
FIRST = ["fold0_seed0.keras", "fold0_seed0.npz"]
SECOND = ["fold1_seed1.keras", "fold1_seed1.npz"]
NAMES = [*FIRST, *SECOND]


def fit(output, num_workers=1, member="", explainer=None, **overrides):
    """The last ensemble of a run on the small task; one without members if there is none."""
    run = make_run(output, **{**SMALL, **overrides})
    method = make_method("flip", explainer, **{**SMALL, **overrides})
    explain = explain_member if explainer else None
    device = make_device(num_workers)
    ensembles = fit_members(method, PATCHES, FOLDS, run, device, member, explain)
    return [Ensemble([], []), *ensembles][-1]


def leave(monkeypatch, seconds):
    """Let a run of 11 hours have only that many seconds left."""
    monkeypatch.setattr(run_module, "RESERVE", 11 * 3600 - seconds)


class Hands:
    """A clock that stands still until a test turns it; stages are timed as ever."""

    now = 0.0
    perf_counter = staticmethod(time.perf_counter)

    def monotonic(self):
        return self.now


def run_out(monkeypatch):
    """Let the hours of a run end while its first network is built."""
    hands, build = Hands(), small_task.build_tiny

    def build_slowly(settings):
        hands.now += 1000
        return build(settings)

    monkeypatch.setattr(clock_module, "time", hands)
    monkeypatch.setattr(small_task, "build_tiny", build_slowly)
    leave(monkeypatch, 100)


def list_files(output):
    return sorted(path.name for path in (output / "folds").iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run, and its ensemble."""
    output = tmp_path_factory.mktemp("finished")
    return output, fit(output, explainer=explain_maps)


@pytest.fixture
def output(finished, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(finished[0], tmp_path / "out")


def test_every_fold_is_trained_predicted_explained_and_kept(finished):
    output, ensemble = finished
    assert ensemble.missing == [] and list_files(output) == NAMES
    assert [(m.fold, m.seed) for m in ensemble.members] == [(0, 0), (1, 1)]
    for member in ensemble.members:
        valid = np.flatnonzero(member.fold == FOLDS)
        assert member.positions.tolist() == valid.tolist()
        assert member.oof.shape == member.oof_one_view.shape == (16,)
        assert (member.oof != member.oof_one_view).any()
        assert member.test.shape == (5,) and member.test.dtype == np.float32
        assert member.history[["fold", "seed", "epoch"]].to_numpy().tolist() == [
            [member.fold, member.seed, 1],
            [member.fold, member.seed, 2],
        ]
        counts = {name: stage.images for name, stage in member.stages.items()}
        shown = len(member.explanation.shown)
        assert counts == {"train": 64, "predict_oof": 16, "predict_test": 5, "explain": shown}
        assert (member.explanation.patches == IMAGES[valid[member.explanation.shown]]).all()
        kept = load_member(output / "folds" / f"fold{member.fold}_seed{member.seed}.npz")
        assert (kept.test == member.test).all() and (kept.oof == member.oof).all()


def test_finished_networks_are_loaded_not_trained(finished, output, capsys):
    (output / "folds" / "checkpoint_fold0_seed0.npz").write_bytes(b"left behind")
    ensemble = fit(output)
    lines = capsys.readouterr().out
    assert lines.count("was finished before, taken from") == 2 and "  loss" not in lines
    for member, first in zip(ensemble.members, finished[1].members, strict=True):
        assert (member.test == first.test).all() and member.place == first.place
        assert member.place.endswith("CPU")
    assert list_files(output) == NAMES


def test_a_fold_has_the_same_seeds_in_any_subset(tmp_path):
    def list_pairs(device=None, member="", **overrides):
        run = make_run(tmp_path / "out", seed=100, **overrides)
        jobs = list_jobs(make_method(), run, device or make_device(), member)
        assert {job.facts["fingerprint"] for job in jobs} == {"mine"}
        return jobs, [(job.fold, job.seed) for job in jobs]

    jobs, pairs = list_pairs(num_seeds=2)
    assert pairs == [(0, 100), (0, 101), (1, 102), (1, 103), (2, 104), (2, 105)]
    assert list_pairs(num_seeds=2, folds=(2,))[1] == pairs[4:]
    assert {job.num_rounds for job in jobs} == {6}
    assert {job.num_rounds for job in list_pairs(make_device(4), num_seeds=2)[0]} == {2}
    assert (jobs[1].name, jobs[1].path.name) == ("fold 0 seed 101", "fold0_seed101.npz")
    jobs, pairs = list_pairs(member="vit", num_seeds=2, folds=(2,))
    assert pairs == [(2, 104), (2, 105)]  # members share their seeds
    assert (jobs[1].name, jobs[1].path.name) == ("vit fold 2 seed 105", "vit_fold2_seed105.npz")


def test_a_network_without_time_is_not_started(finished, output, monkeypatch, capsys):
    (output / "folds" / SECOND[1]).unlink()
    leave(monkeypatch, 0.001)
    ensemble = fit(output)
    assert [(m.fold, m.seed) for m in ensemble.members] == [(0, 0)]
    assert ensemble.missing == ["fold 1 seed 1"]
    lines = capsys.readouterr().out
    assert "fold 1 seed 1 is not started: it takes " in lines and "  loss" not in lines
    assert ensemble.files == tuple(f"folds/{name}" for name in reversed(FIRST))


def test_without_any_network_the_error_says_how_to_continue(tmp_path, monkeypatch):
    leave(monkeypatch, -1.0)
    with pytest.raises(ValueError, match=r"max_hours: no network could be finished.*max_hours=11"):
        fit(tmp_path / "out")


def test_the_first_network_is_cut_short_and_resumed_later(finished, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        run_out(patch)
        ensemble = fit(out)
    (short,) = ensemble.members
    assert short.was_cut_short and len(short.history) == 1 and np.isfinite(short.test).all()
    assert ensemble.missing == ["fold 1 seed 1"]
    assert list_files(out) == ["checkpoint_fold0_seed0.npz", FIRST[0]]
    assert ensemble.files == (f"folds/{FIRST[0]}",)
    assert "fold 0 seed 0 was cut short after epoch 1: max_hours\n" in capsys.readouterr().out

    (resumed,) = fit(out, folds=(0,)).members
    whole = finished[1].members[0]
    assert not resumed.was_cut_short and (resumed.test == whole.test).all()
    assert resumed.history["loss"].tolist() == whole.history["loss"].tolist()
    assert resumed.stages["train"].images == (FOLDS != 0).sum()  # of the second epoch alone
    assert list_files(out) == FIRST


def test_a_later_network_is_given_up_and_its_checkpoint_kept(output, monkeypatch, capsys):
    for name in SECOND:
        (output / "folds" / name).unlink()
    path = output / "folds" / FIRST[1]
    quick = dataclasses.replace(load_member(path), stages={"train": Stage(1e-3, 1, 1e3, None)})
    save_member(path, quick, "mine")
    run_out(monkeypatch)
    ensemble = fit(output)
    assert len(ensemble.members) == 1 and ensemble.missing == ["fold 1 seed 1"]
    line = "fold 1 seed 1 cannot finish within max_hours; finished epochs are kept"
    assert line in capsys.readouterr().out
    assert list_files(output) == ["checkpoint_fold1_seed1.npz", *FIRST]


def test_an_ensemble_is_yielded_after_every_network(tmp_path, capsys):
    run, method = make_run(tmp_path / "out", **SMALL), make_method(**SMALL)
    ensembles = fit_members(method, PATCHES, FOLDS, run, make_device())
    first = next(ensembles)
    assert [m.fold for m in first.members] == [0] and first.missing == ["fold 1 seed 1"]
    assert list_files(tmp_path / "out") == FIRST  # the second is not started
    (member,) = first.members
    auc = roc_auc_score(LABELS[member.positions], member.oof)
    speed = f"{member.stages['train'].images_per_second:,.0f} images/s, {member.place}"
    line = f"fold 0 seed 0 out-of-fold AUC {auc:.4f}, epochs 2, {speed}"
    lines, progress = capsys.readouterr().out.splitlines(), Progress(lambda: 0)
    assert lines[-1] == line
    said = [progress.describe(80) for line in lines if progress.read(line)]
    first, last = (f"1 of 2, fold 0 epoch {epoch} of 2, val_auc " for epoch in (1, 2))
    assert said[0].startswith(first) and said[1].startswith(last)
    assert progress.describe(80) == "2 of 2, starting the next, 0 s so far"
    (second,) = ensembles
    assert [m.fold for m in second.members] == [0, 1] and second.missing == []


def test_a_kept_network_gives_the_run_s_predictions_again(finished):
    output, ensemble = finished
    method = make_method("flip", **SMALL)
    for member, name in zip(ensemble.members, (FIRST[0], SECOND[0]), strict=True):
        network, facts = load_network(output / "folds" / name)
        test, _ = method.predict(network, PATCHES.test_images)
        assert np.abs(test - member.test).max() < 1e-6
        assert (facts["fold"], facts["seed"]) == (member.fold, member.seed)
        assert facts["oof_auc"] == roc_auc_score(LABELS[member.positions], member.oof)
        assert (facts["method"], facts["tta"], facts["recipe"]) == ("Finetune", "flip", "small")
        assert facts["settings"]["epochs"] == 2


def test_a_network_that_fails_ends_no_other(tmp_path, monkeypatch, capsys):
    def fail(patches, split, *rest):
        if split.name == "fold 0 seed 0":
            raise FloatingPointError("the loss is not a number")
        return fit_as_ever(self, patches, split, *rest)

    run, method = make_run(tmp_path / "out", **SMALL), make_method(**SMALL)
    self, fit_as_ever = method, type(method).fit
    monkeypatch.setattr(type(method), "fit", lambda self, *rest: fail(*rest))
    *_, last = fit_members(method, PATCHES, FOLDS, run, make_device())
    assert [member.fold for member in last.members] == [1] and last.missing == ["fold 0 seed 0"]
    failure = "warning: fold 0 seed 0 failed: FloatingPointError: the loss is not a number"
    assert last.warnings == (failure,) and "in fail" in capsys.readouterr().err
    monkeypatch.setattr(type(method), "fit", lambda self, *rest: 1 / 0)
    run = make_run(tmp_path / "none", **SMALL)
    with pytest.raises(ValueError, match="fold 0 seed 0 failed: ZeroDivisionError"):
        list(fit_members(method, PATCHES, FOLDS, run, make_device()))


def test_predictions_that_are_not_finite_are_not_kept(tmp_path, monkeypatch):
    run, method = make_run(tmp_path / "out", **SMALL), make_method(**SMALL)
    nothing = np.full(16, np.nan, "float32")
    monkeypatch.setattr(type(method), "predict", lambda *inputs: (nothing, nothing))
    with pytest.raises(ValueError, match="numbers that are not finite"):
        list(fit_members(method, PATCHES, FOLDS, run, make_device()))
    assert not list((tmp_path / "out" / "folds").glob("fold*"))


def test_a_network_whose_worker_is_killed_late_is_submitted(tmp_path):
    """As if the system had killed a worker while it explained its network."""
    run, method = make_run(tmp_path / "out", **SMALL), make_method(**SMALL)
    ensembles = fit_members(
        method, PATCHES, FOLDS, run, make_device(2), explain=lambda *inputs: os._exit(9)
    )
    *_, last = ensembles
    assert len(last.members) >= 1 and "a worker was killed" in last.warnings[-1]
    assert "is not explained: unfinished" in last.warnings[0]
    assert {member.fold for member in last.members} <= {0, 1}


def test_a_network_that_cannot_be_saved_counts_with_a_warning(tmp_path, monkeypatch):
    def fail(*inputs):
        raise TypeError("a layer that cannot be saved")

    monkeypatch.setattr(members_module, "save_network", fail)
    ensemble = fit(tmp_path / "out", folds=(0,))
    assert ensemble.warnings == ("warning: fold 0 seed 0 is not kept for predict",)
    assert ensemble.files == (f"folds/{FIRST[1]}",) and len(ensemble.members) == 1


def test_an_explanation_that_fails_costs_no_network(finished, tmp_path, capsys):
    def fail(*inputs):
        raise MemoryError("too many maps")

    ensemble = fit(tmp_path / "out", explainer=fail)
    assert list_files(tmp_path / "out") == NAMES
    for member, whole in zip(ensemble.members, finished[1].members, strict=True):
        assert member.explanation is None and (member.test == whole.test).all()
    warnings = [
        f"warning: fold {n} seed {n} is not explained: MemoryError: too many maps" for n in (0, 1)
    ]
    assert list(ensemble.warnings) == warnings
    assert list(fit(tmp_path / "out").warnings) == warnings  # loaded
    assert "in fail" in capsys.readouterr().err  # where it failed


def test_two_workers_train_what_one_trains(finished, tmp_path):
    ensemble = fit(tmp_path / "out", num_workers=2)
    assert list_files(tmp_path / "out") == NAMES
    for member, alone in zip(ensemble.members, finished[1].members, strict=True):
        assert (member.fold, member.seed) == (alone.fold, alone.seed)
        assert np.allclose(member.oof, alone.oof, atol=1e-3)
        assert np.allclose(member.test, alone.test, atol=1e-3)
