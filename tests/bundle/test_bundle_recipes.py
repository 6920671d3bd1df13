"""Recipes as data: what is read of them, their settings, and every refusal."""

import subprocess
import sys

import pytest
from small_package import append, bundle, write_package

from kernel.bundle.recipes import (
    RENAMED,
    compose_settings,
    list_networks,
    list_recipes,
    parse_words,
    read_recipe,
)
from kernel.bundle.source import BundleError
from kernel.folders import ROOT
from pcam_kaggle.system.settings import SESSION_SETTINGS, name_settings

STUDIES = [name for name in list_recipes() if name.endswith("_study")]
CODE = """
import sys
from kernel.bundle.metadata import fill_metadata
from kernel.bundle.page import bundle_kernel
from kernel.bundle.recipes import list_recipes, parse_words, read_recipe
for name in list_recipes():
    bundle_kernel(name), fill_metadata(name)
parse_words(read_recipe("fast"), ["epochs=3"])
heavy = {"tensorflow", "keras", "jax", "torch", "numpy", "pandas", "kaggle", "sklearn"}
print(sorted(heavy & set(sys.modules)))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The small package, free to be damaged."""
    return write_package(tmp_path, monkeypatch)


def replace(path, old, new):
    """Change a source."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_a_recipe_is_read_without_its_import(package):
    assert list_recipes(package) == ["look", "plain", "search", "shared"]
    recipe = read_recipe("plain", package)
    assert recipe.text == "One small network: seconds on a laptop."
    assert recipe.method == "A network of one layer is trained\non one fold."
    assert recipe.changes == {"flips": ("left", "up"), "epochs": 3}
    assert {n: p.__name__ for n, p in recipe.parts.items()} == {
        "training": "TrainingSettings",
        "flips": "FlipSettings",
    }
    assert recipe.main_module == "recipes/plain.py" and not recipe.is_study
    assert not {f"{package.name}.recipes.plain", f"{package.name}.models.net"} & set(sys.modules)


def test_a_shared_program_is_followed(package):
    recipe = read_recipe("shared", package)
    assert list(recipe.parts) == ["network", "training"]
    assert recipe.main_module == "methods/course.py"
    source = bundle(package, "shared").source
    assert "# %% recipes/" not in source and "# # PCam shared" in source


def test_a_study_has_a_space_and_its_networks_are_known(package):
    recipe = read_recipe("search", package)
    assert recipe.is_study
    assert list_networks(recipe) == [("small", "none"), ("large", "imagenet")]
    given = list_networks(recipe, {"weights": "hf://a/b"})
    assert given == [("small", "hf://a/b"), ("large", "imagenet")]
    assert list_networks(read_recipe("look", package)) == []


@pytest.mark.parametrize(
    "old, new, line, message",
    [
        ("def main(", "def train(", 1, "the recipe has no function main()"),
        ("def parts(", "def settings(", 1, "the recipe has no function parts()"),
        ("SETTINGS =", "CHANGES =", 1, "the recipe has no SETTINGS"),
        ('"epochs": 3', '"epochs": 1 + 2', 16, "SETTINGS is not a dict of literals"),
        ('"epochs": 3', '"epochs": N', 16, "SETTINGS is not a dict of literals"),
        ("SETTINGS = {", "SETTINGS = [", 16, "syntax error: "),
        ('"epochs": 3', '"epoch": 3', 16, "SETTINGS: unknown setting 'epoch'"),
        ('"epochs": 3', '"epochs": 0', 16, "SETTINGS: epochs: expected a whole"),
        ("return {", "return dict(**{", 24, "syntax error: "),
        ("return {", "x = {", 22, "parts() does not return a dict of names"),
        ('"flips": Flip', "NAME: Flip", 22, "parts() does not return a dict of names"),
        (": FlipSettings}", ": Run}", 24, "Run is not imported from the settings mod"),
        (": FlipSettings}", ": int}", 24, "int is not imported from the settings mod"),
        ('"""One small', '# """One small', 1, "no docstring"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(package, old, new, line, message):
    path = package / "recipes" / "plain.py"
    replace(path, old, new)
    if old.startswith('"""'):
        replace(path, 'A network of one layer is trained\non one fold.\n"""\n', "")
    with pytest.raises(BundleError) as error:
        compose_settings(read_recipe("plain", package))
    text = str(error.value)
    assert message in text
    assert text.startswith(f"{path}:{line}: ") or "syntax error" in message
    assert "Try: " in text or "SETTINGS: " in text


def test_a_syntax_error_names_its_line(package):
    number = append(package / "recipes" / "plain.py", "def broken(:\n    pass")
    with pytest.raises(BundleError, match=f"plain.py:{number}: syntax error: .* Try: "):
        read_recipe("plain", package)


def test_a_name_that_two_parts_have_is_dotted(package):
    path = package / "augmentation" / "settings.py"
    replace(
        path,
        "    flips: tuple",
        '    epochs: int = setting(2, "epochs with flips")\n    flips: tuple',
    )
    replace(package / "recipes" / "plain.py", '"epochs"', '"training.epochs"')
    recipe = read_recipe("plain", package)
    assert parse_words(recipe, ["flips.epochs=4"]) == {"flips.epochs": 4}
    with pytest.raises(ValueError, match=r"training\.epochs, flips\.epochs"):
        parse_words(recipe, ["epochs=4"])
    source = bundle(package, overrides={"flips.epochs": 4}).source
    assert '"training.epochs": 3,' in source and '{"flips.epochs": 4}' in source


