"""The verdicts of a short session, and what they forecast."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_task import FOLDS, LABELS, make_device, make_run

from kernel.facts.measurements import describe_costs, find_gpu_hours
from pcam_kaggle.system.clock import Stage
from pcam_kaggle.system.records import Ensemble, Member
from pcam_kaggle.training.smoke_settings import SmokeSettings
from pcam_kaggle.training.verdicts import ASSUMED_RATE, forecast_hours, judge_session


def make_member(fold, place="GPU 0, 3.0 of 15.0 GiB", peak=2.0, noise=0.1):
    """A network of the small task that was never trained."""
    positions = np.flatnonzero(fold == FOLDS)
    random = np.random.default_rng(fold)
    oof = LABELS[positions] * (1 - noise) + noise * random.random(len(positions))
    stages = {"train": Stage(2.0, 32, 16.0, peak)}
    return Member(fold, 0, positions, oof, oof, oof, pd.DataFrame(), stages, place=place)


def judge(run, members, missing=(), warnings=(), **device):
    device = dataclasses.replace(make_device(), **device)
    ensembles = {"small": Ensemble(members, list(missing), tuple(warnings))}
    return judge_session(run, device, ensembles, rate=3_000.0)


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "out")
    run.clock.stages["decode_train"] = Stage(1.0, 48, 2_000.0, 1.0)
    return run


def test_a_session_in_which_all_went_well(run):
    members = [make_member(0), make_member(1, "GPU 1, 3.1 of 15.0 GiB")]
    verdicts = judge(run, members, num_gpus=2, num_workers=2)
    assert all(ok for ok, _ in verdicts.values())
    assert verdicts["decode"][1] == "2,000 files/s: all in 2 min"
    assert verdicts["devices"][1] == "2 GPUs, float32, used: GPU 0; GPU 1"
    assert verdicts["networks"][1] == "2 finished, 0 missing, 0 warnings"
    assert verdicts["features"][1] == "3,000 patches/s with DenseNet-121"


@pytest.mark.parametrize(
    "stage, members, options",
    [
        ("devices", [make_member(0), make_member(1)], {"num_gpus": 2, "num_workers": 2}),
        ("networks", [make_member(0)], {"missing": ["fold 1 seed 1"]}),
        ("networks", [make_member(0)], {"warnings": ["warning: fold 0 is not explained"]}),
        ("learning", [make_member(0), make_member(1, noise=1.0)], {}),
        ("memory", [make_member(0, peak=11.0)], {"num_workers": 2}),
    ],
)
def test_what_went_wrong_is_looked_at(run, stage, members, options):
    verdicts = judge(run, members, **options)
    assert [name for name, (ok, _) in verdicts.items() if not ok] == [stage]


def test_hours_follow_from_the_speed_of_the_session():
    costs, gpus = "best 5, fast 0.5", dataclasses.replace(make_device(), num_gpus=2)
    assert forecast_hours(costs, gpus, ASSUMED_RATE) == {"best": 5, "fast": 0.5}
    assert forecast_hours(costs, gpus, ASSUMED_RATE / 2) == {"best": 10, "fast": 1}
    assert forecast_hours(costs, gpus, 0) == forecast_hours(costs, make_device(), 9) == {}
    hours = forecast_hours(describe_costs(), gpus, ASSUMED_RATE)
    assert hours["midnight"] == find_gpu_hours("midnight")
    others = {"explore", "smoke", "blend"}
    assert {"best", "scratch", "fast_study"} < set(hours) and not others & set(hours)


@pytest.mark.parametrize("costs", ["abc", "best five", "best 5 h"])
def test_costs_that_are_none_are_refused(costs):
    with pytest.raises(ValueError, match="costs: expected recipes with their hours"):
        SmokeSettings(costs=costs)
