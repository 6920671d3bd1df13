"""Settings: strict types, ranges, choices, contradictions and nearest names."""

import dataclasses

import pytest

from pcam_kaggle.config import ARCHITECTURES, Config, compute_build_id, parse_overrides
from pcam_kaggle.recipes import RECIPES, get_config, list_recipes


def test_overrides_take_the_type_of_their_setting():
    words = ["epochs=3", "learning_rate=1", "folds=0,2", "verify_ids=true", "tta=none"]
    overrides = parse_overrides(words)
    assert overrides == {
        "epochs": 3,
        "learning_rate": 1.0,
        "folds": (0, 2),
        "verify_ids": True,
        "tta": "none",
    }
    assert type(overrides["learning_rate"]) is float
    assert get_config("demo", overrides).folds == (0, 2)


@pytest.mark.parametrize(
    "word, message",
    [
        ("epoch=3", "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ("epochs=three", "epochs: expected a whole number of at least 1. Received: "),
        ("epochs=2.5", "Received: epochs='2.5'"),
        ("epochs=0", "Received: epochs=0"),
        ("verify_ids=1", "verify_ids: expected true or false. Received: "),
        ("learning_rate=nan", "learning_rate: expected a number from 1e-08 to 10."),
        ("dropout_rate=2", "dropout_rate: expected a number from 0 to 0.9."),
        ("augmentation=dihedrall", "did you mean 'dihedral'?"),
        ("folds=a,b", "folds: expected whole numbers such as 0,1."),
        ("epochs", "overrides are written name=value. Received: 'epochs'"),
        ("recipe=demo", "unknown setting 'recipe'."),
    ],
)
def test_a_wrong_override_is_named(word, message):
    with pytest.raises(ValueError) as error:
        parse_overrides([word])
    assert message in str(error.value)


def test_an_override_given_twice_is_refused():
    with pytest.raises(ValueError, match="epochs is given twice"):
        parse_overrides(["epochs=1", "epochs=2"])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epochs": True}, "epochs: expected a whole number"),
        ({"epochs": "3"}, "Received: epochs='3'"),
        ({"seed": 1.0}, "seed: expected a whole number of at least 0."),
        ({"folds": (5,)}, "folds: expected different numbers from 0 to 4."),
        ({"folds": (1, 1)}, "folds: expected different numbers from 0 to 4."),
        ({"architecture": "resnet"}, "did you mean 'resnet34'?"),
        (
            {"architecture": "resnet34", "weights": "imagenet"},
            "resnet34 has no ImageNet weights",
        ),
        (
            {"architecture": "my_vgg16", "dropout_rate": 0.1},
            "my_vgg16 keeps its published dropout",
        ),
        ({"plateau_patience": 3}, "plateau_patience: needs schedule=constant"),
        ({"labels": "hard", "ensemble": "rank"}, "labels: hard labels"),
    ],
)
def test_a_config_refuses_what_it_cannot_be(settings, message):
    with pytest.raises(ValueError) as error:
        Config(**settings)
    assert message in str(error.value)


def test_a_fork_is_checked_by_the_same_code():
    settings = dataclasses.asdict(get_config("demo"))
    assert get_config(settings, {"folds": [1]}) == get_config("demo", {"folds": (1,)})
    with pytest.raises(ValueError, match="Did you mean 'learning_rate'"):
        get_config({**settings, "learning_rat": 0.1})


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'seed_resnet34'"):
        get_config("seed_resnet")


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_complete_and_says_what_it_gives(name):
    recipe = RECIPES[name]
    config = get_config(name)
    assert config.recipe == name
    assert config.architecture in ARCHITECTURES
    for text in (recipe.text, recipe.expected, recipe.time, recipe.hardware):
        assert text and "TODO" not in text
    verbs = ("build.py", "train", "tune")
    assert any(f"{verb} {name}" in recipe.command for verb in verbs)


def test_the_seed_recipes_are_as_published():
    rates = {"my_vgg16": 1e-3, "resnet34": 1e-2, "vgg16": 1e-3}
    for name, rate in rates.items():
        config = get_config(f"seed_{name}")
        assert (config.num_images, config.num_folds, config.folds) == (12_000, 5, (0,))
        assert (config.batch_size, config.epochs, config.optimizer) == (96, 20, "adam")
        assert (config.learning_rate, config.augmentation) == (rate, "affine")
        assert config.early_stopping_patience == 5
        assert (config.plateau_patience, config.plateau_factor) == (3, 0.1)
        assert (config.weight_decay, config.label_smoothing) == (0, 0)
    assert get_config("seed_vgg16").weights == "imagenet"


def test_the_build_id_does_not_depend_on_itself():
    source = 'x = 1\nBUILD_ID = "{}"  # id\ny = 2\n'
    build_id = compute_build_id(source.format(""))
    assert compute_build_id(source.format(build_id)) == build_id
    assert compute_build_id(source.format(build_id) + "z = 3\n") != build_id
