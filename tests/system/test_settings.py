"""Settings: parts, names, composition, strict types, ranges, contradictions."""

import ast
import dataclasses
import importlib
import json

import pytest

from kernel.bundle.recipes import list_recipes
from kernel.folders import PACKAGE
from pcam_kaggle.analysis.settings import CleaningSettings, SplitSettings
from pcam_kaggle.augmentation.affine_settings import CourseAugmentationSettings
from pcam_kaggle.data.settings import DataSettings, FoldSettings
from pcam_kaggle.inference.calibration_settings import CalibratedSettings
from pcam_kaggle.inference.settings import PredictionSettings
from pcam_kaggle.models.course_settings import CourseNetworkSettings
from pcam_kaggle.models.pretrained_settings import PretrainedSettings
from pcam_kaggle.models.scratch_settings import ScratchSettings
from pcam_kaggle.models.settings import NetworkSettings
from pcam_kaggle.models.transformer_settings import TransformerSettings
from pcam_kaggle.system.settings import (
    KINDS,
    SESSION_SETTINGS,
    Part,
    compose,
    name_settings,
    setting,
    unknown,
)
from pcam_kaggle.training.settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class Fit(Part):
    """A part that a recipe may use twice."""

    epochs: int = setting(6, "passes", low=1)
    rate: float = setting(0.1, "learning rate", low=1e-8, high=10)


@dataclasses.dataclass(frozen=True)
class Look(Part):
    """A setting of every other kind."""

    folds: tuple = setting((), "which folds", kind="ints")
    clean: tuple = setting((), "what to leave out", ("blank", "duplicates"), kind="names")
    views: str = setting("dihedral", "views", ("none", "flip", "dihedral"))
    path: str = setting("", "a file")
    verify: bool = setting(False, "check ids")

    def check(self):
        if self.verify and not self.path:
            raise ValueError("verify: expected a path")


ONE = {"fit": Fit, "look": Look}
TWO = {"vit": Fit, "cnn": Fit, "look": Look}


def list_parts():
    """Every class of settings in the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*settings.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        classes = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]
        module = importlib.import_module(name)
        found += [getattr(module, n) for n in classes if issubclass(getattr(module, n), Part)]
    return [part for part in found if part is not Part]


def load_recipe(name):
    """A recipe's module."""
    return importlib.import_module(f"pcam_kaggle.recipes.{name}")


def test_a_setting_of_one_part_is_bare_and_of_two_is_dotted():
    assert list(name_settings(ONE))[:3] == ["epochs", "rate", "folds"]
    names = ["vit.epochs", "vit.rate", "cnn.epochs", "cnn.rate"]
    assert list(name_settings(TWO))[:5] == [*names, "folds"]
    part, field = name_settings(TWO)["cnn.rate"]
    assert (part, field.name, field.metadata["text"]) == ("cnn", "rate", "learning rate")


def test_overrides_replace_a_recipe_s_changes_and_those_the_defaults():
    settings = compose(ONE, {"epochs": 3, "views": "flip"}, {"epochs": 9, "path": "a"})
    assert settings.fit == Fit(epochs=9)
    assert settings.look == Look(views="flip", path="a")


def test_two_parts_of_one_class_are_set_apart():
    settings = compose(TWO, {"vit.epochs": 1}, {"cnn.epochs": 2, "cnn.rate": 1})
    assert settings.vit == Fit(epochs=1)
    assert settings.cnn == Fit(epochs=2, rate=1.0)


def test_flat_settings_stand_in_the_order_of_the_parts_and_compose_again():
    settings = compose(TWO, {"folds": (0, 2), "cnn.epochs": 2})
    flat = settings.flat()
    assert list(flat) == list(name_settings(TWO))
    assert (flat["folds"], flat["vit.epochs"], flat["cnn.epochs"]) == ((0, 2), 6, 2)
    assert compose(TWO, flat) == settings
    assert compose(TWO, json.loads(json.dumps(flat))) == settings  # lists for tuples


def test_a_bare_name_that_two_parts_have_is_refused_with_both():
    with pytest.raises(ValueError) as error:
        compose(TWO, {"epochs": 3})
    text = str(error.value)
    assert text == (
        "epochs: several parts have this setting. Expected: one of vit.epochs, cnn.epochs. "
        "Received: 'epochs'"
    )


