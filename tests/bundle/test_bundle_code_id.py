"""The code id: the same however the code is worded, another one for other predictions."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_package import append, insert, write_package

from kernel.bundle.code_id import compute_code_id, outline
from kernel.bundle.recipes import list_recipes, read_recipe
from kernel.folders import ROOT

CODE = """
from kernel.bundle.code_id import compute_code_id, outline
from kernel.bundle.recipes import list_recipes, read_recipe
for name in list_recipes():
    print(name, compute_code_id(read_recipe(name).closure))
"""
VERSIONS = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3"))
MINORS = {"3.11", "3.12", "3.13"} - {"{}.{}".format(*sys.version_info)}
WORDED = '''
import warnings

LIMIT = 3


def check_size(size, limit=LIMIT):
    """Check a size."""
    if size > limit:
        raise ValueError(f"size: expected at most {limit}")
    print("checked", size)
    warnings.warn("checked")
    return size + 1
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The small package with a function whose code and words are told apart."""
    folder = write_package(tmp_path, monkeypatch)
    insert(folder / "training" / "loop.py", "")
    append(folder / "training" / "loop.py", WORDED)
    return folder


def find_id(package, name="plain"):
    return compute_code_id(read_recipe(name, package).closure)


def replace(package, name, old, new):
    """Change a source of the package."""
    path = package / name
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{name}: {text.count(old)} times {old!r}"
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("training/loop.py", '"""Check a size."""', '"""Is it small enough?"""'),
        ("training/loop.py", '    """Check a size."""\n', ""),
        ("training/loop.py", '"""The loop."""', '"""The loop of the training.\n\nMore.\n"""'),
        ("training/loop.py", "expected at most {limit}", "is over {limit} by {size - limit}"),
        ("training/loop.py", 'print("checked", size)', 'print(f"{size} is fine", flush=True)'),
        ("training/loop.py", '    print("checked", size)\n', ""),
        ("training/loop.py", 'warn("checked")', 'warn("fine", stacklevel=2)'),
        ("training/loop.py", "(size, limit=LIMIT)", "(size: int, limit: int = LIMIT) -> int"),
        ("training/loop.py", "LIMIT = 3\n", "LIMIT = 3  # of a size\n\n\n"),
        ("training/loop.py", "return size + 1", "return (\n        size + 1\n    )"),
        ("inference/views.py", "patches: np.ndarray)", "patches)"),
        ("methods/finetune.py", "network: Callable", "network: object"),
        ("recipes/plain.py", "One small network: seconds", "A small network: some seconds"),
        ("recipes/plain.py", '"""Fit, predict, write."""', '"""All of it."""'),
        ("recipes/plain.py", "# The differences.", "# What differs."),
    ],
)
def test_other_words_are_the_same_code(package, name, old, new):
    before = find_id(package)
    replace(package, name, old, new)
    assert find_id(package) == before


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("models/block.py", "layers.Dense(1)", "layers.Dense(2)"),
        ("models/block.py", "layers.Dense(1)", "layers.Dense(1, use_bias=False)"),
        ("models/net.py", "layers.Flatten()", "layers.GlobalMaxPooling2D()"),
        ("models/net.py", '"small": build_net', '"tiny": build_net'),
        ("augmentation/flips.py", "np.flip(run.patches, 1)", "np.flip(run.patches, 2)"),
        ("training/loop.py", "LIMIT = 3", "LIMIT = 4"),
        ("training/loop.py", "limit=LIMIT", "limit=2"),
        ("training/loop.py", "raise ValueError(", "raise TypeError("),
        ("training/loop.py", "size > limit", "size >= limit"),
        ("training/loop.py", "    return size + 1", "    return size + 2"),
        ("training/loop.py", "import warnings", "import warnings\nimport math"),
        ("training/loop.py", "from tqdm import tqdm", "from tqdm.auto import tqdm"),
        ("inference/views.py", "import numpy as np", "import jax.numpy as np"),
        ("methods/finetune.py", "frozen=True", "frozen=False"),
        ("data/run.py", "Path(name).is_dir()", "Path(name).is_file()"),
        ("recipes/plain.py", "Finetune(build_net())", "Finetune(build_net(None))"),
        ("recipes/plain.py", "    write_submission(method.predict(run))\n", ""),
    ],
)
def test_other_code_has_another_id(package, name, old, new):
    before = find_id(package)
    replace(package, name, old, new)
    assert find_id(package) != before


