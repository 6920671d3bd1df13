"""The charts of a run are drawn whatever its numbers are."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcam_kaggle.analysis.charts import (
    overlay_heat,
    plot_curves,
    plot_errors,
    plot_maps,
    plot_scores,
    plot_study,
)
from pcam_kaggle.analysis.evaluation import Confusion, Evaluation, StainScores
from pcam_kaggle.analysis.reliability import bin_predictions


@pytest.mark.parametrize("num_epochs, num_folds", [(1, 1), (20, 5), (3, 9)])
def test_curves_are_drawn_for_any_run(tmp_path, num_epochs, num_folds):
    rows = [
        {
            "fold": fold,
            "seed": fold,
            "epoch": epoch + 1,
            **dict.fromkeys(["accuracy", "auc", "val_accuracy", "val_auc"], 0.9),
            "loss": 0.5,
            "val_loss": 197.2 if epoch == 0 else 0.6,  # as in the course notebook
        }
        for fold in range(num_folds)
        for epoch in range(num_epochs)
    ]
    history = pd.DataFrame(rows)
    plot_curves(history, tmp_path / "curves.png", "a run")
    plot_curves(history.assign(member="vit"), tmp_path / "members.png", "a run")
    assert (tmp_path / "members.png").read_bytes() != (tmp_path / "curves.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    assert picture.shape == (500, 1500, 3)
    assert (picture < 128).any(axis=2).mean() > 0.005  # ink


def test_a_picture_that_cannot_be_drawn_leaves_no_file(tmp_path):
    with pytest.raises(KeyError):
        plot_curves(pd.DataFrame({"fold": [0]}), tmp_path / "curves.png", "a run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("states", [["COMPLETE"], ["COMPLETE", "PRUNED", "FAIL"]])
def test_a_study_is_drawn_however_its_trials_ended(tmp_path, states):
    trials = pd.DataFrame({"state": states, "value": [0.9, 0.8, np.nan][: len(states)]})
    trials["number"] = range(len(states))
    importance = {"epochs": 0.9, "batch_size": 0.1} if len(states) > 1 else {}
    plot_study(trials, importance, tmp_path / "study.png", "a study")
    width = 1200 if importance else 600  # without importance the trials alone
    assert Image.open(tmp_path / "study.png").size == (width, 500)


@pytest.mark.parametrize("num_stains", [0, 2])
def test_errors_are_drawn_without_a_class_and_without_stains(tmp_path, num_stains):
    stains = [StainScores(0, 9, None, 0.7, None), StainScores(1, 3, 0.9, 0.8, 0.0)]
    evaluation = Evaluation(
        auc=0.5,
        interval=(0.4, 0.6),
        resampled="patches",
        num_slides=None,
        operating_points={},
        confusion=Confusion(0.5, ((0, 0), (3, 7))),
        calibration={},
        by_stain=tuple(stains[:num_stains]),
    )
    plot_errors(evaluation, tmp_path / "errors.png", "a run")
    width = 1200 if num_stains else 600
    assert Image.open(tmp_path / "errors.png").size == (width, 500)


def test_scores_of_one_class_alone_are_drawn(tmp_path):
    labels, predictions = np.ones(5, int), np.linspace(0, 1, 5)
    bins = bin_predictions(labels, predictions)
    plot_scores(labels, predictions, bins, tmp_path / "scores.png", "a run")
    assert Image.open(tmp_path / "scores.png").size == (1200, 500)


def test_maps_are_orange_where_they_are_hot_and_gray_elsewhere(tmp_path):
    patch = np.full((96, 96, 3), (200, 100, 180), "uint8")
    heat = np.zeros((96, 96))
    heat[:10] = 1
    picture = overlay_heat(patch, heat)
    assert (picture[20:] == 160).all()
    red, green, blue = picture[0, 0]
    assert red > 200 > green > blue
    rows = [("surest", [(patch, heat, "p = 0.9")]), ("worst", [(patch, heat, "")] * 3)]
    plot_maps(rows, tmp_path / "maps.png", "a run")
    assert Image.open(tmp_path / "maps.png").width == 1400
