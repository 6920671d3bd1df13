"""A study: what is tried, kept, gone on with and refused."""

import json

import numpy as np
import optuna
import pandas as pd
import pytest
from conftest import TINY, run_python
from pcam_kaggle.config import Config
from pcam_kaggle.tuning import count_choices, list_first, run_study, suggest

from kernel.bundle import bundle_kernel
from pcam_kaggle import tuning
from pcam_kaggle.recipes import RECIPES, Range, get_config

SMALL = {**TINY, "epochs": 1, "trials": 3}
CHOICES = {
    "network": {
        "plain": {"augmentation": "none"},
        "turned": {"augmentation": "dihedral", "learning_rate": 1e-3},
    },
    "batch_size": (8, 16),
}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "study"


@pytest.fixture
def choices(monkeypatch):
    monkeypatch.setattr(tuning, "get_space", lambda config: CHOICES)


def study(competition, out, **settings):
    config = get_config("demo", {**SMALL, **settings})
    return run_study(config, data=competition, output=out)


@pytest.mark.parametrize("name", RECIPES)
def test_every_set_of_a_recipe_s_space_is_valid(name):
    space, settings = RECIPES[name].space, {"recipe": name, **RECIPES[name].settings}
    ends = {
        n: [c.low, c.high] if isinstance(c, Range) else list(c)
        for n, c in space.items()
    }
    for place in range(max(map(len, ends.values()))):
        params = {n: values[place % len(values)] for n, values in ends.items()}
        overrides = suggest(optuna.trial.FixedTrial(params), space)
        assert get_config(settings, overrides)


def test_the_seed_s_study_is_all_of_its_questions():
    space = RECIPES["seed_study"].space
    assert count_choices(space) == RECIPES["seed_study"].settings["trials"] == 18
    tried = list_first(get_config("seed_study"), space)
    assert len({json.dumps(params) for params in tried}) == 18
    assert {params["batch_size"] for params in tried} == {96, 128, 196}
    assert {params["epochs"] for params in tried} == {10, 20}


def test_a_space_of_choices_is_tried_whole_and_added_to(competition, out, choices):
    first = study(competition, out, trials=3)
    assert first["study"]["trials"] == 3
    run = study(competition, out, trials=9)["study"]  # there are four sets
    trials = pd.read_csv(out / "study.csv")
    assert trials[["network", "batch_size"]].to_numpy().tolist() == [
        ["plain", 8],
        ["plain", 16],
        ["turned", 8],
        ["turned", 16],
    ]
    assert (trials["state"] == "COMPLETE").all()
    best = trials.loc[trials["value"].idxmax()]
    assert run["winner"] == best["number"]
    assert run["winner_auc"] == pytest.approx(best["value"])
    assert run["overrides"] == {
        **CHOICES["network"][best["network"]],
        "batch_size": best["batch_size"],
    }
    assert json.loads((out / "run.json").read_text())["study"] == run
    assert not (out / "submission.csv").exists()


def test_ranges_are_searched_from_the_recipe_s_own_settings_on(competition, out):
    run = study(competition, out)
    trials = pd.read_csv(out / "study.csv")
    recipe = get_config("demo", SMALL)
    assert trials["learning_rate"][0] == recipe.learning_rate
    assert trials["batch_size"][0] == recipe.batch_size or recipe.batch_size == 8
    assert trials["learning_rate"].nunique() == 3
    value = run["study"]["overrides"]["stain_jitter"]
    assert value == float(f"{value:.4g}")


def test_a_killed_trial_is_tried_again(competition, out, choices):
    study(competition, out, trials=1)
    storage = tuning.open_storage(out / "study.log")
    killed = optuna.load_study(study_name=tuning.STUDY, storage=storage).ask()
    with open(out / "study.log", "ab") as file:
        file.write(b'{"op_code": 6, "half a li')  # and the disk was full
    study(competition, out, trials=4)
    trials = pd.read_csv(out / "study.csv")
    sets = trials[["network", "batch_size"]].to_numpy().tolist()
    assert len(sets) == 4 and len({tuple(values) for values in sets}) == 4
    assert killed.number not in trials["number"].tolist()


def test_a_trial_that_diverges_ends_alone(competition, out, choices, monkeypatch):
    train = tuning.train_fold

    def diverge(config, *given, **named):
        if config.augmentation == "none":
            raise FloatingPointError("the loss is not a finite number")
        return train(config, *given, **named)

    monkeypatch.setattr(tuning, "train_fold", diverge)
    run = study(competition, out, trials=4, num_workers=1)
    states = pd.read_csv(out / "study.csv")["state"].tolist()
    assert states == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert run["study"]["winner"] >= 2


def test_a_study_without_a_result_says_so(competition, out, choices, monkeypatch):
    def diverge(*given, **named):
        raise FloatingPointError("the loss is not a finite number")

    monkeypatch.setattr(tuning, "train_fold", diverge)
    with pytest.raises(ValueError, match="none of 2 was completed.*FAIL': 2"):
        study(competition, out, trials=2, num_workers=1)


def test_a_trial_that_lags_is_pruned():
    pruner = optuna.pruners.MedianPruner(1, n_warmup_steps=0)
    found = optuna.create_study(direction="maximize", pruner=pruner)
    good = found.ask()
    for epoch in range(3):
        good.report(0.9, epoch)
    found.tell(good, 0.9)
    callback = tuning.Prune(found.ask())
    with pytest.raises(optuna.TrialPruned):
        callback.on_epoch_end(0, {"val_auc": 0.5})


def test_studies_of_other_spaces_and_settings_are_refused(
    competition, out, choices, monkeypatch
):
    study(competition, out, trials=1)
    before = (out / "study.log").read_bytes()
    with pytest.raises(ValueError, match="is from another run"):
        study(competition, out, trials=1, seed=3)
    (out / "run.json").unlink()  # killed before it was written
    with pytest.raises(ValueError, match=r"study\.log is from another run"):
        study(competition, out, trials=1, seed=3)
    monkeypatch.setattr(tuning, "get_space", lambda config: {"epochs": (1, 2)})
    with pytest.raises(ValueError, match=r"study of another space.*epochs.*network"):
        study(competition, out, trials=1)
    assert (out / "study.log").read_bytes().startswith(before)


def test_a_config_of_no_recipe_has_no_space(competition, out):
    with pytest.raises(ValueError, match="trials: the search space is a recipe's"):
        run_study(Config(**SMALL), data=competition, output=out)


def test_no_trial_is_begun_without_time(competition, out, choices):
    run = study(competition, out, trials=4, study_hours=1e-6)
    assert run["study"]["trials"] == 1 and run["study"]["missing"] == 3


def test_two_workers_share_a_study_in_the_kernel(competition, tmp_path):
    settings = {**SMALL, "num_workers": 2, "figures": True}
    script = tmp_path / "kernel.py"
    script.write_text(bundle_kernel("demo", settings).source, "utf-8")
    out = tmp_path / "out"
    result = run_python([script], tmp_path / "input", out)
    assert result.returncode == 0, result.stderr
    trials = pd.read_csv(out / "study.csv")
    assert len(trials) == 3 and np.isfinite(trials["value"]).all()
    assert "winner   trial " in result.stdout
    assert "train it python build.py run demo learning_rate=" in result.stdout
    assert (out / "study.png").exists()
