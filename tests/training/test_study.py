"""A study: what is tried, kept, continued and refused."""

import json
import shutil

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pcam_kaggle.data.competition import load_labels
from pcam_kaggle.data.folds import make_folds
from pcam_kaggle.data.run import load_patches, open_run
from pcam_kaggle.recipes import (
    course_study,
    demo_study,
    fast_study,
    midnight_study,
    run_recipe,
    scratch_study,
)
from pcam_kaggle.system.device import Device
from pcam_kaggle.system.files import read_json
from pcam_kaggle.system.settings import compose
from pcam_kaggle.training.study import measure_importance, run_study
from pcam_kaggle.training.study_log import STUDY, Range, count_sets, list_first, open_storage
from pcam_kaggle.training.trials import Prune, suggest

RECIPES = (course_study, demo_study, fast_study, midnight_study, scratch_study)
SMALL = {"epochs": 1, "num_folds": 2, "batch_size": 8, "folds": (0,)}
CHOICES = {
    "network": {
        "plain": {"augmentation": "none"},
        "turned": {"augmentation": "dihedral", "learning_rate": 1e-3},
    },
    "batch_size": (8, 16),
}
DEVICE = Device("float32", num_gpus=0, num_workers=1, text="a test")


class ColorProbe:
    """A method that takes no time: the direction in which colors of tumor differ."""

    def __init__(self, settings):
        self.settings = settings

    def prepare(self, patches, run, device):
        return patches

    def fit(self, patches, split, **options):
        positions = split.train[: 2 * self.settings.training.batch_size]
        colors, labels = patches.images[positions].mean(axis=(1, 2)), patches.labels[positions]
        direction = colors[labels == 1].mean(axis=0) - colors[labels == 0].mean(axis=0)
        return direction, pd.DataFrame({"epoch": [1]})

    def predict(self, direction, images, positions):
        predictions = images[positions].mean(axis=(1, 2)) @ direction
        return predictions, predictions


class DivergesUnturned(ColorProbe):
    """A method that diverges on patches which are not augmented."""

    def fit(self, patches, split, **options):
        if self.settings.augmentation.augmentation == "none":
            raise FloatingPointError("the loss is not a finite number")
        return super().fit(patches, split)


class Interrupted(ColorProbe):
    """A method during which Ctrl-C is pressed."""

    def predict(self, head, images, positions):
        raise KeyboardInterrupt


@pytest.fixture
def out(tmp_path):
    return tmp_path / "study"


@pytest.fixture
def study(shared_competition, out):
    """A function that runs a study of the cheap method."""

    def run(make_method=ColorProbe, space=CHOICES, data=shared_competition, **settings):
        parts, overrides = demo_study.parts(), {**SMALL, **settings}
        opened = open_run(
            "demo_study", parts, demo_study.SETTINGS, overrides, data=data, output=out
        )
        patches = load_patches(opened)
        folds = make_folds(patches.labels, 2, seed=0)
        run_study(make_method, space, parts, patches, folds, opened, DEVICE)
        return read_json(out / "run.json")

    return run


@pytest.fixture(scope="module")
def trained(shared_competition, tmp_path_factory):
    """The folder of the recipe demo_study with two trials."""
    out = tmp_path_factory.mktemp("trained")
    run_recipe("demo_study", {**SMALL, "trials": 2}, data=shared_competition, output=out)
    return out


def read_trials(out):
    return pd.read_csv(out / "study.csv")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__.split(".")[-1])
def test_every_set_of_a_recipe_s_space_is_valid(recipe):
    space = recipe.space()
    ends = {
        name: [choices.low, choices.high] if isinstance(choices, Range) else list(choices)
        for name, choices in space.items()
    }
    for place in range(max(map(len, ends.values()))):
        params = {name: values[place % len(values)] for name, values in ends.items()}
        overrides = suggest(optuna.trial.FixedTrial(params), space)
        flat = compose(recipe.parts(), recipe.SETTINGS, overrides).flat()
        assert overrides.items() <= flat.items()


def test_the_course_s_study_is_all_of_its_questions():
    space = course_study.space()
    settings = compose(course_study.parts(), course_study.SETTINGS).flat()
    assert count_sets(space) == settings["trials"] == 18
    tried = list_first(settings, space)
    assert len({json.dumps(params) for params in tried}) == 18
    assert {params["batch_size"] for params in tried} == {96, 128, 196}
    assert {params["epochs"] for params in tried} == {10, 20}


