"""The end of a run: predictions averaged by fold, scores, files, what to mistrust."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from small_task import FOLDS, LABELS, build_tiny, make_device, make_run

from pcam_kaggle.models.settings import NetworkSettings
from pcam_kaggle.system.clock import Stage
from pcam_kaggle.system.files import describe_files, read_json
from pcam_kaggle.system.records import Ensemble, Member
from pcam_kaggle.training.results import announce, gather_oof, print_results, write_results

RANDOM = np.random.default_rng(0)


def make_member(fold, seed, **changes):
    """A member of the small task that was never trained."""
    positions = np.flatnonzero(fold == FOLDS)
    oof = np.clip(0.3 * LABELS[positions] + RANDOM.random(len(positions)), 0, 1)
    history = pd.DataFrame({"fold": [fold], "seed": [seed], "epoch": [1], "loss": [0.5]})
    stages = {"train": Stage(2.0, 32, 16.0, 1.0 + seed)}
    member = Member(fold, seed, positions, oof, oof, RANDOM.random(5), history, stages)
    return dataclasses.replace(member, **changes)


@pytest.fixture(scope="module")
def network():
    return build_tiny(NetworkSettings())


def test_several_networks_of_a_fold_are_averaged_and_other_folds_left_out(tmp_path):
    members = [make_member(2, 4), make_member(2, 5), make_member(0, 0)]
    oof = gather_oof(make_run(tmp_path / "out"), FOLDS, members)
    assert list(oof) == ["id", "label", "fold", "prediction"]
    assert oof.index.tolist() == np.flatnonzero(FOLDS != 1).tolist()
    assert oof["id"].tolist() == [f"id{n:02}" for n in oof.index]
    assert (oof["label"] == LABELS[oof.index]).all() and (oof["fold"] == FOLDS[oof.index]).all()
    second = oof[oof["fold"] == 2]["prediction"]
    assert np.allclose(second, (members[0].oof + members[1].oof) / 2)
    assert np.allclose(oof[oof["fold"] == 0]["prediction"], members[2].oof)


def test_a_finished_run_leaves_its_tables_and_its_record(tmp_path, network, capsys):
    run = make_run(tmp_path / "out")
    run.clock.end("decode_train", 48)
    ensemble = Ensemble([make_member(0, 0), make_member(1, 1)], [])
    expected = gather_oof(run, FOLDS, ensemble.members)
    (run.output / "submission.csv").write_text("id,label\n")
    size = announce(network)
    print_results(
        write_results(run, make_device(), size, expected, ensemble, cleaned={"blank": ["a"]})
    )
    oof = pd.read_csv(run.output / "oof.csv")
    assert oof["id"].tolist() == expected["id"].tolist()
    assert np.allclose(oof["prediction"], expected["prediction"])
    assert pd.read_csv(run.output / "history.csv")["fold"].tolist() == [0, 1]

    record = read_json(run.output / "run.json")
    auc = roc_auc_score(expected["label"], expected["prediction"])
    assert record["oof_auc"] == pytest.approx(auc)
    for fold, rows in expected.groupby("fold"):
        auc = roc_auc_score(rows["label"], rows["prediction"])
        assert record["fold_auc"][str(fold)] == pytest.approx(auc)
    assert list(record["fold_auc"]) == ["0", "1"]
    assert record["num_parameters"] == network.count_params()
    assert record["num_parameters"] - record["num_trainable"] == 8  # the statistics of 4 maps
    assert (record["device"], record["precision"]) == ("a CPU", "float32")
    assert record["cleaned"] == {"blank": ["a"]}
    assert (record["not_trained"], record["cut_short"], record["warnings"]) == ([], [], [])
    assert list(record["stages"]) == ["decode_train", "train"]
    assert record["stages"]["train"] == {
        "seconds": 4.0,
        "images": 64,
        "images_per_second": 16.0,
        "peak_gib": 2.0,
    }
    names = ["submission.csv", "oof.csv", "history.csv"]
    assert record["files"] == describe_files(run.output, names) and record["complete"]
    assert record["counts"] == {"train": 48, "positive": 24, "test": 5}

    lines = capsys.readouterr().out
    assert lines.startswith(f"network  tiny, {network.count_params():,} parameters\n")
    shared = "folds share slides, expect about 0.03 less on others"
    assert f"\nall      out-of-fold AUC {record['oof_auc']:.4f}: {shared}\n" in lines
    assert (record["grouping"], record["estimate"]) == ("patch", shared)
    assert f"\nfold 1   out-of-fold AUC {record['fold_auc']['1']:.4f}\n" in lines


def test_slides_that_are_known_are_in_the_table_and_nothing_is_warned_of(tmp_path, network, capsys):
    run = make_run(tmp_path / "out")
    slides = np.array([f"slide{fold}" for fold in FOLDS])
    run = dataclasses.replace(run, competition=dataclasses.replace(run.competition, slides=slides))
    members = [make_member(2, 2), make_member(0, 0)]
    oof = gather_oof(run, FOLDS, members)
    (run.output / "submission.csv").write_text("id,label\n")
    results = write_results(run, make_device(), announce(network), oof, Ensemble(members, []))
    print_results(results)
    table = pd.read_csv(run.output / "oof.csv")
    assert list(table) == ["id", "label", "fold", "prediction", "slide"]
    assert (table["slide"] == "slide" + table["fold"].astype(str)).all()
    assert (results["grouping"], results["estimate"]) == ("slide", "")
    assert f"\nall      out-of-fold AUC {results['oof_auc']:.4f}\n" in capsys.readouterr().out


def test_networks_that_learned_nothing_are_warned_of(tmp_path, network):
    run = make_run(tmp_path / "out")
    (run.output / "submission.csv").write_text("id,label\n")
    member = make_member(0, 0)
    members = [dataclasses.replace(member, oof=np.full_like(member.oof, 0.5))]
    oof = gather_oof(run, FOLDS, members)
    results = write_results(run, make_device(), announce(network), oof, Ensemble(members, []))
    (warning,) = results["warnings"]
    assert warning.startswith("warning: AUC 0.50 out of fold: the networks learned nothing")


def test_what_time_was_short_for_is_warned_of(tmp_path, network, capsys):
    run = make_run(tmp_path / "out")
    members = [make_member(0, 0, was_cut_short=True)]
    ensemble = Ensemble(members, ["fold 1 seed 1"], ("warning: the stain",))
    (run.output / "submission.csv").write_text("id,label\n")
    oof = gather_oof(run, FOLDS, members)
    print_results(write_results(run, make_device(), announce(network), oof, ensemble))
    record = read_json(run.output / "run.json")
    assert record["not_trained"] == ["fold 1 seed 1"] and not record["complete"]
    assert record["cut_short"] == ["fold 0 seed 0"]
    again = "the same command (push --resume) continues"
    assert record["warnings"] == [
        "warning: the stain",
        f"warning: not trained: fold 1 seed 1; {again}",
        f"warning: max_hours cut short fold 0 seed 0; {again}",
    ]
    lines = capsys.readouterr().out.splitlines()
    assert set(record["warnings"]) < set(lines)
