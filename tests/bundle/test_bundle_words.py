"""Words as a user types them: strict types, every mistake named."""

import dataclasses

import pytest

from kernel.bundle.words import parse_overrides, parse_value
from pcam_kaggle.system.settings import Part, compose, setting


@dataclasses.dataclass(frozen=True)
class Fit(Part):
    """A part that is used twice."""

    epochs: int = setting(6, "passes", low=1)
    learning_rate: float = setting(0.1, "highest rate", low=1e-8, high=10)


@dataclasses.dataclass(frozen=True)
class Look(Part):
    """A setting of every other kind."""

    folds: tuple = setting((), "which folds", kind="ints")
    clean: tuple = setting((), "what to leave out", ("blank", "duplicates"), kind="names")
    tta: str = setting("dihedral", "views", ("none", "flip", "dihedral"))
    weights: str = setting("", "a file")
    verify_ids: bool = setting(False, "check ids")


ONE = {"fit": Fit, "look": Look}
TWO = {"vit": Fit, "cnn": Fit, "look": Look}


def test_words_take_the_type_of_their_setting():
    words = ["epochs=3", "learning_rate=1", "folds=0,2", "verify_ids=TRUE", "tta=none"]
    overrides = parse_overrides(ONE, [*words, "clean=blank,duplicates", "weights=a=b"])
    assert overrides == {
        "epochs": 3,
        "learning_rate": 1.0,
        "folds": (0, 2),
        "verify_ids": True,
        "tta": "none",
        "clean": ("blank", "duplicates"),
        "weights": "a=b",
    }
    assert type(overrides["learning_rate"]) is float
    assert compose(ONE, {}, overrides).look.folds == (0, 2)


@pytest.mark.parametrize("name", ["folds", "clean"])
def test_nothing_behind_the_sign_is_an_empty_list(name):
    assert parse_overrides(ONE, [f"{name}="]) == {name: ()}
    assert parse_overrides(ONE, []) == {}


def test_a_setting_that_two_parts_have_is_typed_in_full():
    assert parse_overrides(TWO, ["vit.epochs=1", "cnn.epochs=2"]) == {
        "vit.epochs": 1,
        "cnn.epochs": 2,
    }
    with pytest.raises(ValueError, match=r"Expected: one of vit\.epochs, cnn\.epochs"):
        parse_overrides(TWO, ["epochs=3"])
    with pytest.raises(ValueError, match=r"unknown setting 'fit\.epochs'"):
        parse_overrides(ONE, ["fit.epochs=3"])


@pytest.mark.parametrize(
    "word, message",
    [
        ("epoch=3", "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ("epochs=three", "epochs: expected a whole number of at least 1. Received: "),
        ("epochs=2.5", "Received: epochs='2.5'"),
        ("epochs=", "Received: epochs=''"),
        ("epochs=0", "Received: epochs=0"),
        ("verify_ids=1", "verify_ids: expected true or false. Received: "),
        ("learning_rate=nan", "learning_rate: expected a number from 1e-08 to 10."),
        ("learning_rate=20", "Received: learning_rate=20.0"),
        ("tta=dihedrall", "did you mean 'dihedral'?"),
        ("folds=a,b", "folds: expected a tuple of whole numbers such as (0, 1)."),
        ("clean=blanks", "clean: expected words among blank,duplicates."),
        ("epochs", "settings are written name=value. Received: 'epochs'"),
        ("recipe=demo", "unknown setting 'recipe'."),
    ],
)
def test_a_wrong_word_is_named(word, message):
    with pytest.raises(ValueError) as error:
        parse_overrides(ONE, [word])
    assert message in str(error.value)


def test_a_setting_that_powershell_has_split_is_shown_quoted():
    with pytest.raises(ValueError, match='PowerShell .*; quote it: "folds=0,1,2"$'):
        parse_overrides(ONE, ["folds=0", "1", "2", "epochs=3"])
    with pytest.raises(ValueError, match="Received: '1'$"):
        parse_overrides(ONE, ["epochs=3", "1"])
    with pytest.raises(ValueError, match="Try: epochs=3$"):
        parse_overrides(ONE, ["folds=0", "epochs", "3"])


def test_a_word_given_twice_is_refused():
    with pytest.raises(ValueError, match="epochs is given twice. Received: epochs=1 epochs=1"):
        parse_overrides(ONE, ["epochs=1", "epochs=1"])


@pytest.mark.parametrize(
    "kind, text, value",
    [("int", "0_1", 1), ("int", " 3", 3), ("float", "1e-3", 0.001), ("ints", "1,", (1,))],
)
def test_a_word_means_what_python_reads(kind, text, value):
    assert parse_value(kind, text) == value
