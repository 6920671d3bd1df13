"""The page: its order, settings, imports and contents, the same on any machine."""

import ast
import datetime
import os
import re
import shutil
import subprocess
import sys

import jupytext
import pytest
from small_package import append, bundle, insert, write_package

from kernel.bundle.code_id import compute_code_id
from kernel.bundle.header import describe_fork, render_settings
from kernel.bundle.page import bundle_kernel
from kernel.bundle.recipes import compose_settings, list_recipes, read_recipe
from kernel.bundle.source import BundleError, is_docstring
from kernel.folders import PACKAGE, ROOT
from pcam_kaggle.system.provenance import compute_build_id

OVERRIDES = {"epochs": 3, "folds": (0, 1), "learning_rate": 1e-3, "tta": "none"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The small package, free to be damaged."""
    return write_package(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def pages():
    """The page of every recipe."""
    return {name: bundle_kernel(name) for name in list_recipes()}


def literals_of(source):
    """The settings at the top of a page."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") in ("BUILD_ID", "CODE_ID", "SETTINGS", "OVERRIDES")
    }


def run_ruff(*arguments):
    """What ruff prints; it must find nothing."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache"]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_page_tells_the_story_first(package):
    source = bundle(package).source
    marks = [
        "# # PCam plain",
        "# One small network: seconds on a laptop.",
        "# A network of one layer is trained",
        "# **Results.** Not measured yet.",
        "# **To fork:**",
        "# **Contents**",
        "from __future__ import annotations",
        'BUILD_ID = "',
        'CODE_ID = "',
        "SETTINGS = {",
        "OVERRIDES = {}",
        "import logging",
        'os.environ["TF_CPP_MIN_LOG_LEVEL"]',
        "import dataclasses",
        "import keras",
        "# %% recipes/plain.py",
        "def main(run: Run):",
        "# ## The network",
        "# %% models/net.py",
        "# ## Augmentation",
        "# ## Fitting one network",
        "# ## Prediction, average and submission",
        "# ## Machinery",
        "# ## Training",
        "# ## Data",
        "# ## System",
        "# ## Types of the settings",
        "# %% system/settings.py",
        'main(open_run("plain", parts(), SETTINGS, OVERRIDES, BUILD_ID, CODE_ID))',
    ]
    lines = source.split("\n")
    found = [next(n for n, ln in enumerate(lines) if ln.startswith(m)) for m in marks]
    assert found == sorted(found)
    assert lines[-2] == marks[-1] and lines[-1] == ""
    assert source.count("from __future__") == 1


def test_settings_name_what_the_recipe_changes_first_with_every_meaning(package):
    assert render_settings(read_recipe("plain", package)) == (
        "SETTINGS = {\n"
        "    # Set by this recipe\n"
        '    "flips": ("left", "up"),  # axes to flip (left, up, both, neither)\n'
        '    "epochs": 3,  # passes over the patches\n'
        "    # Defaults: flips\n"
        '    "share": 0.5,  # share of the patches that are flipped at random in every '
        "epoch of the run\n"
        "}"
    )


def test_a_long_meaning_stands_above_its_setting(package):
    path = package / "training" / "settings.py"
    text = path.read_text("utf-8").replace('"passes over', '"word " * 30 + "over')
    path.write_text(text, "utf-8")
    lines = bundle(package).source.split("\n")
    place = lines.index('    "epochs": 3,')
    assert lines[place - 1] == "    # " + "word " * 11 + "over the patches"
    assert lines[place - 2] == "    # " + " ".join(["word"] * 19)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"epochs": 3},
        {"weights": "/a/" + "long folder/" * 30 + 'na"me.h5'},
        {"weights": "caf\u00e9 \U0001f600"},
    ],
)
def test_overrides_read_back(package, overrides):
    source = bundle(package, "shared", overrides).source
    assert literals_of(source)["OVERRIDES"] == overrides
    assert source.isascii() and max(map(len, source.split("\n"))) <= 100


@pytest.mark.parametrize("name", list_recipes())
def test_settings_are_literals_that_read_back(pages, name):
    recipe = read_recipe(name)
    found = literals_of(pages[name].source)
    assert found["SETTINGS"] == compose_settings(recipe).flat()
    assert list(found["SETTINGS"])[: len(recipe.changes)] == list(recipe.changes)
    assert found["OVERRIDES"] == {}
    assert found["BUILD_ID"] == pages[name].build_id
    assert found["BUILD_ID"] == compute_build_id(pages[name].source)
    assert found["CODE_ID"].partition("-")[0] == compute_code_id(recipe.closure)


def test_overrides_of_a_recipe_stand_below_its_settings():
    source = bundle_kernel("demo", OVERRIDES).source
    found = literals_of(source)
    assert found["OVERRIDES"] == OVERRIDES
    assert found["SETTINGS"] == compose_settings(read_recipe("demo")).flat()
    assert source.startswith("# %% [markdown]\n# # PCam demo folds 0 1\n")


@pytest.mark.parametrize("name", list_recipes())
def test_every_module_of_a_recipe_stands_verbatim(pages, name):
    recipe = read_recipe(name)
    page = [ast.dump(node) for node in ast.parse(pages[name].source).body]
    kinds = (ast.Import, ast.ImportFrom)
    for module in recipe.closure.values():
        for node in module.tree.body:
            if module.path == recipe.path and not isinstance(node, ast.FunctionDef):
                continue  # its docstring and SETTINGS stand at the top
            if not isinstance(node, kinds):
                assert page.count(ast.dump(node)) >= 1
                assert is_docstring(node) or page.count(ast.dump(node)) == 1


@pytest.mark.parametrize("name", list_recipes())
def test_contents_give_the_line_of_every_section(pages, name):
    page = pages[name]
    lines = page.source.split("\n")
    for section in page.contents:
        line = lines[section.line - 1]
        assert line in (f"# %% {section.name}", "# %% [markdown]")
        if line == "# %% [markdown]":
            assert lines[section.line] == f"# ## {section.name}"
    top = page.source[: page.source.index("# %% Settings")]
    listed = re.findall(r"^# +(\d+)  (\S+\.py)", top, re.M)
    assert listed[0][1].startswith(("recipes/", "methods/"))
    for number, module in listed:
        assert lines[int(number) - 1] == f"# %% {module}"
    machinery = next(s.line for s in page.contents if s.name == "Machinery")
    assert page.story_lines == machinery - 1
    assert re.search(rf"^# +{machinery}  Machinery ", top, re.M)
    assert not re.search(r"\.\.\.$", top, re.M), "a sentence that does not fit the contents"


def test_only_a_page_that_needs_a_gpu_asks_for_one(pages):
    words = {name: " ".join(re.split(r"[#\s]+", page.source)) for name, page in pages.items()}
    asking = {name for name, text in words.items() if "choose GPU T4 x2," in text}
    assert asking == {*pages} - {"demo", "explore", "explain", "explain_tokens"}


def test_a_folder_of_the_machinery_opens_with_its_sentence(pages, package):
    for folder in ("training", "data", "system"):
        sentence = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text()))
        heading = f"# ## {folder.capitalize()}\n#\n# {sentence.splitlines()[0]}\n\n# %% "
        assert heading in pages["fast"].source
    assert "# ## Training\n\n" in bundle(package).source  # without an __init__.py


def test_landmarks_are_the_lines_where_these_stand(package):
    page = bundle(package)
    lines = page.source.split("\n")
    found = {name: lines[line - 1].strip() for name, line in page.landmarks.items()}
    assert found == {
        "main": "def main(run: Run):",
        "network": "# %% models/net.py",
        "fit": "def fit(self, patches: np.ndarray, epochs: int):",
        "predict": "def predict(self, patches: np.ndarray) -> np.ndarray:",
    }
    assert set(bundle(package, "look").landmarks) == {"main"}


def test_code_lines_leave_out_docstrings_comments_and_blanks(package):
    before = bundle(package)
    append(package / "system" / "clock.py", "\n# A comment.\nA = 1\n")
    text = '\n\ndef more():\n    """More.\n\n    Words.\n    """\n    return A  # A\n'
    append(package / "system" / "clock.py", text)
    after = bundle(package)
    assert after.code_lines - before.code_lines == 3
    assert after.num_bytes == len(after.source.encode("utf-8")) > before.num_bytes


@pytest.mark.parametrize("name", list_recipes())
def test_a_page_is_plain_text_that_opens_as_a_notebook(pages, name):
    source = pages[name].source
    assert source.isascii() and "\r" not in source and source.endswith(")\n")
    assert max(map(len, source.split("\n"))) <= 100
    notebook = jupytext.reads(source, fmt="py:percent")
    marks = re.findall(r"^# %%(.*)$", source, re.M)
    assert [cell.cell_type == "markdown" for cell in notebook.cells] == [
        mark == " [markdown]" for mark in marks
    ]
    assert notebook.cells[0].source.startswith(f"# PCam {name.replace('_', ' ')}\n")


def test_ruff_finds_nothing_undefined_or_unused(pages, tmp_path):
    for name, page in pages.items():
        (tmp_path / f"{name}.py").write_text(page.source, "utf-8")
    run_ruff("--select", "F", tmp_path)


def test_imports_stand_once_in_the_order_of_ruff(package, tmp_path):
    path = package / "inference" / "views.py"
    long = ", ".join(f"{kind}_score" for kind in ("f1", "recall", "precision", "auc"))
    for line in (
        "import os.path",
        "from keras import ops",
        "import PIL.Image",
        "from collections.abc import Iterator, Callable",
        "from scipy import stats",
        "import concurrent.futures as futures",
        "from itertools import chain as chained, islice",
        f"from sklearn.metrics import roc_auc_score as auc, {long}",
        "from numpy import int8, Inf, NAN, array, int16",
    ):
        insert(path, line)
    source = bundle(package).source
    start = source.index('setLevel("ERROR")')
    block = source[source.index("\n\n", start) : source.index("# %% recipes/plain.py")]
    assert re.search(r"^from collections\.abc import Callable, (Iterable, )?Iterator$", block, re.M)
    assert "from keras import layers, ops\n" in block
    assert block.count("import numpy as np\n") == 1 and "import os\n" not in block
    (tmp_path / "block.py").write_text(block.strip() + "\n", "utf-8")
    run_ruff("--select", "I", "--config", "line-length=100", tmp_path / "block.py")


def test_a_page_without_a_framework_sets_nothing_up_for_one(package):
    source = bundle(package, "look").source
    assert "TF_CPP" not in source and "import os\n" not in source
    assert "GPU T4" not in source


@pytest.mark.parametrize("overrides, written", [({}, "1"), ({"epochs": 3}, "3")])
def test_a_page_runs_alone(package, tmp_path, overrides, written):
    script = tmp_path / "page.py"
    script.write_text(bundle(package, "look", overrides).source, "utf-8")
    command = [sys.executable, "-I", script]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.stdout.strip(), result.stderr) == (written, "")


def test_a_page_is_the_same_from_another_folder_clock_and_time_zone(tmp_path):
    copy = tmp_path / "elsewhere"
    skip = shutil.ignore_patterns("dist", "__py*", "patches")
    for name in ("pcam_kaggle", "kernel"):
        shutil.copytree(ROOT / name, copy / name, ignore=skip)
    shutil.copy(ROOT / "kernel-metadata.json", copy)
    for path in copy.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as on Windows
        os.utime(path, (0, 0))
    code = "from kernel.bundle.metadata import write_kernel as w; w('demo', "
    environment = {
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "KAGGLE_USERNAME": "zebulon",
    }
    subprocess.run(
        [sys.executable, "-c", f"{code}{OVERRIDES!r})"],
        cwd=copy,
        env={**os.environ, **environment},
        check=True,
    )
    slug = "pcam-demo-folds-0-1"
    built = (copy / f"kernel/dist/{slug}/{slug}.py").read_bytes()
    assert built == bundle_kernel("demo", OVERRIDES).source.encode("utf-8")
    assert b"zebulon" not in built and str(tmp_path).encode() not in built
    assert str(datetime.date.today()).encode() not in built


def test_settings_and_sources_change_the_build_id(package, pages):
    ids = {page.build_id for page in pages.values()}
    assert len(ids) == len(pages)
    ids = {bundle(package).build_id, bundle(package).build_id}
    ids.add(bundle(package, overrides={"epochs": 4}).build_id)
    append(package / "system" / "clock.py", "# A comment.")
    ids.add(bundle(package).build_id)
    assert len(ids) == 3


def test_a_page_that_kaggle_would_refuse_for_its_size_is_refused(package):
    lines = "\n".join(f'    "{n:090}",' for n in range(8_000))
    append(package / "system" / "clock.py", f"\n\nBLOB = (\n{lines}\n)")
    with pytest.raises(BundleError, match="at most 700,000 bytes, since Kaggle ref"):
        bundle(package)


def test_a_page_that_does_not_compile_is_refused(package):
    append(package / "system" / "clock.py", "\n\ndef twice(a, a):\n    pass")
    with pytest.raises(BundleError, match="of the page of plain does not compile: "):
        bundle(package)


def test_results_that_the_page_cannot_hold_are_refused(package):
    with pytest.raises(BundleError, match="at most 100 characters of ASCII"):
        bundle_kernel("plain", None, package, lambda name: "caf\u00e9")


def test_a_page_says_how_to_get_weights_that_are_not_in_it():
    advice = "switch the internet on or attach the weights,"
    needed = {name for name in list_recipes() if advice in describe_fork(read_recipe(name), {})}
    assert {"best", "fast", "midnight", "vit", "course_study"} <= needed
    assert not {"demo", "scratch", "explore", "course_my_vgg16"} & needed
    assert advice not in describe_fork(read_recipe("midnight"), {"weights": "attached"})
    text = describe_fork(read_recipe("fast"), {"weights": "none"})
    assert advice not in text and "choose GPU T4 x2, and click" in text


def test_a_page_of_a_training_says_how_to_get_folds_by_slide():
    told = {
        name for name in list_recipes() if "# **Slides:** For folds" in bundle_kernel(name).source
    }
    assert set(list_recipes()) - told == {"explore", "infer", "explain", "explain_tokens"}


def test_the_page_states_what_was_measured(pages):
    from kernel.facts.measurements import describe_result

    top = pages["demo"].source.partition("# %% Settings")[0]
    words = " ".join(line.strip("# ") for line in top.split("\n"))
    assert f"**Results.** {describe_result('demo')}" in words
