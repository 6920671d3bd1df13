"""Whole runs on the genuine TIFFs: their files, what they keep, what they refuse."""

import io
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import TINY, lay_out, read_rows, write_rows
from PIL import Image
from sklearn.metrics import roc_auc_score
from small_task import build_tiny

from pcam_kaggle.analysis.groups import make_stain_folds
from pcam_kaggle.analysis.patches import measure_patches
from pcam_kaggle.data import run as run_module
from pcam_kaggle.data.competition import draw_images, load_labels
from pcam_kaggle.data.decode import load_images
from pcam_kaggle.data.folds import make_folds
from pcam_kaggle.inference.calibration import calibrate
from pcam_kaggle.inference.ensemble import log_odds
from pcam_kaggle.recipes import best, run_recipe
from pcam_kaggle.system.files import describe_files, read_json

FILES = {"submission.csv", "oof.csv", "history.csv", "run.json", "folds", ".lock"}
BLACK = [0, 5]  # places of the training patches that are blackened for the recipe best


def run(data, out, recipe="demo", **settings):
    settings = settings if recipe == "best" else {**TINY, **settings}
    return run_recipe(recipe, settings, data=data, output=out)


def list_warnings(result):
    """The warnings of a run, but for that of an AUC which two epochs cannot raise."""
    return [text for text in result["warnings"] if "learned nothing" not in text]


def read_oof(out):
    return pd.read_csv(out / "oof.csv", dtype={"id": str})


def read_submission(out):
    return pd.read_csv(out / "submission.csv", dtype={"id": str})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "working"


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, free to be changed."""
    return shutil.copytree(finished, tmp_path / "copied")


@pytest.fixture(scope="module")
def seeded(shared_competition, tmp_path_factory):
    """Two networks of the second of two folds, averaged by their log-odds."""
    out = tmp_path_factory.mktemp("seeded")
    run(shared_competition, out, num_seeds=2, folds=(1,), epochs=1, ensemble="logit")
    return out


@pytest.fixture(scope="module")
def calibrated(shared_competition, tmp_path_factory):
    """The second fold of the finished run, with a map of the log-odds."""
    out = tmp_path_factory.mktemp("calibrated")
    run(shared_competition, out, folds=(1,), calibration="platt")
    return out


@pytest.fixture(scope="module")
def sliced(shared_competition, tmp_path_factory):
    """A run on some patches, with slides and hard labels; and the slide of each patch."""
    out = tmp_path_factory.mktemp("sliced")
    ids = load_labels(shared_competition)["id"]
    slides = pd.Series([f"slide{n % 6}" for n in range(len(ids))], ids)
    write_rows(out / "map.csv", slides.items(), ("id", "slide"))
    settings = {"slide_map": str(out / "map.csv"), "num_images": 40, "labels": "hard"}
    run(shared_competition, out, folds=(0,), epochs=1, **settings)
    return out, slides


def build_frozen_tiny(settings, dtype="float32"):
    """A frozen network that knows nothing but a few colors."""
    inputs = keras.Input((96, 96, 3), dtype="uint8")
    colors = keras.layers.AveragePooling2D(24)(keras.ops.cast(inputs, "float32"))
    return keras.Model(inputs, keras.layers.Flatten()(colors), name="colors")


@pytest.fixture(scope="module")
def small_best():
    """The recipe best with tiny networks: DenseNet takes a minute to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best, "build_pretrained", lambda settings: build_tiny(settings))
        patch.setattr(best, "build_transformer", build_frozen_tiny)
        patch.setattr(best, "find_transformer_revision", lambda settings: "tiny")
        members = ("midnight", "densenet")
        training = {"training.epochs": 1, "training.batch_size": 8}
        yield {"recipe": "best", "members": members, "num_folds": 2, "tta": "flip", **training}


