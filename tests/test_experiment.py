"""A whole run on the genuine TIFFs: its files, what it keeps, what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, read_rows, write_rows
from pcam_kaggle.config import Config
from pcam_kaggle.experiment import describe_calibration, run_experiment
from pcam_kaggle.folds import make_stain_folds
from pcam_kaggle.validation import calibrate
from PIL import Image
from sklearn.metrics import roc_auc_score

from pcam_kaggle import jobs

FILES = {"submission.csv", "run.json", "history.csv", "oof.csv", "folds"}
PICTURES = {
    f"{name}.png"
    for name in (
        *("data_labels", "data_samples", "data_pixels", "data_means"),
        *("data_oddities", "data_stains"),
        *("curves", "roc", "scores", "errors", "gradcam"),
    )
}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "working"


def run(competition, out, **settings):
    config = Config(**{**TINY, **settings})
    return run_experiment(config, data=competition, output=out)


def test_a_run_leaves_its_files_and_they_agree(competition, out):
    result = run(competition, out)
    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "run.json").read_text()) == result

    submission = pd.read_csv(out / "submission.csv")
    sample = pd.read_csv(competition / "sample_submission.csv")
    assert submission["id"].tolist() == sample["id"].tolist()
    assert submission["label"].nunique() > 10

    oof = pd.read_csv(out / "oof.csv")
    labels = pd.read_csv(competition / "train_labels.csv").sort_values("id")
    assert oof["id"].tolist() == labels["id"].tolist()
    assert oof["label"].tolist() == labels["label"].tolist()
    auc = roc_auc_score(oof["label"], oof["prediction"])
    assert result["oof_auc"] == pytest.approx(auc)
    fold = oof[oof["fold"] == 1]
    auc = roc_auc_score(fold["label"], fold["prediction"])
    assert result["fold_auc"]["1"] == pytest.approx(auc)

    history = pd.read_csv(out / "history.csv")
    assert history[["fold", "epoch"]].to_numpy().tolist() == [
        [0, 1],
        [0, 2],
        [1, 1],
        [1, 2],
    ]
    assert result["settings"]["epochs"] == 2
    assert result["counts"] == {"train": 51, "positive": 20, "test": 16}
    assert result["num_parameters"] == 34_745
    assert {"python", "keras", "numpy", "pillow"} < set(result["packages"])
    stages = result["stages"]
    assert set(stages) == {
        "decode_train",
        "decode_test",
        "explore",
        "train",
        "predict_oof",
        "predict_test",
    }
    assert stages["train"]["images"] == 51 * 2  # two folds of half, two epochs
    for stage in stages.values():
        speed = stage["images"] / stage["seconds"]
        assert stage["images_per_second"] == pytest.approx(speed)


def test_a_run_draws_and_explains_itself(finished):
    assert {path.name for path in finished.iterdir()} == {
        *(FILES | PICTURES),
        "exploration.json",
    }
    run = json.loads((finished / "run.json").read_text())
    oof = pd.read_csv(finished / "oof.csv", dtype={"id": str})
    blank = json.loads((finished / "exploration.json").read_text())["blank"]
    left_out = run["cleaned"]["blank"]
    assert set(left_out) == set(blank["black"]["ids"] + blank["white"]["ids"])
    assert not set(left_out) & set(oof["id"]) and len(oof) == 51 - len(left_out)
    assert run["evaluation"]["adds"]["auc"] == pytest.approx(run["oof_auc"])
    assert sum(map(sum, run["evaluation"]["confusion"]["counts"])) == len(oof)
    assert len(run["evaluation"]["by_stain"]) == 2
    for name in PICTURES:
        with Image.open(finished / name) as picture:
            assert picture.width >= 1200, name
    assert Image.open(finished / "curves.png").size == (1500, 500)
    for path in (finished / "folds").iterdir():
        with np.load(path) as member:
            shown, maps = member["shown"], member["maps"]
            assert maps.shape == (len(shown), 96, 96) and len(shown) > 4
            assert len(set(shown)) == len(shown) <= 16


def test_what_cleaning_leaves_out_is_never_trained_on(competition, out, monkeypatch):
    """Black patches among the training images would be seen by the first layer."""
    seen = []
    batch = jobs.train_fold

    def watch(config, images, labels, folds, *given, **named):
        seen.append(folds)
        return batch(config, images, labels, folds, *given, **named)

    monkeypatch.setattr(jobs, "train_fold", watch)
    table = pd.read_csv(competition / "train_labels.csv").sort_values("id")
    black = table["id"].iloc[[0, 5]].tolist()
    for patch_id in black:
        path = competition / "train" / f"{patch_id}.tif"
        Image.fromarray(np.zeros((96, 96, 3), "uint8")).save(path)
    result = run(competition, out, clean=("blank", "duplicates"), folds=(0,))
    assert set(black) <= set(result["cleaned"]["blank"])
    assert result["cleaned"]["duplicates"] == []
    (folds,) = seen
    assert folds[[0, 5]].tolist() == [-1, -1]
    assert (folds == -1).sum() == len(result["cleaned"]["blank"])
    assert result["stages"]["train"]["images"] == 2 * (folds == 1).sum()


def test_cleaning_that_empties_a_fold_is_refused(competition, out):
    for path in (competition / "train").iterdir():
        Image.fromarray(np.zeros((96, 96, 3), "uint8")).save(path)
    with pytest.raises(ValueError, match="clean: expected both labels in every fold"):
        run(competition, out, clean=("blank",))


def test_a_change_of_session_settings_goes_on(competition, out, capfd):
    first = run(competition, out, folds=(0,))
    again = run(competition, out, folds=(0,), figures=True, max_hours=3.0)
    assert again["fingerprint"] == first["fingerprint"]
    assert "fold 0 seed 0 was finished before" in capfd.readouterr().out
    assert (out / "roc.png").exists() and not (out / "gradcam.png").exists()


def test_the_submission_is_the_ensemble_of_the_written_folds(competition, out):
    run(competition, out, ensemble="logit", num_seeds=2)
    files = sorted((out / "folds").iterdir())
    names = ["fold0_seed0", "fold0_seed1", "fold1_seed2", "fold1_seed3"]
    assert [path.stem for path in files] == names
    test = np.stack([np.load(path)["test"] for path in files]).astype("float64")
    odds = np.log(test / (1 - test)).mean(axis=0)
    submission = pd.read_csv(out / "submission.csv")
    assert np.allclose(submission["label"], 1 / (1 + np.exp(-odds)), rtol=1e-6)
    oof = pd.read_csv(out / "oof.csv")
    both = [np.load(path)["oof"] for path in files[:2]]
    first = oof[oof["fold"] == 0]["prediction"]
    assert np.allclose(first, np.mean(both, axis=0), rtol=1e-6)


def test_finished_folds_are_kept_and_give_the_same_bytes(competition, out, capsys):
    run(competition, out)
    whole = (out / "submission.csv").read_bytes()
    kept = out / "folds" / "fold0_seed0.npz"
    age = kept.stat().st_mtime_ns
    # As if the machine had died in fold 1, while it wrote.
    (out / "folds" / "fold1_seed1.npz").unlink()
    (out / "folds" / "partial-fold1_seed1.npz").write_bytes(b"half")
    (out / "submission.csv").unlink()
    (out / "run.json").unlink()
    capsys.readouterr()
    run(competition, out)
    lines = capsys.readouterr().out
    assert "fold 0 seed 0 was finished before" in lines
    assert "fold 1 seed 1 epoch  1/2" in lines and "fold 0 seed 0 epoch" not in lines
    assert (out / "submission.csv").read_bytes() == whole
    assert kept.stat().st_mtime_ns == age
    assert pd.read_csv(out / "history.csv")["fold"].tolist() == [0, 0, 1, 1]


def test_folds_of_an_attached_earlier_output_are_taken_over(
    competition, tmp_path, capsys
):
    first, second = tmp_path / "first", tmp_path / "second"
    run(competition, first)
    run(competition, tmp_path / "other", epochs=1, folds=(0,))
    # As Kaggle attaches a kernel's output: a folder beside the competition's.
    inputs = competition.parents[1]
    for name, source in (("pcam-demo", first), ("old", tmp_path / "other")):
        (inputs / name / "folds").mkdir(parents=True)
        fold = source / "folds" / "fold0_seed0.npz"
        shutil.copy(fold, inputs / name / "folds")
    capsys.readouterr()
    run(inputs, second)
    lines = capsys.readouterr().out
    assert f"{Path('pcam-demo', 'folds', 'fold0_seed0.npz')}: taken over" in lines
    old = Path("old", "folds", "fold0_seed0.npz")
    assert f"{old}: is from another run, not taken" in lines
    assert "fold 0 seed 0 epoch" not in lines and "fold 1 seed 1 epoch" in lines
    for name in ("submission.csv", "oof.csv"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_a_network_that_an_attached_output_has_begun_goes_on(
    competition, tmp_path, capsys, monkeypatch
):
    def lose_power(*_):
        raise RuntimeError("no power")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="no power"):
        patch.setattr(jobs, "predict_views", lose_power)
        run(competition, tmp_path / "first", folds=(0,))
    begun = tmp_path / "first" / "folds" / "checkpoint_fold0_seed0.npz"
    attached = competition.parents[1] / "pcam-demo" / "folds"
    attached.mkdir(parents=True)
    shutil.copy(begun, attached)
    capsys.readouterr()
    run(competition.parents[1], tmp_path / "second", folds=(0,))
    lines = capsys.readouterr().out
    assert "fold 0 seed 0 goes on after epoch 2/2" in lines and "| loss" not in lines
    run(competition, tmp_path / "whole", folds=(0,))
    second, whole = (tmp_path / name / "submission.csv" for name in ("second", "whole"))
    assert second.read_bytes() == whole.read_bytes()
    assert [p.name for p in (tmp_path / "second/folds").iterdir()] == [
        "fold0_seed0.npz"
    ]


def test_the_output_of_another_run_is_refused_and_stays(competition, out):
    run(competition, out, folds=(0,))
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match="is from another run"):
        run(competition, out, folds=(0,), epochs=1)
    assert before == {p: p.read_bytes() for p in out.iterdir() if p.is_file()}


def test_somebody_elses_submission_is_not_overwritten(competition, out):
    out.mkdir()
    (out / "submission.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"submission\.csv is from another run"):
        run(competition, out)
    assert (out / "submission.csv").read_text() == "mine"


def test_a_subset_of_folds_gives_those_rows_and_the_same_networks(
    competition, tmp_path
):
    run(competition, tmp_path / "both")
    run(competition, tmp_path / "one", folds=(1,))
    both, one = (pd.read_csv(tmp_path / n / "oof.csv") for n in ("both", "one"))
    assert one.equals(both[both["fold"] == 1].reset_index(drop=True))


def test_calibration_is_measured_and_the_map_applied_to_the_submission(
    competition, tmp_path
):
    plain = run(competition, tmp_path / "plain", folds=(0,))
    assert set(plain["calibration"]) == {"before"}
    low, high = plain["oof_auc_interval"]
    assert low <= plain["oof_auc"] <= high
    mapped = run(competition, tmp_path / "mapped", folds=(0,), calibration="platt")
    both = [
        pd.read_csv(tmp_path / name / "submission.csv")["label"]
        for name in ("plain", "mapped")
    ]
    if "refused" in mapped["calibration"]:
        expected = both[0]
    else:
        expected = calibrate(both[0], *mapped["calibration"]["map"])
    assert np.allclose(both[1], expected, atol=1e-6)
    assert np.array_equal(np.argsort(both[0]), np.argsort(both[1]))


def test_a_map_that_cannot_be_fitted_is_said_and_left_out(capsys):
    oof = pd.DataFrame({"label": [0, 0, 1, 1], "prediction": [0.9, 0.8, 0.2, 0.1]})
    described = describe_calibration(oof, "platt")
    assert set(described) == {"before", "refused"}
    assert "calibration=none" in capsys.readouterr().out
    oof["prediction"] = 1 - oof["prediction"]
    assert set(describe_calibration(oof, "platt")) == {"before", "map", "after"}


def test_hard_labels_and_fewer_images(competition, out):
    result = run(competition, out, labels="hard", num_images=30, folds=(0,))
    assert result["counts"]["train"] == 30
    assert {label for _, label in read_rows(out / "submission.csv")} <= {"0", "1"}


def test_stains_are_held_out_and_said_so(competition, out):
    result = run(competition, out, split="stain", epochs=1)
    assert set(result["fold_auc"]) == {"0", "1"}
    oof = pd.read_csv(out / "oof.csv")
    images = [Image.open(competition / "train" / f"{i}.tif") for i in oof["id"]]
    folds = make_stain_folds(np.stack([np.asarray(i) for i in images]), oof["label"])
    assert (oof["fold"] == folds).all()


def test_slides_stay_together(competition, tmp_path, out):
    ids = [patch_id for patch_id, _ in read_rows(competition / "train_labels.csv")]
    slides = {patch_id: f"slide{i % 6}" for i, patch_id in enumerate(ids)}
    write_rows(tmp_path / "map.csv", slides.items(), ("id", "slide"))
    run(competition, out, slide_map=str(tmp_path / "map.csv"))
    oof = pd.read_csv(out / "oof.csv")
    folds = oof.groupby(oof["id"].map(slides))["fold"].nunique()
    assert len(folds) == 6 and (folds == 1).all()


def damage_nothing(root):
    pass


def damage_image(root):
    min((root / "train").iterdir()).write_bytes(b"no image")


def damage_sample(root):
    rows = read_rows(root / "sample_submission.csv")
    write_rows(root / "sample_submission.csv", rows[1:])


def damage_labels(root):
    rows = read_rows(root / "train_labels.csv")
    write_rows(root / "train_labels.csv", rows[1:])


@pytest.mark.parametrize(
    "damage, settings, message",
    [
        (damage_image, {}, "not a TIFF"),
        (damage_sample, {}, "images without an id"),
        (damage_labels, {}, "images without an id"),
        (damage_nothing, {"num_folds": 21}, "only 20 positive images"),
        (damage_nothing, {"num_images": 1000}, "only 51 training images"),
        (damage_nothing, {"weights": "nowhere.h5"}, "weights='nowhere.h5'"),
        (damage_nothing, {"slide_map": "nowhere.csv"}, "nowhere.csv"),
        (damage_nothing, {"data": "nowhere"}, "competition data not found"),
    ],
)
def test_bad_input_writes_nothing(competition, out, damage, settings, message):
    damage(competition)
    data = settings.pop("data", competition)
    with pytest.raises((ValueError, OSError)) as error:
        run(data, out, **settings)
    assert message in str(error.value)
    assert list(out.iterdir()) == []


def test_the_stain_check_trains_on_each_colour_and_keeps_its_networks(competition, out):
    checked = run(competition, out, stain_check=True)
    names = {path.name for path in (out / "folds").iterdir()}
    assert {"stain0_seed0.npz", "stain1_seed0.npz", "fold0_seed0.npz"} <= names
    assert set(checked["stain_auc"]) == {"0", "1", "mean"}
    with np.load(out / "folds" / "stain0_seed0.npz") as kept:
        positions = kept["positions"]
        assert len(kept["test"]) == 0
    images = [Image.open(path) for path in sorted((competition / "train").iterdir())]
    labels = pd.read_csv(competition / "train_labels.csv").sort_values("id")["label"]
    folds = make_stain_folds(np.stack([np.asarray(i) for i in images]), labels)
    assert positions.tolist() == np.flatnonzero(folds == 0).tolist()
    submitted = (out / "submission.csv").read_bytes()
    run(competition, out.parent / "plain")
    assert (out.parent / "plain" / "submission.csv").read_bytes() == submitted


def test_seeds_are_reported_with_their_spread(competition, out):
    result = run(competition, out, num_seeds=2, folds=(0,), epochs=1)
    each = result["seed_auc"]["each"]
    assert len(each) == 2 and result["seed_auc"]["sd"] == pytest.approx(
        np.std(each, ddof=1)
    )
