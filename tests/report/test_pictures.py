"""The pictures of a run are drawn at home, whatever pictures lie in its folder."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from report_runs import draw, make_exploration, make_run, make_study
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from kernel.report.reading import read_run
from pcam_kaggle.system.files import hash_file
from pcam_kaggle.system.records import load_member, save_member

PICTURES = {"curves.png", "roc.png", "scores.png", "errors.png", "gradcam.png"}
PICTURES |= {"network_densenet121.png"}


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def draw_all(*folders):
    return draw([read_run(folder, folders[0]) for folder in folders])


def test_earlier_pictures_are_replaced_whoever_drew_them(run):
    hashes = {}
    for name in PICTURES:
        (run / name).write_bytes(b"forged")
        hashes[name] = [hash_file(run / name)] * 3
    (run / "pictures.json").write_text(json.dumps(hashes))
    draw_all(run)
    assert {path.name for path in run.glob("*.png")} == PICTURES
    assert all((run / name).read_bytes().startswith(b"\x89PNG") for name in PICTURES)


def test_what_is_made_of_a_run_may_lie_elsewhere(run, tmp_path):
    (tmp_path / "made").mkdir()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    read = dataclasses.replace(read_run(run, run), made=tmp_path / "made")
    (run / "roc.png").write_bytes(b"forged")
    draw([read])
    assert {path.name for path in read.made.iterdir()} == {*PICTURES, "evaluation.json"}
    assert read.find("roc.png") == read.made / "roc.png"
    (run / "roc.png").unlink()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def list_rows(figure):
    """The first words of the rows of errors.png."""
    return [label.get_text().split("\n")[0] for label in figure.axes[1].get_yticklabels()]


def test_an_exploration_adds_the_errors_by_stain(run, tmp_path, drawn):
    evaluation = draw_all(run).evaluation
    assert evaluation.by_stain == ()
    assert list_rows(drawn.figures[-1]) == ["all"]
    images = np.random.default_rng(0).integers(90, 215, (60, 96, 96, 3))
    explored = make_exploration(tmp_path / "eda", images.astype("uint8"))
    patches = pd.read_csv(explored / "patches.csv")
    patches.iloc[10:].to_csv(explored / "patches.csv", index=False)
    evaluation = draw_all(run, explored).evaluation
    assert sum(scores.patches for scores in evaluation.by_stain) == 50
    assert list_rows(drawn.figures[-1]) == ["all", "stain 1", "stain 2"]
    written = json.loads((run / "evaluation.json").read_text())
    assert written["auc"] == evaluation.auc


def test_a_study_is_drawn_wherever_it_stands(run, tmp_path):
    studies = [make_study(tmp_path / name) for name in ("first", "second")]
    assert draw_all(*studies) is None
    assert draw_all(run, *studies) is not None
    assert all((study / "study.png").is_file() for study in studies)


def test_a_study_of_one_completed_trial_has_no_picture(tmp_path):
    study = make_study(tmp_path / "study")
    rows = ["number,state,value", "0,COMPLETE,0.9", "1,PRUNED,0.91", "2,COMPLETE,"]
    (study / "study.csv").write_text("\n".join(rows) + "\n")
    (study / "study.png").write_bytes(b"of earlier trials")
    draw_all(study)
    assert not (study / "study.png").exists()


def test_the_trials_within_noise_are_named(tmp_path, drawn):
    known = {"highest": 1, "highest_auc": 0.91}
    first = make_study(tmp_path / "first", **known, within_noise=[0])
    draw_all(first)
    assert not (first / "study.png").exists()  # nothing to show
    with (first / "study.csv").open("a") as file:
        file.write("2,COMPLETE,0.8\n")
    draw_all(first)
    draw_all(make_study(tmp_path / "second", **known, within_noise=[]))
    notes = [note for figure in drawn.figures if (note := figure.get_supxlabel())]
    assert "not significantly below the highest: trial 0" in " ".join(notes[0].split())
    assert "significantly" not in notes[1]


def test_networks_that_explain_nothing_leave_no_maps(run):
    for path in (run / "folds").iterdir():
        member = dataclasses.replace(load_member(path), explanation=None)
        save_member(path, member, "f" * 10)
    draw_all(run)
    assert not (run / "gradcam.png").exists()


def test_views_seeds_and_likeness_are_measured_from_the_networks_files(run):
    assessment = draw_all(run)
    members = [load_member(path) for path in sorted((run / "folds").iterdir())]
    tests = [member.test for member in members]
    assert assessment.test_correlation == pytest.approx(spearmanr(*tests).statistic)
    oof = pd.read_csv(run / "oof.csv")
    auc = roc_auc_score(oof["label"], oof["prediction"])
    assert assessment.seed_aucs == pytest.approx([auc])
    assert 0.5 < assessment.auc_one_view != auc
    (run / "folds" / "fold1_seed1.npz").unlink()  # not all of them are here
    assert draw_all(run).auc_one_view is None


def test_a_damaged_network_is_named(run):
    (run / "folds" / "fold1_seed1.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(ValueError, match=r"fold1_seed1\.npz is damaged"):
        draw_all(run)
