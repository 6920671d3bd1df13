"""The folders of the package import only what stands below them, and no file in a circle."""

import ast
import sys

import pytest

from kernel.folders import PACKAGE, ROOT

# From top to bottom.
FOLDERS = ("recipes", "methods", "training", "inference", "models", "augmentation")
FOLDERS += ("analysis", "data", "system")
KERNEL = ROOT / "kernel"
# From top to bottom: the folders of kernel/ and the modules beside them.
KERNEL_LAYERS = (
    ("documents",),
    ("reference",),
    ("arguments", "catalog", "commands", "home"),
    ("listing", "options", "usage"),
    ("card",),
    ("report", "remote", "sandbox"),
    ("explain", "first_stage"),
    ("blend", "predict", "reuse"),
    ("predictions", "stacking"),
    ("board", "runs"),
    ("records",),
    ("bundle",),
    ("facts",),
    ("live",),
    ("credentials", "files", "folders", "locks", "processes", "progress", "terminal"),
)
FRAMEWORKS = {"keras", "keras_hub", "tensorflow", "jax", "torch"}


def find_sources(folder):
    """The modules of a package by dotted name, with their parsed text."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        if "dist" in path.relative_to(folder).parts:
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (path, ast.parse(path.read_text("utf-8")))
    return found


def list_imports(name, path, tree):
    """Every module that a file imports, at any depth, as (dotted name, line)."""
    base = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            start = base[: len(base) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield module, node.lineno
            for alias in node.names:  # a module of that package, perhaps
                yield f"{module}.{alias.name}", node.lineno


def find_graph(sources):
    """The own modules that each module imports."""
    return {
        name: {m for m, _ in list_imports(name, path, tree) if m in sources and m != name}
        for name, (path, tree) in sources.items()
    }


def find_cycle(graph):
    """A cycle of a graph as a list of its nodes, or None."""
    state, chain = {}, []

    def visit(name):
        state[name] = "open"
        chain.append(name)
        for other in sorted(graph[name]):
            if state.get(other) == "open":
                return [*chain[chain.index(other) :], other]
            if other not in state and (cycle := visit(other)):
                return cycle
        chain.pop()
        state[name] = "done"

    for name in graph:
        if name not in state and (cycle := visit(name)):
            return cycle


@pytest.fixture(scope="module")
def package():
    return find_sources(PACKAGE)


@pytest.fixture(scope="module")
def kernel():
    return find_sources(KERNEL)


def find_folder(name):
    """The folder of the package in which a module stands, "" for the package itself."""
    return [*name.split("."), ""][1]


def test_a_cycle_would_be_found():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_every_module_of_the_package_stands_in_a_known_folder(package):
    assert {find_folder(name) for name in package} == {*FOLDERS, ""}
    graph = find_graph(package)
    assert graph["pcam_kaggle.recipes.fast"] > {"pcam_kaggle.methods.finetune"}
    assert graph["pcam_kaggle.data.cache"] == {
        "pcam_kaggle.data.decode",
        "pcam_kaggle.system.files",
        "pcam_kaggle.system.progress",
    }


def test_no_module_of_the_package_imports_upward(package):
    wrong = [
        f"{name} imports {other}"
        for name, others in find_graph(package).items()
        for other in others
        if find_folder(name)
        and FOLDERS.index(find_folder(name)) > FOLDERS.index(find_folder(other) or "recipes")
    ]
    assert wrong == []


def test_no_module_of_the_tools_imports_upward_or_sideward(kernel):
    """Modules of one layer import one another only within a folder."""
    layers = {name: n for n, names in enumerate(KERNEL_LAYERS) for name in names}
    assert {find_folder(name) for name in kernel} == {*layers, ""}
    wrong = [
        f"{name} imports {other}"
        for name, others in find_graph(kernel).items()
        for other in others
        if find_folder(name) != find_folder(other) != ""
        and layers[find_folder(name)] >= layers[find_folder(other)]
    ]
    assert wrong == []


def test_no_modules_import_one_another(package, kernel):
    assert find_cycle(find_graph(package)) is None
    assert find_cycle(find_graph(kernel)) is None


def test_settings_need_nothing_but_the_standard_library_and_settings(package):
    settings = [n for n in package if n.rpartition(".")[2].endswith("settings")]
    assert len(settings) > 10
    for name in settings:
        for module, line in list_imports(name, *package[name]):
            first = module.partition(".")[0]
            is_ours = first == "pcam_kaggle" and any(
                module == other or module.startswith(f"{other}.") for other in settings
            )
            assert is_ours or first in sys.stdlib_module_names, f"{name}:{line} imports {module}"


def test_the_package_needs_nothing_of_the_tools_at_home(package):
    for name, (path, tree) in package.items():
        for module, line in list_imports(name, path, tree):
            first = module.partition(".")[0]
            assert first not in {"kernel", "build", "kaggle", "kagglesdk"}, f"{name}:{line}"


def test_the_tools_at_home_import_no_framework(kernel):
    build = ROOT / "build.py"
    sources = {**kernel, "build": (build, ast.parse(build.read_text("utf-8")))}
    for name, (path, tree) in sources.items():
        for module, line in list_imports(name, path, tree):
            assert module.partition(".")[0] not in FRAMEWORKS, f"{name}:{line} imports {module}"


def test_imports_of_the_package_itself_stand_at_the_top_of_a_module(package):
    """The page flattens them; a function may import what is slow and not ours."""
    for name, (path, tree) in package.items():
        if path.name == "__init__.py":
            continue
        nested = [n for node in tree.body for n in ast.iter_child_nodes(node)]
        for node in (inner for outer in nested for inner in ast.walk(outer)):
            is_own = isinstance(node, ast.ImportFrom) and node.level
            assert not is_own, f"{name}:{node.lineno} imports {ast.unparse(node)}"
