"""The import closure: what it holds, and every import that it refuses."""

import pytest
from small_package import append, bundle, insert, write_package

from kernel.bundle.closure import find_closure
from kernel.bundle.recipes import read_recipe
from kernel.bundle.source import BundleError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The small package, free to be damaged."""
    return write_package(tmp_path, monkeypatch)


def test_it_holds_what_the_recipe_imports_and_nothing_else(package):
    assert list(find_closure(package, "recipes/look.py")) == [
        "data/run.py",
        "recipes/look.py",
        "system/settings.py",
        "training/settings.py",
    ]
    names = set(find_closure(package, "recipes/plain.py"))
    assert {"models/net.py", "models/block.py", "system/clock.py"} < names
    assert not {"methods/course.py", "recipes/look.py"} & names


def test_absolute_imports_count_like_relative_ones(package):
    path = package / "recipes" / "look.py"
    text = path.read_text("utf-8").replace("from ..training", "from {}.training")
    path.write_text(text.replace("{}", package.name, 1), "utf-8")
    assert "training/settings.py" in find_closure(package, "recipes/look.py")


def test_a_cycle_is_refused_with_its_chain(package):
    clock, loop = package / "system" / "clock.py", package / "training" / "loop.py"
    insert(clock, "from ..training.loop import run_loop")
    with pytest.raises(BundleError) as error:
        bundle(package)
    text = str(error.value)
    assert text.startswith(f"{loop}:5: a cycle of imports: ")
    assert f"{loop}:5 imports system/clock.py, " in text
    assert f"{clock}:2 imports training/loop.py. Try: " in text


def test_a_module_that_imports_itself_is_a_cycle(package):
    insert(package / "system" / "clock.py", "from .clock import tell")
    with pytest.raises(BundleError, match=r"clock.py:2: a cycle of imports: .*clock"):
        bundle(package)


@pytest.mark.parametrize(
    "line, message",
    [
        ("import kernel", "'import kernel' does not belong on a page"),
        ("from kernel.folders import ROOT", "does not belong on a page"),
        ("import kaggle", "'import kaggle' does not belong on a page"),
        ("from kagglesdk import client", "does not belong on a page"),
        ("def later():\n    import kaggle", "does not belong on a page"),
        ("import torch", "'import torch' is not known to be in Kaggle's image"),
        ("def later():\n    import timm.models", "not known to be in Kaggle's image"),
        ("from __future__ import annotations", "'from __future__ import annotations'"),
        ("from ..system.clock import say", "say is not defined in system/clock.py"),
        ("from ..system.clock import datetime", "datetime is not defined in system/c"),
        ("from ..system.clok import tell", "no module system/clok.py"),
        ("from ..system.clock import tell as say", "tell of system/clock.py is imp"),
        ("from ..system.clock import *", "a star import"),
        ("from math import *", "a star import"),
        ("from .. import system", "imports a package or a whole module"),
        ("from ..system import clock", "imports a package or a whole module"),
        ("from . import submission", "imports a package or a whole module"),
        ("import {package}.system.clock", "imports a package or a whole module"),
        ("import {package}", "imports a package or a whole module"),
        ("from ...kernel import folders", "leaves the package"),
        ("def later():\n    from ..system.clock import tell", "own import inside a bl"),
        ("if True:\n    from ..system.clock import tell", "own import inside a block"),
        ("from ..recipes.look import main", "main is imported from another recipe"),
        ("def broken(:", "syntax error: "),
    ],
)
def test_an_import_is_refused_with_file_line_and_remedy(package, line, message):
    path = package / "inference" / "views.py"
    line = line.replace("{package}", package.name)
    number = append(path, line)
    with pytest.raises(BundleError) as error:
        bundle(package)
    text = str(error.value)
    assert message in text
    lines = range(number, number + len(line.splitlines()))
    assert any(text.startswith(f"{path}:{n}: ") for n in lines)
    assert ". Try: " in text


@pytest.mark.parametrize(
    "line, message",
    [
        ("import numpy as np", "'import numpy as np' in a settings module"),
        ("from .loop import run_loop", "a settings module imports training/loop.py"),
    ],
)
def test_settings_need_nothing_but_settings(package, line, message):
    path = package / "training" / "settings.py"
    number = append(path, line)
    with pytest.raises(BundleError, match=f"settings.py:{number}: {message}"):
        find_closure(package, "recipes/look.py")


def test_an_import_in_a_function_stays_there(package):
    path = package / "inference" / "views.py"
    append(path, "\n\ndef later():\n    import joblib\n\n    return joblib")
    source = bundle(package).source
    assert "\n    import joblib\n" in source and "\nimport joblib\n" not in source


def test_a_recipe_says_whether_it_needs_a_framework_and_submits(package):
    recipes = {n: read_recipe(n, package) for n in ("plain", "shared", "look")}
    assert {n: r.uses_framework for n, r in recipes.items()} == {
        "plain": True,
        "shared": True,
        "look": False,
    }
    assert [r.submits for r in recipes.values()] == [True, True, False]
    assert package / "system" / "clock.py" in recipes["plain"].modules
