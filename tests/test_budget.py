"""The hours of a run: what is begun, given up or cut short, and what is submitted."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from pcam_kaggle.budget import Budget, OutOfTimeError, say_time
from pcam_kaggle.checkpoint import Checkpoint
from pcam_kaggle.config import Config
from pcam_kaggle.experiment import run_experiment
from pcam_kaggle.jobs import train_member
from test_train import FOLDS, IMAGES, LABELS
from test_train import TINY as CONFIG

from pcam_kaggle import budget as budget_module
from pcam_kaggle import forecast as forecast_module
from pcam_kaggle.data import Patches

PATCHES = Patches(IMAGES, LABELS, IMAGES[:5])
NEVER, AT_ONCE = 1e9, 0.0


def train(budget, checkpoint=None, known=(), num_rounds=3):
    return train_member(
        CONFIG, PATCHES, FOLDS, 1, 0, checkpoint, budget, num_rounds, known
    )


def run(competition, out, **settings):
    config = Config(**{**TINY, **settings})
    return run_experiment(config, data=competition, output=out)


@pytest.mark.parametrize(
    "seconds, text", [(-3, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_times_read_as_a_person_says_them(seconds, text):
    assert say_time(seconds) == text


def test_a_forecast_is_said_once_by_the_first_network(monkeypatch, capsys):
    monkeypatch.setattr(forecast_module, "FORECAST_AFTER", AT_ONCE)
    member = train(Budget(11))
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("forecast: ")]
    assert "for a network, 3 of them; the run ends about " in line
    assert not member["was_cut_short"] and len(member["history"]) == CONFIG.epochs
    train(Budget(11), known=(1.0,))
    assert "forecast" not in capsys.readouterr().out


def test_a_run_that_is_longer_than_its_hours_is_said(monkeypatch, capsys):
    monkeypatch.setattr(forecast_module, "FORECAST_AFTER", AT_ONCE)
    train(Budget(11, seconds_left=600), num_rounds=100_000)
    assert "when max_hours ends it" in capsys.readouterr().out


def test_hours_too_few_for_one_network_are_an_error_at_once(monkeypatch, capsys):
    monkeypatch.setattr(forecast_module, "FORECAST_AFTER", AT_ONCE)
    with pytest.raises(ValueError, match="max_hours: fold 1 seed 0 takes about .*=2"):
        train(Budget(2, seconds_left=0.0))
    assert "| loss " not in capsys.readouterr().out


def test_without_time_a_later_network_is_given_up(monkeypatch):
    for after in (AT_ONCE, NEVER):
        monkeypatch.setattr(forecast_module, "FORECAST_AFTER", after)
        with pytest.raises(OutOfTimeError):
            train(Budget(2, seconds_left=0.0), known=(1.0,))


def test_the_only_network_is_cut_short_and_goes_on_later(monkeypatch, tmp_path):
    monkeypatch.setattr(forecast_module, "FORECAST_AFTER", NEVER)
    path = tmp_path / "checkpoint.npz"
    short = train(Budget(2, seconds_left=0.0), Checkpoint(path, "mine"))
    assert short["was_cut_short"] and len(short["history"]) == 1
    assert np.isfinite(short["test"]).all() and len(short["test"]) == 5
    resumed = train(Budget(2), Checkpoint(path, "mine"))
    whole = train(None)
    assert not resumed["was_cut_short"]
    assert np.array_equal(resumed["test"], whole["test"])
    num_images = resumed["stages"]["train"]["images"]
    assert num_images == (FOLDS != 1).sum() * (CONFIG.epochs - 1)


def test_a_submission_is_left_of_what_there_is_and_the_rest_goes_on(
    competition, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    run(competition, out)
    whole = (out / "submission.csv").read_bytes()
    with np.load(out / "folds" / "fold0_seed0.npz") as kept:
        first = kept["test"]
    (out / "folds" / "fold1_seed1.npz").unlink()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(budget_module, "RESERVE", 1e9)
        result = run(competition, out)
    assert "fold 1 seed 1 is not begun" in capsys.readouterr().out
    assert result["not_trained"] == ["fold 1 seed 1"] and result["cut_short"] == []
    assert "no time for fold 1 seed 1" in result["warnings"][0]
    assert result == json.loads((out / "run.json").read_text())
    submission = pd.read_csv(out / "submission.csv")
    assert np.allclose(submission["label"], first, rtol=1e-6)
    result = run(competition, out)
    assert result["not_trained"] == [] and result["warnings"] == []
    assert (out / "submission.csv").read_bytes() == whole


def test_without_any_network_it_is_said_how_to_go_on(
    competition, tmp_path, monkeypatch
):
    monkeypatch.setattr(budget_module, "RESERVE", 1e9)
    with pytest.raises(ValueError, match="max_hours: no network could be finished"):
        run(competition, tmp_path / "out")
    assert not (tmp_path / "out" / "submission.csv").exists()