@pytest.mark.parametrize("name", ["fit.epochs", "look.folds", "vit.folds"])
def test_a_dotted_name_where_the_bare_one_is_plain_is_unknown(name):
    with pytest.raises(ValueError, match=f"unknown setting '{name}'"):
        compose(ONE, {name: 3})


def test_an_unknown_name_says_the_nearest_and_all_known_ones():
    with pytest.raises(ValueError) as error:
        compose(ONE, {}, {"epoch": 3})
    text = str(error.value)
    assert text.startswith("unknown setting 'epoch'. Did you mean 'epochs'? Known: epochs, rate,")
    assert unknown("color", "qqq", ["red"]) == "unknown color 'qqq'. Known: red."


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": True}, "epochs: expected a whole number of at least 1. Received: epochs=True"),
        ({"epochs": "3"}, "Received: epochs='3'"),
        ({"epochs": 2.0}, "Received: epochs=2.0"),
        ({"epochs": 0}, "epochs: expected a whole number of at least 1. Received: epochs=0"),
        ({"rate": "1"}, "rate: expected a number from 1e-08 to 10. Received: rate='1'"),
        ({"rate": True}, "Received: rate=True"),
        ({"rate": float("nan")}, "rate: expected a number from 1e-08 to 10. Received: rate=nan"),
        ({"rate": float("inf")}, "Received: rate=inf"),
        ({"rate": 11}, "Received: rate=11.0"),
        (
            {"folds": 1},
            "folds: expected a tuple of whole numbers such as (0, 1). Received: folds=1",
        ),
        ({"folds": (True,)}, "Received: folds=(True,)"),
        ({"folds": ("0",)}, "Received: folds=('0',)"),
        ({"clean": ("blank", "red")}, "clean: expected words among blank,duplicates. Received: "),
        ({"clean": "blank"}, "Received: clean='blank'"),
        ({"views": "dihedrall"}, "one of none, flip, dihedral (did you mean 'dihedral'?)"),
        ({"views": 8}, "views: expected one of none, flip, dihedral. Received: views=8"),
        ({"path": 3}, "path: expected text. Received: path=3"),
        ({"path": None}, "Received: path=None"),
        ({"verify": 1}, "verify: expected true or false. Received: verify=1"),
        ({"verify": True}, "verify: expected a path"),
    ],
)
def test_a_wrong_value_is_refused(changes, message):
    with pytest.raises(ValueError) as error:
        compose(ONE, changes)
    assert message in str(error.value)


def test_a_wrong_value_of_one_of_two_parts_is_named_in_full():
    with pytest.raises(ValueError, match=r"cnn\.epochs: expected .* Received: cnn\.epochs=0"):
        compose(TWO, {"cnn.epochs": 0})


def test_values_take_the_type_of_their_setting():
    settings = compose(ONE, {"rate": 1, "folds": [0, 2], "clean": ["blank"]})
    assert type(settings.fit.rate) is float
    assert settings.look == Look(folds=(0, 2), clean=("blank",))


