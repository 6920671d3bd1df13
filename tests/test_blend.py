"""Blends: from saved predictions, measured out of fold, ready to submit."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import read_rows
from sklearn.metrics import roc_auc_score

import build
from kernel.blend import blend_oof, blend_runs, fit_weights
from kernel.remote.client import Client
from kernel.remote.push import push_kernel
from kernel.remote.submit import submit_predictions
from pcam_kaggle.inference.ensemble import ensemble_predictions

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 2, 300)
IDS = [f"train{i}" for i in range(300)]
TEST_IDS = [f"test{i}" for i in range(40)]


def write_run(
    folder, noise, seed, ids=IDS, labels=LABELS, test_ids=TEST_IDS, slides=None, **entries
):
    """A run's folder with predictions as good as the noise lets them be."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    logits = 2 * labels - 1 + noise * random.standard_normal(len(ids))
    predictions = 1 / (1 + np.exp(-logits))
    folds = np.arange(len(ids)) % 3
    columns = {"id": ids, "label": labels, "fold": folds, "prediction": predictions}
    columns |= {} if slides is None else {"slide": slides}
    pd.DataFrame(columns).to_csv(folder / "oof.csv", index=False)
    test = {"id": test_ids, "label": random.random(len(test_ids))}
    pd.DataFrame(test).to_csv(folder / "submission.csv", index=False)
    record = {"build_id": f"{seed:010d}", "edited": False, **entries}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def folders(tmp_path):
    """Two fair runs and one of noise."""
    return [
        write_run(tmp_path / name, noise, seed)
        for seed, (name, noise) in enumerate([("a", 1.5), ("b", 1.5), ("c", 50)])
    ]


@pytest.mark.parametrize("method", ["mean", "rank", "logit", "fitted"])
def test_a_blend_is_the_ensemble_of_its_runs(folders, tmp_path, method, capsys):
    blend = blend_runs(folders[:2], method, tmp_path / "runs")
    oof = pd.read_csv(blend / "oof.csv")
    auc = roc_auc_score(oof["label"], oof["prediction"])
    run = json.loads((blend / "run.json").read_text())
    assert run["oof_auc"] == pytest.approx(auc, abs=1e-3)
    assert run["members"] == ["a", "b"]
    single = [pd.read_csv(folder / "oof.csv") for folder in folders[:2]]
    assert all(auc > roc_auc_score(t["label"], t["prediction"]) for t in single)
    tests = [pd.read_csv(folder / "submission.csv")["label"] for folder in folders[:2]]
    blended = pd.read_csv(blend / "submission.csv")
    assert list(blended["id"]) == TEST_IDS
    if method in ("mean", "fitted"):
        expected = np.average(tests, axis=0, weights=run["weights"])
        assert np.allclose(blended["label"], expected)
    text = capsys.readouterr().out
    assert "300 out-of-fold predictions in common" in text
    assert f"{run['oof_auc']:.4f}" in text and "+0.0" in text
    assert "intervals by patch: too narrow for other slides" in text
    for row in run["adds"]:
        (low, high), adds = row["interval"], row["adds"]
        assert low < adds < high and f"{adds:+.4f} ({low:+.4f} to {high:+.4f})" in text
    assert (run["num_patches"], run["num_slides"], run["warnings"]) == (300, None, [])


def test_fitted_weights_leave_noise_out_and_never_see_their_own_fold(folders):
    oof = np.stack([pd.read_csv(f / "oof.csv")["prediction"] for f in folders])
    weights = fit_weights(oof, LABELS)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    assert weights[2] < 0.1 < min(weights[:2])
    folds = np.arange(300) % 3
    blended = blend_oof(oof, LABELS, folds, "fitted")
    other = LABELS.copy()
    other[folds == 1] = 1 - other[folds == 1]
    changed = blend_oof(oof, other, folds, "fitted")
    assert (changed == blended)[folds == 1].all()
    assert (changed != blended)[folds == 0].any()
    one = blend_oof(oof, LABELS, np.zeros(300), "fitted")
    assert roc_auc_score(LABELS, one) > 0.8
    with pytest.raises(ValueError, match="rise with the labels"):
        fit_weights(-LABELS[None].astype(float), LABELS)


