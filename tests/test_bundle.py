"""The bundle: verbatim, readable, the same on any machine, and every refusal."""

import ast
import os
import shutil
import subprocess
import sys

import jupytext
import pytest

from kernel.bundle import DRIVER, MODULES, PACKAGE, ROOT, bundle_kernel
from kernel.flatten import BundleError
from pcam_kaggle.config import compute_build_id, parse_overrides
from pcam_kaggle.recipes import RECIPES, get_config

OVERRIDES = {"epochs": 3, "folds": (0, 1), "learning_rate": 1e-3, "tta": "none"}


@pytest.fixture
def sources(tmp_path):
    """A copy of the package and the driver, free to be damaged."""
    shutil.copytree(PACKAGE, tmp_path / "pcam_kaggle")
    shutil.copy(DRIVER, tmp_path)
    return tmp_path


def append(path, text):
    """Add lines to a source; the number of the first."""
    number = len(path.read_text("utf-8").splitlines()) + 1
    path.write_text(path.read_text("utf-8") + text + "\n", "utf-8")
    return number


def settings_of(source):
    """The literals at the top of a kernel."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") in ("BUILD_ID", "CONFIG", "OVERRIDES")
    }


def test_settings_are_literals_that_read_back():
    bundle = bundle_kernel("densenet121", OVERRIDES)
    settings = settings_of(bundle.source)
    assert settings["OVERRIDES"] == OVERRIDES
    assert settings["BUILD_ID"] == bundle.build_id == compute_build_id(bundle.source)
    assert get_config(settings["CONFIG"]) == get_config("densenet121")
    merged = get_config(settings["CONFIG"], settings["OVERRIDES"])
    assert merged == get_config("densenet121", OVERRIDES)


def test_every_function_and_class_stands_verbatim():
    kernel = ast.parse(bundle_kernel("demo").source)

    def definitions(tree):
        kinds = (ast.FunctionDef, ast.ClassDef, ast.Assign)
        return [ast.dump(node) for node in tree.body if isinstance(node, kinds)]

    flat = definitions(kernel)
    for module in MODULES:
        source = (PACKAGE / f"{module}.py").read_text("utf-8")
        for definition in definitions(ast.parse(source)):
            assert flat.count(definition) == 1


def test_contents_give_the_line_of_every_section():
    bundle = bundle_kernel("demo")
    lines = bundle.source.split("\n")
    assert [name for _, name, _ in bundle.contents] == [
        *(f"{module}.py" for module in MODULES),
        "driver.py",
    ]
    for number, name, sentence in bundle.contents:
        assert lines[number - 1] == f"# %% {name}"
        assert lines[number].startswith(f'"""{sentence}')
        assert f"{number}  {name}" in bundle.source


def test_a_kernel_is_one_plain_page_that_opens_as_a_notebook():
    source = bundle_kernel("seed_vgg16").source
    assert source.isascii() and "\r" not in source
    assert len(source.encode()) < 300_000
    notebook = jupytext.reads(source, fmt="py:percent")
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds == ["markdown", "code"] + ["code"] * (len(MODULES) + 1)
    assert notebook.cells[0].source.startswith("# PCam seed vgg16")
    compile(source, "kernel", "exec")


def test_ruff_finds_nothing_undefined_or_unused(tmp_path):
    script = tmp_path / "kernel.py"
    script.write_text(bundle_kernel("demo").source, "utf-8")
    command = ["ruff", "check", "--isolated", "--select", "F", "--no-cache", script]
    result = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_a_build_is_the_same_from_another_folder_clock_and_time_zone(tmp_path):
    copy = tmp_path / "elsewhere"
    for name in ("pcam_kaggle", "kernel"):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("dist", "__py*")
        )
    for name in ("build.py", "kernel-metadata.json"):
        shutil.copy(ROOT / name, copy)
    for path in copy.rglob("*.py"):
        os.utime(path, (0, 0))
    environment = {
        **os.environ,
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "KAGGLE_USERNAME": "somebody",
    }
    words = ["demo", "epochs=3", "folds=0,1"]
    subprocess.run(
        [sys.executable, copy / "build.py", "build", *words],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    slug = "pcam-demo-folds-0-1"
    built = (copy / f"kernel/dist/{slug}/{slug}.py").read_bytes()
    here = bundle_kernel("demo", parse_overrides(words[1:])).source
    assert built == here.encode("utf-8")
    assert b"somebody" not in built and str(tmp_path).encode() not in built


def test_settings_and_sources_change_the_build_id(sources):
    ids = {bundle_kernel(recipe).build_id for recipe in RECIPES}
    ids.add(bundle_kernel("demo", {"seed": 1}).build_id)
    append(sources / "pcam_kaggle" / "paths.py", "# A comment.")
    ids.add(bundle_kernel("demo", package=sources / "pcam_kaggle").build_id)
    assert len(ids) == len(RECIPES) + 2


@pytest.mark.parametrize(
    "line, message",
    [
        ("from .train import train_fold as fit", "an own import with an alias"),
        ("from .train import *", "a star import"),
        ("from . import train", "the package or a module of it imported whole"),
        ("import pcam_kaggle.train", "the package or a module of it imported whole"),
        ("from .train import missing", "missing is not defined in train.py above"),
        ("from .experiment import rate", "rate is not defined in experiment.py above"),
        ("def later():\n    from .paths import find_data", "own import inside a block"),
        ("from __future__ import annotations", "'from __future__'"),
        ('if __name__ == "__main__":\n    pass', "__name__"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    X = 1", "TYPE_CH"),
        ("def find_data():\n    pass", "find_data is defined here and in paths.py"),
        ("EPOCHS, summarise = 1, 2", "summarise is defined here and in data.py"),
        ("import numpy as pd", "pd means 'import numpy as pd' here and 'import pandas"),
        ("from os import path as find_data", "find_data means"),
        ("def open():\n    pass", "open hides a builtin"),
        ("import kaggle", "'import kaggle'; what ships the kernel"),
        ("from kernel.bundle import ROOT", "'from kernel.bundle import ROOT'"),
        ("# %% a cell", "a cell mark"),
        ("# caf\u00e9", "a character outside ASCII"),
        ("def broken(:", "syntax error"),
    ],
)
def test_a_refusal_names_file_line_and_fix(sources, line, message):
    path = sources / "pcam_kaggle" / "results.py"
    number = append(path, line)
    with pytest.raises(BundleError) as error:
        bundle_kernel("demo", package=sources / "pcam_kaggle")
    text = str(error.value)
    assert message in text
    lines = range(number, number + len(line.splitlines()))
    assert any(text.startswith(f"{path}:{n}: ") for n in lines)
    assert "; " in text


def test_a_module_that_is_not_listed_is_refused(sources):
    (sources / "pcam_kaggle" / "extra.py").write_text('"""Extra."""\n')
    with pytest.raises(BundleError, match="differ from MODULES .* by extra"):
        bundle_kernel("demo", package=sources / "pcam_kaggle")


def test_a_module_without_its_sentence_is_refused(sources):
    (sources / "pcam_kaggle" / "folds.py").write_text("import os\n")
    with pytest.raises(BundleError, match="folds.py:1: no docstring"):
        bundle_kernel("demo", package=sources / "pcam_kaggle")


def test_a_kernel_that_kaggle_would_refuse_for_its_size_is_refused(sources):
    append(sources / "pcam_kaggle" / "results.py", "BLOB = '" + "x" * 700_000 + "'")
    with pytest.raises(BundleError, match="bytes, Kaggle refuses 1 MB"):
        bundle_kernel("demo", package=sources / "pcam_kaggle")