def test_a_space_of_choices_is_tried_completely_and_added_to(study, out, shared_competition):
    first = study(trials=3)
    assert first["study"]["trials"] == 3
    second = study(trials=9)  # there are four sets
    trials = read_trials(out)
    assert trials[["network", "batch_size"]].to_numpy().tolist() == [
        ["plain", 8],
        ["plain", 16],
        ["turned", 8],
        ["turned", 16],
    ]
    assert (trials["state"] == "COMPLETE").all() and (trials["epochs_trained"] == 1).all()
    found, best = second["study"], trials.loc[trials["value"].idxmax()]
    assert found["highest"] == best["number"] and found["missing"] == 0
    assert found["highest_auc"] == pytest.approx(best["value"])
    assert found["overrides"] == {
        **CHOICES["network"][best["network"]],
        "batch_size": best["batch_size"],
    }
    files = {"study.csv", "study.log", *(f"trial{number}.npy" for number in range(4))}
    assert second["files"].keys() == files
    assert {path.name for path in out.iterdir()} == {".lock", "run.json", *files}
    labels = load_labels(shared_competition)["label"].to_numpy()
    labels = labels[make_folds(labels, 2, seed=0) == 0]
    for number, value in enumerate(trials["value"]):
        predictions = np.load(out / f"trial{number}.npy")
        assert predictions.dtype == "float32" and len(predictions) == found["num_patches"]
        assert roc_auc_score(labels, predictions) == pytest.approx(value, abs=1e-3)


class Guesses(ColorProbe):
    """A method that knows the labels of all patches, or takes one for the other."""

    def fit(self, patches, split, **options):
        return patches.labels, pd.DataFrame({"epoch": [1]})

    def predict(self, labels, images, positions):
        is_right = self.settings.augmentation.augmentation == "none"
        predictions = labels[positions] if is_right else 1 - labels[positions]
        return predictions, predictions


class GuessesAlike(Guesses):
    """A method whose trials differ by noise alone."""

    def predict(self, labels, images, positions):
        random = np.random.default_rng(self.settings.training.batch_size)
        noise = np.sin(np.arange(len(positions))) + random.normal(0, 0.1, len(positions))
        predictions = labels[positions] + noise
        return predictions, predictions


def test_trials_that_are_not_told_apart_are_named(study, out, capsys):
    found = study(GuessesAlike, trials=4)["study"]
    others = [n for n in range(4) if n != found["highest"]]
    assert found["within_noise"] == others and found["second"]["trial"] in others
    text = capsys.readouterr().out
    listed = ", ".join(map(str, others))
    best = f"trial {found['highest']}"
    assert f"similar  trials {listed}: not told apart from the highest on these" in text
    second = found["second"]
    far = f"second   trial {second['trial']} is below by {second['difference']:.4f} (95 % interval"
    assert f"{far} of the difference {second['interval'][0]:+.4f} to " in text
    where = f"{found['num_patches']} patches, by patch: too narrow for other slides"
    assert f"; {where}): no more than the choice of these patches explains; other" in text
    words = " ".join(f"{name}={value}" for name, value in found["overrides"].items())
    assert f"highest  {best}, AUC {found['highest_auc']:.4f}: {words}\n" in text


def test_what_the_second_is_below_by_is_said_with_what_its_interval_covers(study, out, capsys):
    space = {**CHOICES, "batch_size": (8,)}
    found = study(Guesses, space, trials=2)["study"]
    assert found["highest"] == 0 and found["within_noise"] == []
    assert found["second"]["trial"] == 1 and found["second"]["difference"] == 1
    text = capsys.readouterr().out
    assert "second   trial 1 is below by 1.0000 (" in text and "highest  trial 0, AUC " in text
    covered = "more than the choice of these patches explains; other seeds and folds are not"
    assert f": {covered} counted\n" in text and "winner" not in text
    (out / "trial1.npy").unlink()
    found = study(Guesses, space, trials=2)["study"]
    assert found["second"] is None and found["not_compared"] == [1]
    assert "lost     the predictions of trials 1, which are not" in capsys.readouterr().out
    (out / "trial0.npy").unlink()
    assert study(Guesses, space, trials=2)["study"]["not_compared"] == [0, 1]


def test_trials_are_compared_by_slide_where_slides_are_known(study, shared_competition, tmp_path):
    labels = pd.read_csv(shared_competition / "train_labels.csv", dtype=str)
    path = tmp_path / "slides.csv"
    labels.assign(slide=labels.index % 7)[["id", "slide"]].to_csv(path, index=False)
    found = study(GuessesAlike, trials=2, slide_map=str(path))["study"]
    assert 1 < found["num_slides"] <= 7


def test_one_trial_alone_has_no_second(study, capsys):
    assert study(trials=1)["study"]["second"] is None
    text = capsys.readouterr().out
    assert "highest  trial 0" in text and "second" not in text


def test_ranges_are_searched_from_the_study_s_own_settings_on(trained):
    trials, space = read_trials(trained), demo_study.space()
    assert len(trials) == 2 and trials["number"].tolist() == [0, 1]
    assert trials["learning_rate"][0] == demo_study.SETTINGS["learning_rate"]
    assert trials["batch_size"].isin(space["batch_size"]).all()  # 8, the study's own, is not
    assert trials["learning_rate"].nunique() == trials["stain_jitter"].nunique() == 2
    assert (trials["epochs_trained"] == 1).all() and trials["value"].between(0, 1).all()
    run = read_json(trained / "run.json")
    value = run["study"]["overrides"]["stain_jitter"]
    assert value == float(f"{value:.4g}")
    assert (run["recipe"], run["study"]["fold"]) == ("demo_study", 0)
    assert run["study"]["space"] == repr(space)