def test_only_images_in_common_count(folders, tmp_path, capsys):
    part = write_run(tmp_path / "d", 1.5, 7, ids=IDS[100:], labels=LABELS[100:])
    blend_runs([folders[0], part], runs=tmp_path / "runs")
    assert "200 out-of-fold predictions in common" in capsys.readouterr().out


def test_the_slides_of_either_run_are_drawn_and_kept(folders, tmp_path, capsys):
    """They are known only where a map of them was given."""
    slides = [f"slide_{i % 9}" for i in range(300)]
    other = write_run(tmp_path / "d", 1.5, 7, slides=slides)
    blend = blend_runs([folders[0], other], runs=tmp_path / "runs")
    assert "intervals by slide: 9 slides" in capsys.readouterr().out
    assert json.loads((blend / "run.json").read_text())["num_slides"] == 9
    oof = pd.read_csv(blend / "oof.csv")
    assert list(oof) == ["id", "label", "fold", "prediction", "slide"]
    assert oof["slide"].tolist() == slides


SHARED = "folds share slides, expect about 0.03 less on others"


@pytest.mark.parametrize(
    "first, second, grouping, estimate, note",
    [
        ({"grouping": "slide", "estimate": ""}, {"grouping": "patch"}, "patch", SHARED, True),
        ({"grouping": "patch", "estimate": SHARED}, {"grouping": "patch"}, "patch", SHARED, False),
        ({"grouping": "slide"}, {"grouping": "slide"}, "slide", "", False),
        ({"grouping": "slide"}, {}, "", "", False),  # of an earlier version
    ],
)
def test_a_blend_says_whether_its_folds_share_slides(
    tmp_path, capsys, first, second, grouping, estimate, note
):
    slides = [f"slide_{i % 9}" for i in range(300)]
    parts = [
        write_run(tmp_path / "a", 1.5, 1, slides=slides, **first),
        write_run(tmp_path / "b", 1.5, 2, **second),
    ]
    blend = blend_runs(parts, runs=tmp_path / "runs")
    record = json.loads((blend / "run.json").read_text())
    assert (record["grouping"], record["estimate"]) == (grouping, estimate)
    text = capsys.readouterr().out
    worth = "intervals by slide: 9 slides" + f"; {estimate}" * bool(estimate)
    assert f"{worth}\n" in text
    assert ("grouped differently (a by slide, b by patch): folds by patch share" in text) == note


@pytest.mark.parametrize("name", ["NA", "nan", "None", "null"])
def test_a_slide_may_have_any_name(folders, tmp_path, name):
    slides = [name if i % 9 == 0 else f"slide_{i % 9}" for i in range(300)]
    other = write_run(tmp_path / "d", 1.5, 7, slides=slides)
    blend = blend_runs([folders[0], other], runs=tmp_path / "runs")
    assert json.loads((blend / "run.json").read_text())["num_slides"] == 9


@pytest.mark.parametrize("value", ["", "nan", "NA", "inf", "high"])
def test_a_prediction_that_is_no_number_is_named(folders, tmp_path, value):
    oof = pd.read_csv(folders[1] / "oof.csv", dtype=str)
    oof.loc[3, "prediction"] = value
    oof.to_csv(folders[1] / "oof.csv", index=False)
    with pytest.raises(ValueError, match=r"oof\.csv: expected finite numbers"):
        blend_runs(folders[:2], runs=tmp_path / "runs")


def test_a_patch_without_its_slide_is_named(folders, tmp_path):
    other = write_run(tmp_path / "d", 1.5, 7, slides=["", *["a"] * 299])
    with pytest.raises(ValueError, match=r"oof\.csv: expected every slide. Received: empty"):
        blend_runs([folders[0], other], runs=tmp_path / "runs")


@pytest.mark.parametrize("method", ["mean", "rank", "logit"])
def test_a_blend_below_its_best_run_is_refused(folders, tmp_path, method, capsys):
    pair = [folders[0], folders[2]]  # a fair run and one of noise
    runs = tmp_path / "runs"
    words = r"the blend \(0\.\d{4}\) scores below its best run a \(0\.\d{4}\)\. Try.*--anyway"
    with pytest.raises(ValueError, match=words):
        blend_runs(pair, method, runs)
    assert not runs.exists()
    assert "+0." in capsys.readouterr().out  # what each adds is said nevertheless
    blend = blend_runs(pair, method, runs, anyway=True)
    (warning,) = json.loads((blend / "run.json").read_text())["warnings"]
    assert warning.startswith("warning: the blend (0.")
    assert warning in capsys.readouterr().out and (blend / "submission.csv").exists()