def test_a_part_made_directly_is_checked_and_cannot_change():
    with pytest.raises(ValueError, match="Received: epochs=-1"):
        Fit(epochs=-1)
    with pytest.raises(ValueError, match="verify: expected a path"):
        dataclasses.replace(Look(), verify=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Fit().epochs = 3


@pytest.mark.parametrize(
    "part, values, message",
    [
        (FoldSettings, {"folds": (5,)}, "folds: expected different numbers from 0 to 4."),
        (FoldSettings, {"folds": (-1,)}, "folds: expected different numbers from 0 to 4."),
        (FoldSettings, {"folds": (1, 1)}, "Received: folds=(1, 1)"),
        (DataSettings, {"seed": 1.0}, "seed: expected a whole number from 0 to 1000000000."),
        (SplitSettings, {"split": "hospital"}, "two hospitals; use num_folds=2"),
        (SplitSettings, {"folds": (9,)}, "folds: expected different numbers"),
        (CleaningSettings, {"clean": ("blanks",)}, "words among blank,duplicates"),
        (TrainingSettings, {"plateau_patience": 3}, "plateau_patience: a schedule sets its own"),
        (
            TrainingSettings,
            {"ema_momentum": 0.99, "early_stopping_patience": 3},
            "ema_momentum: averaged weights are those of the end",
        ),
        (PredictionSettings, {"labels": "hard", "ensemble": "rank"}, "labels: hard labels"),
        (CalibratedSettings, {"labels": "hard", "ensemble": "rank"}, "labels: hard labels"),
        (
            CalibratedSettings,
            {"calibration": "platt", "ensemble": "rank"},
            "calibration: ranks are not probabilities",
        ),
        (NetworkSettings, {"crop_size": 95}, "crop_size: expected an even number"),
        (NetworkSettings, {"dropout_rate": 2}, "dropout_rate: expected a number from 0 to 0.9."),
        (CourseNetworkSettings, {"crop_size": 95}, "crop_size: expected an even number"),
        (TransformerSettings, {"crop_size": 33}, "crop_size: expected an even number"),
        (PretrainedSettings, {"architecture": "densnet121"}, "did you mean 'densenet121'?"),
        (
            PretrainedSettings,
            {"architecture": "xception", "input_size": 64},
            "input_size: xception takes 72 to 224 pixels",
        ),
        (
            ScratchSettings,
            {"architecture": "p4m_densenet", "input_size": 40},
            "p4m_densenet takes 32 to 224 pixels in steps of 16",
        ),
        (ScratchSettings, {"architecture": "resnet"}, "did you mean 'resnet34'?"),
        (
            CourseNetworkSettings,
            {"architecture": "vgg16", "input_size": 64},
            "input_size: vgg16 takes 96 to 224 pixels",
        ),
        (
            CourseNetworkSettings,
            {"architecture": "my_vgg16", "weights": "imagenet"},
            "my_vgg16 has no ImageNet weights",
        ),
        (TransformerSettings, {"weights": "none"}, "such as weights=dinov2-base"),
        (TransformerSettings, {"weights": "imagenet"}, "Received: weights='imagenet'"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(part, values, message):
    with pytest.raises(ValueError) as error:
        part(**values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "part, values",
    [
        (TrainingSettings, {"plateau_patience": 3, "schedule": "constant"}),
        (SplitSettings, {"split": "hue", "num_folds": 2}),
        (CourseNetworkSettings, {"architecture": "vgg16", "weights": "imagenet"}),
        (CourseNetworkSettings, {"architecture": "course_resnet34", "input_size": 32}),
        (ScratchSettings, {"architecture": "resnet34", "input_size": 40}),
        (PretrainedSettings, {"architecture": "densenet121", "input_size": 32}),
    ],
)
def test_settings_that_go_together_are_taken(part, values):
    made = part(**values)
    assert {name: getattr(made, name) for name in values} == values


@pytest.mark.parametrize("part", list_parts(), ids=lambda part: part.__name__)
def test_every_part_has_valid_defaults_and_meanings(part):
    assert dataclasses.asdict(part())
    for field in dataclasses.fields(part):
        assert field.metadata["kind"] in KINDS
        assert field.metadata["text"] and not field.metadata["text"].endswith(".")


def test_a_subclass_adds_settings_and_may_widen_a_choice():
    names = [field.name for field in dataclasses.fields(CourseAugmentationSettings)]
    assert names[0] == "augmentation" and "stain_jitter" in names
    assert CourseAugmentationSettings().augmentation == "affine"
    names = [field.name for field in dataclasses.fields(SplitSettings)]
    assert names[-1] == "split" and "num_folds" in names


@pytest.mark.parametrize("name", list_recipes())
def test_the_settings_of_every_recipe_are_valid_and_their_names_unique(name):
    recipe = load_recipe(name)
    known = name_settings(recipe.parts())
    fields = [field.name for _, field in known.values()]
    assert name in ("best", "smoke") or (len(set(fields)) == len(fields) and list(known) == fields)
    settings = compose(recipe.parts(), recipe.SETTINGS)
    assert {n: settings.flat()[n] for n in recipe.SETTINGS} == recipe.SETTINGS
    assert list(vars(settings)) == list(recipe.parts())


def test_a_fork_is_checked_by_the_same_code():
    recipe = load_recipe("demo")
    page = compose(recipe.parts(), recipe.SETTINGS).flat()
    forked = compose(recipe.parts(), page, {"folds": [1]})
    assert forked == compose(recipe.parts(), recipe.SETTINGS, {"folds": (1,)})
    with pytest.raises(ValueError, match="Did you mean 'learning_rate'"):
        compose(recipe.parts(), {**page, "learning_rat": 0.1})


def test_what_decides_no_prediction_are_settings_of_recipes():
    names = {n for recipe in list_recipes() for n in name_settings(load_recipe(recipe).parts())}
    assert set(SESSION_SETTINGS) - names == {"figures", "steps_per_execution"}  # of older runs