def test_the_importance_of_settings_is_their_share_of_the_variance():
    choices = optuna.distributions.CategoricalDistribution((1, 2, 3, 4))
    found = optuna.create_study(direction="maximize")
    assert measure_importance(found) == {}
    for number in range(16):
        params = {"decides": number % 4 + 1, "is_ignored": number // 4 + 1}
        value = 0.9 + params["decides"] / 100
        trial = optuna.trial.create_trial(
            params=params, distributions=dict.fromkeys(params, choices), value=value
        )
        found.add_trial(trial)
        if len(found.trials) == 3:
            assert measure_importance(found) == {}  # too few
    shares = measure_importance(found)
    assert list(shares) == ["decides", "is_ignored"]
    assert shares["decides"] > 0.9 and sum(shares.values()) == pytest.approx(1)


def test_an_interrupted_trial_is_tried_again(study, out):
    study(trials=1)
    killed = optuna.load_study(study_name=STUDY, storage=open_storage(out / "study.log")).ask()
    with open(out / "study.log", "ab") as file:
        file.write(b'{"op_code": 6, "half a li')  # and the disk was full
    study(trials=4)
    trials = read_trials(out)
    sets = trials[["network", "batch_size"]].to_numpy().tolist()
    assert len(sets) == 4 and len({tuple(values) for values in sets}) == 4
    assert killed.number not in trials["number"].tolist()


def test_ctrl_c_in_a_trial_leaves_it_to_the_next_command(study, out):
    with pytest.raises(KeyboardInterrupt):
        study(Interrupted, trials=4)
    study(trials=4)
    trials = read_trials(out)
    assert (trials["state"] == "COMPLETE").all()
    assert trials["number"].tolist() != [0, 1, 2, 3]  # the first is tried again at the end
    assert len(trials[["network", "batch_size"]].drop_duplicates()) == 4


def test_a_trial_that_diverges_ends_alone(study, out):
    found = study(DivergesUnturned, trials=4)["study"]
    assert read_trials(out)["state"].tolist() == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert found["highest"] >= 2 and found["overrides"]["augmentation"] == "dihedral"


def test_a_study_without_a_result_says_so(study, out):
    with pytest.raises(ValueError, match="trials: expected at least one.*FAIL': 2"):
        study(DivergesUnturned, trials=2)
    assert not (out / "run.json").exists()


def test_a_trial_that_lags_is_pruned():
    pruner = optuna.pruners.MedianPruner(1, n_warmup_steps=0)
    found = optuna.create_study(direction="maximize", pruner=pruner)
    good = found.ask()
    for epoch in range(3):
        good.report(0.9, epoch)
    found.tell(good, 0.9)
    callback = Prune(found.ask())
    with pytest.raises(optuna.TrialPruned):
        callback.on_epoch_end(0, {"val_auc": 0.5})


def test_studies_of_other_spaces_and_settings_are_refused(study, out):
    study(trials=1)
    before = (out / "study.log").read_bytes()
    with pytest.raises(ValueError, match=r"run\.json is from another run"):
        study(trials=1, seed=3)
    (out / "run.json").unlink()  # killed before it was written
    with pytest.raises(ValueError, match=r"study\.log is from another run"):
        study(trials=1, seed=3)
    with pytest.raises(ValueError, match=r"study of another space.*epochs.*network"):
        study(trials=1, space={"epochs": (1, 2)})
    assert (out / "study.log").read_bytes().startswith(before)
    assert study(trials=1)["study"]["trials"] == 1


def test_no_trial_is_started_without_time(study, capsys):
    study(trials=1)
    found = study(trials=4, study_hours=1e-9)["study"]
    assert "no time for another trial" in capsys.readouterr().out
    assert found["trials"] == 1 and found["missing"] == 3


def test_an_attached_study_is_continued(study, competition, out, capsys):
    study(trials=2)
    inputs = competition.parents[1]
    attached = inputs / "pcam-demo-study"
    attached.mkdir()
    for name in ("study.log", "trial0.npy", "trial1.npy"):
        shutil.move(out / name, attached)
    shutil.rmtree(out)
    found = study(trials=3, data=inputs)["study"]
    assert f"attached {attached / 'study.log'}: taken over" in capsys.readouterr().out
    assert found["trials"] == 3 and read_trials(out)["number"].tolist() == [0, 1, 2]
    assert found["not_compared"] == [] and (out / "trial0.npy").is_file()


def test_a_named_choice_stands_for_several_settings():
    trial = optuna.trial.FixedTrial({"network": "turned", "batch_size": 16})
    assert suggest(trial, CHOICES) == {
        "augmentation": "dihedral",
        "learning_rate": 1e-3,
        "batch_size": 16,
    }


def test_ranges_have_no_number_of_sets():
    assert count_sets(CHOICES) == 4
    assert count_sets({**CHOICES, "dropout_rate": Range(0.0, 0.5)}) == 0