def test_words_become_typed_overrides():
    words = ["epochs=3", "learning_rate=1", "folds=0,2", "verify_ids=true", "tta=none"]
    overrides = parse_words(read_recipe("demo"), words)
    expected = {"epochs": 3, "learning_rate": 1.0, "folds": (0, 2), "verify_ids": True}
    assert overrides == {**expected, "tta": "none"}
    assert type(overrides["learning_rate"]) is float


@pytest.mark.parametrize(
    "word, message",
    [
        ("epoch=3", "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ("epochs=three", "Received: epochs='three'"),
        ("epochs=0", "Received: epochs=0"),
        ("folds=7", "folds: expected different numbers"),
        ("epochs", "settings are written name=value. Received: 'epochs'. Try: epochs=VALUE"),
        ("trials", "settings are written name=value. Received: 'trials'"),
        ("trials=3", "trials: demo has no such setting. Expected: a recipe that has it: "),
        ("trials=3", "course_study, demo_study, "),
        ("clean=blank", "best, course_my_vgg16, "),
        ("split=hue", "a recipe that has it: best. Received: split for recipe demo"),
        ("head=mlp", "a recipe that has it: best, midnight, midnight_study, smoke."),
        ("figures=false", "figures: this setting was removed; the report draws the pictures"),
        ("architecture=resnet34_seed", "resnet34_seed is now called course_resnet34."),
        ("split=stain", "split: stain is now called hue. Received: split=stain"),
        ("split=stratified", "split: stratified is now called auto."),
        ("recipe=demo", "unknown setting 'recipe'."),
    ],
)
def test_a_wrong_word_is_refused(word, message):
    with pytest.raises(ValueError) as error:
        parse_words(read_recipe("demo"), [word])
    assert message in str(error.value)


def test_a_word_given_twice_is_refused():
    with pytest.raises(ValueError, match="epochs is given twice"):
        parse_words(read_recipe("demo"), ["epochs=1", "epochs=2"])


@pytest.mark.parametrize("name, now", RENAMED.items())
def test_an_old_name_of_a_recipe_names_the_new_one(name, now):
    with pytest.raises(ValueError) as error:
        read_recipe(name)
    assert f"is now called {now}. Received: '{name}'" in str(error.value)
    recipe, *words = now.split()
    parse_words(read_recipe(recipe), words)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'course_resnet34'"):
        read_recipe("course_resnet")


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_complete(name):
    recipe = read_recipe(name)
    known = name_settings(recipe.parts)
    assert recipe.text.endswith(".") and recipe.method
    assert set(recipe.changes) <= set(known)
    assert not any("." in setting for setting in known) or name in ("best", "smoke")
    assert recipe.is_study is name.endswith("_study")
    others = ("explore", "smoke", "explain", "explain_tokens")
    assert recipe.submits is not (recipe.is_study or name in others)
    assert recipe.uses_framework is (name != "explore")
    for setting in recipe.changes:
        assert setting not in SESSION_SETTINGS or setting in ("trials", "require_gpu", "costs")
    defaults = {n: field.default for n, (_, field) in known.items()}
    values = compose_settings(recipe).flat()
    assert {n: values[n] for n in recipe.changes} == recipe.changes
    assert {n: v for n, v in values.items() if n not in recipe.changes} == {
        n: defaults[n] for n in known if n not in recipe.changes
    }


def test_the_course_recipes_are_as_published():
    rates = {"my_vgg16": 1e-3, "course_resnet34": 1e-2, "vgg16": 1e-3}
    for network, rate in rates.items():
        name = f"course_{network.removeprefix('course_')}"
        values = compose_settings(read_recipe(name)).flat()
        assert values["architecture"] == network
        assert (values["num_images"], values["num_folds"]) == (12_000, 5)
        assert (values["folds"], values["batch_size"]) == ((0,), 96)
        assert (values["epochs"], values["optimizer"]) == (20, "adam")
        assert (values["learning_rate"], values["augmentation"]) == (rate, "affine")
        assert (values["early_stopping_patience"], values["tta"]) == (5, "none")
        assert (values["plateau_patience"], values["plateau_factor"]) == (3, 0.1)
        assert (values["weight_decay"], values["label_smoothing"]) == (0, 0)
        weights = "imagenet" if network == "vgg16" else "none"
        assert values["weights"] == weights


def test_settings_that_few_recipes_have():
    owners = {}
    for name in list_recipes():
        for setting in name_settings(read_recipe(name).parts):
            owners.setdefault(setting, set()).add(name)
    course = {"course_my_vgg16", "course_resnet34", "course_vgg16"}
    assert owners["clean"] == {"best"} | course
    assert owners["split"] == {"best"}
    assert owners["trials"] == owners["study_hours"] == set(STUDIES)
    assert "figures" not in owners


def test_nothing_at_home_imports_a_framework():
    result = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