@pytest.mark.parametrize(
    "sizes, num_common, least",
    [
        ((300, 200), 99, 100),  # half of the smaller run's
        ((300, 200), 100, None),
        ((3_000, 1_500), 999, 1_000),
        ((5_000, 3_000), 1_499, 1_500),
        ((5_000, 3_000), 1_500, None),
        ((1_200, 1_200), 1_000, None),
    ],
)
def test_a_blend_that_rests_on_few_predictions_is_refused(tmp_path, sizes, num_common, least):
    labels = np.arange(10_000) % 2
    first = [f"train{i}" for i in range(sizes[0])]
    start = sizes[0] - num_common
    second = [f"train{i}" for i in range(start, start + sizes[1])]
    parts = [
        write_run(tmp_path / "a", 1.5, 1, first, labels[: sizes[0]]),
        write_run(tmp_path / "b", 1.5, 2, second, labels[start : start + sizes[1]]),
    ]
    runs = tmp_path / "runs"
    if least:
        words = rf"expected {least:,} or more out-of-fold pred.*Received: {num_common:,}\. Try"
        with pytest.raises(ValueError, match=words):
            blend_runs(parts, runs=runs)
        assert not runs.exists()
    else:
        assert blend_runs(parts, runs=runs).exists()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"test_ids": TEST_IDS[1:]}, "a and d: expected the same test images.*39 in c"),
        ({"ids": [f"other{i}" for i in range(300)]}, "none in common"),
        ({"labels": 1 - LABELS}, "expected the same labels"),
        (
            {"ids": [*TEST_IDS, *(f"x{i}" for i in range(300))][:300]},
            "Received: 40 of the test pat",
        ),
        ({"seed": 0}, "two or more different runs. Received: a, d"),
    ],
)
def test_what_cannot_be_blended_is_named(folders, tmp_path, change, words):
    other = write_run(tmp_path / "d", **{"noise": 1.5, "seed": 7, **change})
    with pytest.raises(ValueError, match=words):
        blend_runs([folders[0], other], runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_method_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="unknown method 'median'"):
        blend_runs(folders[:2], "median", tmp_path / "runs")


@pytest.mark.parametrize("name", ["oof.csv", "submission.csv", "run.json"])
def test_a_run_without_predictions_is_named(folders, tmp_path, name):
    (folders[1] / name).unlink()
    with pytest.raises(ValueError, match=rf"{name} is not there"):
        blend_runs(folders[:2], runs=tmp_path / "runs")


def test_a_table_that_is_none_is_named(folders, tmp_path):
    (folders[1] / "oof.csv").write_text("id,prediction\nx,1\n")
    with pytest.raises(ValueError, match=r"oof\.csv: expected columns id,label,fold"):
        blend_runs(folders[:2], runs=tmp_path / "runs")