def test_a_constant_beside_settings_is_part_of_it(package):
    before = find_id(package)
    replace(package, "training/settings.py", "SIZES = (96, 128)", "SIZES = (96, 160)")
    assert find_id(package) != before


@pytest.mark.parametrize(
    "source",
    [
        "a: int\nb: int\n|b: int\na: int\n",  # a dataclass built by position
        "a: int\n|a: ClassVar[int]\n",
        'print("x")\n|print("x", draw())\n',
        'x = f"fold{n}"\n|x = f"fold_{n}"\n',
    ],
)
def test_what_is_no_mere_wording_counts(source):
    first, second = (outline(ast.parse(text).body) for text in source.split("|"))
    assert first != second


@pytest.mark.parametrize(
    "source",
    [
        'x = "no time for"\n|x = "too little time for"\n',
        'x = f"{n} images in {s} s"\n|x = f"{n} patches in {s} s"\n',
        "a: int\n|a: float\n",
    ],
)
def test_texts_with_spaces_and_annotations_do_not_count(source):
    first, second = (outline(ast.parse(text).body) for text in source.split("|"))
    assert first == second


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("training/settings.py", "setting(1, ", "setting(2, "),
        ("recipes/plain.py", '"epochs": 3', '"epochs": 4'),
        ("recipes/plain.py", '    "flips": ("left", "up"),\n', ""),
        ("system/clock.py", "print(datetime", "print(what, datetime"),
    ],
)
def test_settings_and_the_clock_are_no_part_of_it(package, name, old, new):
    """The values of settings enter a run's fingerprint by themselves."""
    before = find_id(package)
    replace(package, name, old, new)
    assert find_id(package) == before


def test_an_own_import_moves_with_the_name_that_it_imports(package):
    """A module that is renamed or split is other code; an import of it is not."""
    before = find_id(package)
    replace(package, "models/net.py", "from .block import add_block", "from .part import add_block")
    moved = package / "models" / "block.py"
    moved.rename(package / "models" / "part.py")
    assert find_id(package) != before  # the section has another name


def test_what_a_recipe_does_not_import_is_no_part_of_it(package):
    before = find_id(package, "look")
    replace(package, "models/block.py", "layers.Dense(1)", "layers.Dense(2)")
    assert find_id(package, "look") == before != find_id(package, "plain")


def test_recipes_of_one_program_share_it_but_for_their_names(package):
    ids = {name: find_id(package, name) for name in ("shared", "search", "plain", "look")}
    assert len(set(ids.values())) == 4
    replace(package, "recipes/shared.py", "A recipe with", "One with")
    replace(package, "recipes/shared.py", '"imagenet"', '"none"')
    assert find_id(package, "shared") == ids["shared"]


def test_every_recipe_has_an_id_of_its_own():
    ids = {compute_code_id(read_recipe(name).closure) for name in list_recipes()}
    assert len(ids) == len(list_recipes()) and all(len(name) == 10 for name in ids)


@pytest.mark.parametrize("minor", sorted(MINORS))
def test_every_version_of_python_finds_the_same_ids(minor):
    found = [path for path in VERSIONS if path.parts[-3].startswith(f"{minor}.")]
    if not found:
        pytest.skip(f"no Python {minor} here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [found[0], "-S", "-c", CODE], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    expected = [f"{n} {compute_code_id(read_recipe(n).closure)}" for n in list_recipes()]
    assert result.stdout.splitlines() == expected
