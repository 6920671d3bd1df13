"""One module on the page: verbatim, and every refusal of what a page would change."""

import ast

import pytest
from small_package import append, bundle, write_package

from kernel.bundle.order import order_modules
from kernel.bundle.recipes import read_recipe
from kernel.bundle.source import BundleError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The small package, free to be damaged."""
    return write_package(tmp_path, monkeypatch)


def list_names(package, name="plain"):
    """The modules of a recipe's page from top to bottom."""
    recipe = read_recipe(name, package)
    opening = [f"recipes/{name}.py"]
    return [m.name for m in order_modules(recipe.closure, opening).list_modules()]


@pytest.mark.parametrize(
    "line, message",
    [
        ('if __name__ == "__main__":\n    pass', "__name__"),
        ("def f():\n    return __package__", "__package__"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    X = 1", "TYPE_CH"),
        ("def tell():\n    pass", "tell is defined here and in system/clock.py"),
        ("tell, other = 1, 2", "tell is defined here and in system/clock.py"),
        ("class Run:\n    pass", "Run is defined here and in data/run.py"),
        ("BUILD_ID = 1", "BUILD_ID is defined here and in the page's settings"),
        ("SETTINGS = 1", "SETTINGS is defined here and in recipes/plain.py"),
        ("def keras():\n    pass", "keras is defined here and in 'keras' of an import"),
        ("import pandas as np", "np means "),
        ("from os import path as dataclasses", "dataclasses means "),
        ("def open():\n    pass", "open hides a builtin of Python"),
        ("for id in ():\n    pass", "id hides a builtin of Python"),
        ("import os; X = 1", "two statements in a line"),
        ("@functools.cache\ndef f():\n    pass", "cache, which cannot be sent to workers"),
        ("@lru_cache(1)\ndef f():\n    pass", "lru_cache, which cannot be sent to workers"),
        ("# %% a cell", "a cell mark"),
        ("#%% a cell", "a cell mark"),
        ("# caf\u00e9", "a character outside ASCII"),
        ("# " + "x" * 99, "101 characters in a line"),
    ],
)
def test_a_refusal_names_file_line_and_remedy(package, line, message):
    path = package / "training" / "loop.py"
    number = append(path, line)
    with pytest.raises(BundleError) as error:
        bundle(package)
    text = str(error.value)
    assert message in text and ". Try: " in text
    lines = range(number, number + len(line.splitlines()))
    if " means " in message:  # whichever of the two comes second is named
        assert text.split(":")[0].endswith(".py")
    else:
        assert any(text.startswith(f"{path}:{n}: ") for n in lines)


@pytest.mark.parametrize(
    "line",
    [
        "class Other(Run):\n    pass",
        "class Other(keras.Layer, metaclass=Run):\n    pass",
        "@open_run\ndef other():\n    pass",
        "@open_run('a')\ndef other():\n    pass",
        "def other(run=Run):\n    pass",
        "def other(*, run=open_run('')):\n    pass",
        "OTHER = Run",
        "OTHER = {'run': [Run for _ in range(2)]}",
        "OTHER = lambda run=Run: run",
        "class Other:\n    run = Run",
        "class Other:\n    run: object = Run",
        "class Other:\n    @open_run\n    def f(self):\n        pass",
        "class Other:\n    def f(self, run=Run):\n        pass",
        "if True:\n    OTHER = Run",
        "def other():\n    return Run\n\n\nOTHER = other()",
        "class Other:\n    def __init__(self):\n        Run\n\n\nOTHER = Other()",
        "class A:\n    def __init__(self):\n        Run\n\n\nclass B(A):\n    b = 1\n\nOTHER = B()",
        "OTHER: Run = Run",
    ],
)
def test_what_is_used_before_it_is_defined_is_refused(package, line):
    path = package / "methods" / "finetune.py"
    number = append(path, "from ..data.run import Run, open_run\n\n\n" + line)
    with pytest.raises(BundleError) as error:
        bundle(package)
    text = str(error.value)
    lines = range(number + 3, number + 3 + len(line.splitlines()))
    assert any(text.startswith(f"{path}:{n}: ") for n in lines)
    assert "of data/run.py is used while this module is being defined" in text
    assert "Try: use it inside a function" in text


@pytest.mark.parametrize(
    "line",
    [
        "def other(run: Run) -> Run:\n    return Run",
        "OTHER = lambda: Run",
        "class Other:\n    run: Run\n\n    def f(self) -> Run:\n        return Run",
        "class Other:\n    Run = 1\n    other = Run",
        "def other():\n    return Run\n\n\nOTHER = other",
        "OTHER: Run = None",
    ],
)
def test_what_is_used_when_called_may_stand_below(package, line):
    path = package / "methods" / "finetune.py"
    append(path, "from ..data.run import Run\n\n\n" + line)
    assert line in bundle(package).source


def test_importers_stand_above_what_they_import_in_the_order_of_folders(package):
    assert list_names(package) == [
        "recipes/plain.py",
        "models/net.py",
        "models/block.py",
        "augmentation/flips.py",
        "methods/finetune.py",
        "inference/views.py",  # a method imports it
        "inference/submission.py",
        "training/loop.py",
        "data/run.py",
        "system/clock.py",
        "system/settings.py",
        "augmentation/settings.py",
        "training/settings.py",
        "models/settings.py",
    ]


def test_what_a_module_needs_to_be_defined_is_moved_above_it(package):
    path = package / "models" / "net.py"
    append(path, "\n\nBLOCKS = {1: add_block}")
    names = list_names(package)
    assert names.index("models/block.py") == names.index("models/net.py") - 1
    bundle(package)


def test_a_module_outside_the_folders_of_a_page_is_refused(package):
    (package / "extra").mkdir()
    (package / "extra" / "more.py").write_text('"""More."""\n\nMORE = 1\n')
    append(package / "data" / "run.py", "from ..extra.more import MORE")
    with pytest.raises(BundleError, match=r"more.py:1: a module in the folder extra"):
        bundle(package)


def test_a_module_without_its_sentence_is_refused(package):
    (package / "system" / "clock.py").write_text("def tell(what):\n    pass\n")
    with pytest.raises(BundleError, match=r"clock.py:1: no docstring. Try: "):
        bundle(package)


def test_everything_but_imports_stands_verbatim(package):
    recipe, source = read_recipe("plain", package), bundle(package).source
    for module in recipe.closure.values():
        for line in module.lines:
            if module.path != recipe.path and not line.startswith(("import", "from")):
                assert f"{line}\n" in source
    page = [ast.dump(node) for node in ast.parse(source).body]
    for module in recipe.closure.values():
        for node in module.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert page.count(ast.dump(node)) == 1


def test_a_comment_goes_with_its_import(package):
    path = package / "inference" / "views.py"
    text = path.read_text("utf-8").replace("import numpy", "# A reason.\nimport numpy")
    path.write_text(text + "\n\n# A remark.\nREMARK = 1  # import os\n", "utf-8")
    source = bundle(package).source
    assert "# A reason." not in source
    assert "# A remark.\nREMARK = 1  # import os\n" in source
    assert '"""Views of a patch, and their average."""\n\n\ndef average' in source