def test_a_blend_is_submitted_and_ranked_as_a_run(sandbox, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    ids = list(sandbox.service.judge.solution["id"])
    sample = [i for i, _ in read_rows(sandbox.service.data / "sample_submission.csv")]
    assert set(ids) == set(sample)
    for seed in (1, 2):
        write_run(tmp_path / "runs" / f"run{seed}", 1.5, seed, test_ids=sample)
    assert build.main(["blend", "run1", "run2", "--method", "rank"]) == 0
    push = tmp_path.glob("runs/blend-*/push.json")
    (path,) = push
    record = json.loads(path.read_text())
    assert record["service"] == "Kaggle"  # none of the runs was pushed
    path.write_text(json.dumps({**record, "service": "sandbox"}))
    assert build.main(["submit"]) == 0
    assert build.main(["leaderboard"]) == 0
    (sent,) = sandbox.service.state["submissions"]
    assert sent["description"].startswith("blend 2x rank cv=0.")
    assert record["build_id"] in sent["description"]
    assert (path.parent / "leaderboard.png").exists()
    assert "version None" not in capsys.readouterr().out
    assert build.main(["status"]) == 1
    assert "Received: a blend" in capsys.readouterr().err
    assert build.main(["runs"]) == 0


def test_a_blend_of_pushed_runs_belongs_to_their_service(sandbox, tmp_path):
    run = push_kernel(Client(), "demo", runs=tmp_path / "runs")
    for name in ("oof.csv", "submission.csv", "run.json"):
        source = write_run(tmp_path / f"made-{name}", 1.5, 3) / name
        (run / name).write_bytes(source.read_bytes())
    other = write_run(tmp_path / "other", 1.5, 4)
    blend = blend_runs([run, other], runs=tmp_path / "runs")
    assert json.loads((blend / "push.json").read_text())["service"] == "sandbox"
    with pytest.raises(ValueError, match="expected the ids of sample_submission"):
        submit_predictions(Client(), blend, runs=tmp_path / "runs")


def write_folds(folder, folds, settings=None, seed=7, **entries):
    """A run of some of three folds, its test predictions those of each fold's mean."""
    write_run(folder, 1.5, seed)
    oof = pd.read_csv(folder / "oof.csv")
    oof[oof["fold"].isin(folds)].to_csv(folder / "oof.csv", index=False)
    each = np.random.default_rng(5).random((3, len(TEST_IDS)))[list(folds)]
    test = {"id": TEST_IDS, "label": each.mean(axis=0)}
    pd.DataFrame(test).to_csv(folder / "submission.csv", index=False)
    record = {"build_id": f"{sum(folds):05d}{len(folds):05d}", "edited": False, **entries}
    record["settings"] = {"ensemble": "mean", "folds": list(folds), **(settings or {})}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("settings", [{}, {"recipe": "seed_resnet34", "figures": True}])
def test_folds_that_ran_apart_become_the_run_of_all(tmp_path, capsys, settings):
    """Also those that older versions ran, under a recipe's old name."""
    whole = write_folds(tmp_path / "whole", (0, 1, 2), settings)
    parts = [write_folds(tmp_path / "a", (0, 2), settings)]
    parts.append(write_folds(tmp_path / "b", (1,), settings))
    blend = blend_runs(parts, "mean", tmp_path / "runs")
    assert "2 runs of other folds of one recipe as one: a, b" in capsys.readouterr().out
    for name in ("oof.csv", "submission.csv"):
        one, all_in_one = (pd.read_csv(folder / name) for folder in (blend, whole))
        one, all_in_one = (t.sort_values("id") for t in (one, all_in_one))
        assert one["id"].tolist() == all_in_one["id"].tolist()
        assert np.allclose(one.iloc[:, -1], all_in_one.iloc[:, -1])
    both = blend_runs([*parts, write_run(tmp_path / "c", 1.5, 1)], "mean", tmp_path)
    assert json.loads((both / "run.json").read_text())["members"] == ["a + b", "c"]


@pytest.mark.parametrize("other", [{"epochs": 9}, {"recipe": "demo"}])
def test_folds_of_other_settings_are_not_put_together(tmp_path, other):
    parts = [write_folds(tmp_path / "a", (0, 2)), write_folds(tmp_path / "b", (1,), other)]
    with pytest.raises(ValueError, match="none in common"):
        blend_runs(parts, "mean", tmp_path / "runs")
    with pytest.raises(ValueError, match="two or more different runs"):
        blend_runs([parts[0], parts[0]], "mean", tmp_path / "runs")


def test_runs_of_several_methods_are_joined_by_log_odds_if_they_have_the_same_methods(tmp_path):
    several = {"members": ["midnight", "vit"]}
    both, one = ({name: {} for name in names} for names in (several["members"], ["midnight"]))
    parts = [
        write_folds(tmp_path / "a", (0, 2), several, calibration=both),
        write_folds(tmp_path / "b", (1,), several, calibration=both),
    ]
    blend = blend_runs(parts, "mean", tmp_path / "runs")
    tests = [pd.read_csv(folder / "submission.csv")["label"] for folder in parts]
    expected = ensemble_predictions(tests, "logit", [2 / 3, 1 / 3])
    assert np.allclose(pd.read_csv(blend / "submission.csv")["label"], expected)
    other = write_folds(tmp_path / "c", (1,), several, calibration=one)
    with pytest.raises(ValueError, match="none in common"):
        blend_runs([parts[0], other], "mean", tmp_path / "runs")