@pytest.fixture(scope="module")
def blackened(genuine, tmp_path_factory):
    """A competition with two black training patches."""
    data = lay_out(tmp_path_factory.mktemp("blackened"), genuine)
    for patch_id in load_labels(data)["id"].iloc[BLACK]:
        path = data / "train" / f"{patch_id}.tif"
        Image.fromarray(np.zeros((96, 96, 3), "uint8")).save(path)
    return data


@pytest.fixture(scope="module")
def checked(small_best, blackened, tmp_path_factory):
    """A run of the recipe best that is cleaned and has its stains checked."""
    out = tmp_path_factory.mktemp("checked")
    run(blackened, out, **small_best, folds=(0,), clean=("blank", "duplicates"))
    return out


class Interrupt(io.StringIO):
    """A standard output at which Ctrl-C is pressed as soon as some text is written."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def write(self, text):
        if self.text in text:
            raise KeyboardInterrupt
        return super().write(text)


def test_a_run_leaves_its_files_and_they_agree(finished, shared_competition):
    assert {path.name for path in finished.iterdir()} == FILES
    result = read_json(finished / "run.json")
    networks = [f"folds/fold{n}_seed{n}.{kind}" for n in (0, 1) for kind in ("npz", "keras")]
    names = ["submission.csv", "oof.csv", "history.csv", *networks]
    assert result["files"] == describe_files(finished, names) and result["complete"]

    submission = read_submission(finished)
    sample = read_rows(shared_competition / "sample_submission.csv")
    assert submission["id"].tolist() == [patch_id for patch_id, _ in sample]
    assert submission["label"].nunique() > 10

    oof, labels = read_oof(finished), load_labels(shared_competition)
    assert oof[["id", "label"]].equals(labels[["id", "label"]])
    assert result["oof_auc"] == pytest.approx(roc_auc_score(oof["label"], oof["prediction"]))
    rows = oof[oof["fold"] == 1]
    assert result["fold_auc"]["1"] == pytest.approx(
        roc_auc_score(rows["label"], rows["prediction"])
    )
    history = pd.read_csv(finished / "history.csv")
    assert history[["fold", "epoch"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


def test_a_run_records_what_it_was(finished):
    result = read_json(finished / "run.json")
    assert (result["schema"], result["recipe"]) == (3, "demo")
    assert result["settings"]["epochs"] == 2 and result["settings"]["folds"] == []
    assert result["counts"] == {"train": 51, "positive": 20, "test": 16}
    assert result["num_parameters"] == 34_745
    assert 34_000 < result["num_trainable"] < result["num_parameters"]
    assert {"python", "keras", "numpy", "pillow"} < set(result["packages"])
    assert result["not_trained"] == result["cut_short"] == list_warnings(result) == []
    stages = result["stages"]
    assert list(stages) == [
        "decode_train",
        "decode_test",
        "train",
        "predict_oof",
        "predict_test",
        "explain",
    ]
    assert stages["train"]["images"] == 51 * 2  # two folds of half, two epochs
    assert stages["predict_oof"]["images"] == 51 and stages["predict_test"]["images"] == 2 * 16
    for stage in stages.values():
        speed = stage["images"] / stage["seconds"]
        assert stage["images_per_second"] == pytest.approx(speed)


def test_each_network_explains_patches_of_its_fold(finished, shared_competition):
    images = load_images(load_labels(shared_competition), None)
    oof = read_oof(finished)
    for fold, path in enumerate(sorted((finished / "folds").glob("*.npz"))):
        with np.load(path) as member:
            arrays = dict(member)
        shown, maps, positions = arrays["shown"], arrays["maps"], arrays["positions"]
        assert positions.tolist() == np.flatnonzero(oof["fold"] == fold).tolist()
        assert 4 < len(shown) == len(set(shown)) <= 16
        assert maps.shape == (len(shown), 96, 96)
        assert maps.min() >= 0 and maps.max() == 1
        assert np.array_equal(arrays["patches"], images[positions[shown]])


def test_one_view_is_kept_beside_the_average_of_all(finished):
    with np.load(finished / "folds" / "fold0_seed0.npz") as member:
        assert member["oof"].shape == member["oof_one_view"].shape == (26,)
        assert np.abs(member["oof"] - member["oof_one_view"]).max() > 0
        fold = read_oof(finished).query("fold == 0")["prediction"]
        assert np.allclose(fold, member["oof"], rtol=1e-6)


def test_the_submission_is_the_ensemble_of_the_written_networks(seeded):
    files = sorted((seeded / "folds").glob("*.npz"))
    assert [path.stem for path in files] == ["fold1_seed2", "fold1_seed3"]
    test, oof = (np.stack([np.load(path)[name] for path in files]) for name in ("test", "oof"))
    assert np.abs(test[0] - test[1]).max() > 1e-3
    odds = np.log(test / (1 - test.astype("float64"))).mean(axis=0)
    assert np.allclose(read_submission(seeded)["label"], 1 / (1 + np.exp(-odds)), rtol=1e-6)
    assert np.allclose(read_oof(seeded)["prediction"], oof.mean(axis=0), rtol=1e-6)
    history = pd.read_csv(seeded / "history.csv")
    assert history[["fold", "seed"]].to_numpy().tolist() == [[1, 2], [1, 3]]


def test_a_run_that_died_submits_what_it_has_and_trains_the_rest_to_the_same_bytes(
    copied, shared_competition, monkeypatch, capsys
):
    whole = (copied / "submission.csv").read_bytes()
    kept = copied / "folds" / "fold0_seed0.npz"
    age = kept.stat().st_mtime_ns
    # As if the machine had died in fold 1, while it wrote.
    (copied / "folds" / "fold1_seed1.npz").unlink()
    (copied / "folds" / "partial-0123abcd-fold1_seed1.npz").write_bytes(b"half")
    (copied / "submission.csv").unlink()
    (copied / "run.json").unlink()

    with monkeypatch.context() as patch:  # no time is left
        patch.setattr(run_module, "RESERVE", 1e9)
        result = run(shared_competition, copied)
    assert "fold 1 seed 1 is not started" in capsys.readouterr().out
    assert result["not_trained"] == ["fold 1 seed 1"] and result["cut_short"] == []
    (warning,) = list_warnings(result)
    assert "not trained: fold 1 seed 1" in warning and not result["complete"]
    assert set(read_oof(copied)["fold"]) == {0}
    assert np.allclose(read_submission(copied)["label"], np.load(kept)["test"], rtol=1e-6)

    result = run(shared_competition, copied)
    lines = capsys.readouterr().out
    assert "fold 0 seed 0 was finished before" in lines
    assert "fold 1 seed 1 epoch  1/2" in lines and "fold 0 seed 0 epoch" not in lines
    assert result["not_trained"] == list_warnings(result) == []
    assert (copied / "submission.csv").read_bytes() == whole
    assert kept.stat().st_mtime_ns == age
    assert pd.read_csv(copied / "history.csv")["fold"].tolist() == [0, 0, 1, 1]


def test_without_any_network_it_is_said_how_to_continue(shared_competition, out, monkeypatch):
    monkeypatch.setattr(run_module, "RESERVE", 1e9)
    with pytest.raises(ValueError, match="max_hours: no network could be finished"):
        run(shared_competition, out)
    assert not (out / "submission.csv").exists()


def test_networks_of_an_attached_output_are_taken_over_finished_or_not(
    copied, finished, seeded, competition, out, monkeypatch, capsys
):
    (copied / "folds" / "fold1_seed1.npz").unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sys, "stdout", Interrupt("fold 1 seed 1 epoch  2/2"))
        run(competition, copied)
    # As Kaggle attaches a kernel's output: a folder beside the competition's.
    inputs = competition.parents[1]
    shutil.copytree(copied / "folds", inputs / "pcam-demo" / "folds")
    other = inputs / "old" / "folds" / "fold0_seed0.npz"
    other.parent.mkdir(parents=True)
    shutil.copy(seeded / "folds" / "fold1_seed2.npz", other)
    capsys.readouterr()
    run(inputs, out)
    lines = capsys.readouterr().out
    for name in ("fold0_seed0.npz", "checkpoint_fold1_seed1.npz"):
        assert f"{Path('pcam-demo', 'folds', name)}: taken over" in lines
    assert f"{Path('old', 'folds', 'fold0_seed0.npz')} is from another run" in lines
    assert "fold 0 seed 0 epoch" not in lines
    assert "fold 1 seed 1 resumes after epoch 1/2" in lines and lines.count("  loss") == 1
    for name in ("submission.csv", "oof.csv"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()
    left = {path.name for path in (out / "folds").iterdir()}
    assert left == {f"fold{n}_seed{n}.{kind}" for n in (0, 1) for kind in ("npz", "keras")}


def test_another_limit_of_hours_is_the_same_run(copied, shared_competition, capsys):
    before = read_json(copied / "run.json")
    again = run(shared_competition, copied, max_hours=3.0)
    assert again["fingerprint"] == before["fingerprint"]
    lines = capsys.readouterr().out
    assert lines.count("was finished before") == 2 and "  loss" not in lines
    assert again["stages"]["train"] == before["stages"]["train"]  # of when it was trained


def test_the_output_of_another_run_is_refused_and_stays(copied, shared_competition):
    before = {path: path.read_bytes() for path in copied.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match="is from another run"):
        run(shared_competition, copied, epochs=1)
    assert before == {p: p.read_bytes() for p in copied.iterdir() if p.is_file()}


def test_somebody_elses_submission_is_not_overwritten(shared_competition, out):
    out.mkdir()
    (out / "submission.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"submission\.csv is from another run"):
        run(shared_competition, out)
    assert (out / "submission.csv").read_text() == "mine"


def test_a_subset_of_folds_has_the_same_rows_and_the_same_network(finished, calibrated):
    both, one = read_oof(finished), read_oof(calibrated)
    both = both[both["fold"] == 1].reset_index(drop=True)
    columns = ["id", "label", "fold"]  # the predictions of the calibrated run are mapped
    assert one[columns].equals(both[columns])
    test = [np.load(out / "folds" / "fold1_seed1.npz")["test"] for out in (finished, calibrated)]
    assert np.array_equal(*test)


def test_the_map_of_a_network_is_applied_to_the_submission(finished, calibrated):
    assert read_json(finished / "run.json")["calibration"]["maps"] is None
    found = read_json(calibrated / "run.json")["calibration"]
    plain = np.load(calibrated / "folds" / "fold1_seed1.npz")["test"]
    mapped = read_submission(calibrated)["label"]
    expected = plain if found["refused"] else calibrate(plain, *found["maps"]["fold1_seed1"])
    assert np.allclose(mapped, expected, atol=1e-6)
    assert np.array_equal(np.argsort(plain), np.argsort(mapped))
    assert set(found["before"]) == {"ece", "brier"}
    assert (found["after"] is None) == (found["refused"] is not None)


def test_hard_labels_are_submitted_from_fewer_patches(sliced):
    out, _ = sliced
    assert read_json(out / "run.json")["counts"]["train"] == 40
    assert {label for _, label in read_rows(out / "submission.csv")} <= {"0", "1"}


def test_slides_stay_together(sliced):
    out, slides = sliced
    drawn = slides.iloc[draw_images(len(slides), 40, seed=0)]
    is_held_out = pd.Series(drawn.index.isin(read_oof(out)["id"]), drawn.to_numpy())
    oof = read_oof(out)
    assert oof["slide"].tolist() == slides[oof["id"]].tolist()
    assert read_json(out / "run.json")["grouping"] == "slide"
    by_slide = is_held_out.groupby(level=0)
    assert len(by_slide) == 6 and (by_slide.nunique() == 1).all()
    assert is_held_out.any() and not is_held_out.all()


def test_what_cleaning_leaves_out_is_in_no_fold(checked, blackened):
    result, table = read_json(checked / "run.json"), load_labels(blackened)
    left_out = result["cleaned"]["blank"]
    assert set(table["id"].iloc[BLACK]) <= set(left_out)
    assert result["cleaned"]["duplicates"] == []  # the black ones are blank already
    folds = make_folds(table["label"], 2, seed=0)
    folds[table["id"].isin(left_out)] = -1
    assert read_oof(checked)["id"].tolist() == table["id"][folds == 0].tolist()
    assert result["stages"]["train"]["images"] == 2 * (folds == 1).sum()  # two members


def test_cleaning_that_empties_a_fold_is_refused(competition, out):
    for path in (competition / "train").iterdir():
        Image.fromarray(np.zeros((96, 96, 3), "uint8")).save(path)
    with pytest.raises(ValueError, match="clean: expected both labels in every fold"):
        run(competition, out, recipe="course_resnet34", num_images=0, clean=("blank",))
    assert {path.name for path in out.iterdir()} <= {".lock"}


def test_members_are_averaged_and_what_each_adds_is_in_the_record(checked):
    result = read_json(checked / "run.json")
    names = {f"{member}_fold0_seed0" for member in ("midnight", "densenet")}
    files = {path.name for path in (checked / "folds").iterdir()}
    assert files == {f"{name}.{kind}" for name in names for kind in ("npz", "keras")}
    members = [np.load(checked / "folds" / f"{name}.npz") for name in sorted(names)]
    for kind, table, column in (
        ("test", read_submission(checked), "label"),
        ("oof", read_oof(checked), "prediction"),
    ):
        mean = np.mean([log_odds(member[kind]) for member in members], axis=0)
        assert np.allclose(log_odds(table[column]), mean, atol=1e-5)
    labels, together = read_oof(checked)["label"], read_oof(checked)["prediction"]
    densenet, midnight = (roc_auc_score(labels, member["oof"]) for member in members)
    added = {part["run"]: part["adds"] for part in result["adds"]}
    whole = roc_auc_score(labels, together)
    expected = {"midnight": whole - densenet, "densenet": whole - midnight}
    assert added == pytest.approx(expected)
    assert result["complete"] and not (checked / "features").exists()


def test_folds_of_stains_hold_one_color_out(small_best, shared_competition, out):
    settings = {**small_best, "members": ("densenet",), "split": "hue", "folds": (1,)}
    result = run(shared_competition, out, **settings)
    assert set(result["fold_auc"]) == {"1"} and result["grouping"] == "hue"
    assert result["estimate"] == "slides are unknown, and folds may share some"
    table = load_labels(shared_competition)
    folds = make_stain_folds(measure_patches(load_images(table, None)), table["label"])
    assert read_oof(out)["id"].tolist() == table["id"][folds == 1].tolist()


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
        (damage_sample, {}, "1 image without an id"),
        (damage_labels, {}, "1 image without an id"),
        (damage_nothing, {"num_folds": 21}, "positive images (20)"),
        (damage_nothing, {"num_images": 1000}, "only 51 training images"),
        (damage_nothing, {"weights": "nowhere.h5"}, "weights='nowhere.h5'"),
        (damage_nothing, {"slide_map": "nowhere.csv"}, "nowhere.csv"),
        (damage_nothing, {"data": "nowhere"}, "competition data not found"),
    ],
)
def test_bad_input_writes_nothing(competition, out, damage, settings, message):
    damage(competition)
    settings = {"data": competition, **settings}
    with pytest.raises((ValueError, OSError)) as error:
        run(out=out, **settings)
    assert message in str(error.value)
    assert {path.name for path in out.iterdir()} <= {".lock"}
