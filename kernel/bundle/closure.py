"""The import closure of a recipe: every module of the package that its page needs."""

import ast
import functools
import sys
from pathlib import Path

from .source import Module, OwnImport, find_own_module, is_settings, list_external, read_module

RUNNER = "data/run.py"  # defines open_run, which the page's last line calls
AT_HOME = ("kernel", "kaggle", "kagglesdk")
KNOWN = {*sys.stdlib_module_names, "__main__"}
KAGGLE_PACKAGES = {  # what Kaggle's image has, as far as the package needs it
    "IPython",
    "PIL",
    "cloudpickle",
    "filelock",  # huggingface_hub and torch need it
    "huggingface_hub",
    "jax",
    "joblib",
    "kaggle_secrets",  # nowhere else
    "keras",
    "keras_hub",
    "matplotlib",
    "numpy",
    "optuna",
    "pandas",
    "safetensors",
    "scipy",
    "sklearn",
    "tensorflow",
    "tqdm",
}


def find_closure(package: Path, recipe: str) -> dict[str, Module]:
    """The modules that a recipe's page consists of, found by following own imports.

    Args:
        package: Path of the package's folder.
        recipe: the recipe's file below it, such as "recipes/fast.py".

    Returns:
        dict of names such as "training/fit.py" and Modules, by name: the recipe, the
        module that opens a run, and what they import, directly or not.

    Raises:
        BundleError: a cycle of imports, a syntax error, an import that a page cannot
            have.
    """
    found = {}
    for name in (recipe, RUNNER):
        if name not in found:
            follow(read_module(package, name), [], found)
    for module in found.values():
        check_imports(module)
        if module.folder == "recipes" and module.name != recipe:
            refuse_recipe(found.values(), module.name)
    return dict(sorted(found.items()))


def follow(module: Module, chain: list, found: dict[str, Module]) -> None:
    """Add a module and what it imports to `found`.

    Args:
        module: Module.
        chain: pairs of Module and OwnImport that lead from the recipe to `module`.
        found: dict of the modules so far; added to.
    """
    imports = module.own_imports.values()
    for item in sorted(imports, key=lambda item: item.line):
        path = [*chain, (module, item)]
        names = [step.name for step, _ in path]
        if item.module in names:
            refuse_cycle(path[names.index(item.module) :])
        if item.module not in found:
            follow(read_module(module.package, item.module), path, found)
    found[module.name] = module


def refuse_cycle(cycle: list[tuple[Module, OwnImport]]) -> None:
    """Raise for modules that import one another, with the line of each import."""
    steps = [f"{m.path}:{item.line} imports {item.module}" for m, item in cycle]
    first, item = cycle[0]
    what = f"a cycle of imports: {', '.join(steps)}"
    first.refuse(item.line, what, "move what both need into a module below them")


def refuse_recipe(modules, name: str) -> None:
    """Raise for the first import of one recipe by another module."""
    for module in modules:
        for item in module.own_imports.values():
            if item.module == name:
                what = f"{item.name} is imported from another recipe"
                remedy = "move what both recipes need into methods/"
                module.refuse(item.line, what, remedy)


@functools.cache
def check_imports(module: Module) -> None:
    """Refuse imports, at any depth, of what Kaggle lacks or settings may not have.

    Raises:
        BundleError: such an import; names the remedy.
    """
    for node in module.imports:
        if find_own_module(module, node) is not None:
            check_own_import(module, node)
            continue
        for name in {full.partition(".")[0] for full in list_external(node)}:
            check_external_import(module, node, name)


def check_own_import(module: Module, node: ast.AST) -> None:
    """Refuse an own import in a block, or one by which settings need other code."""
    if node not in module.tree.body:
        remedy = "move the import to the top of the module"
        module.refuse(node, "an own import inside a block", remedy)
    target = f"{find_own_module(module, node)}.py"
    if module.is_settings and not is_settings(target):
        what = f"a settings module imports {target}"
        remedy = "move what it needs into a settings module"
        module.refuse(node, what, remedy)


def check_external_import(module: Module, node: ast.AST, name: str) -> None:
    """Refuse a package that belongs to the tools at home or is not on Kaggle."""
    what = f"'{ast.unparse(node)}'"
    if name in AT_HOME:
        remedy = "move what needs it into kernel/"
        module.refuse(node, f"{what} does not belong on a page", remedy)
    if name == "__future__":
        remedy = "remove it: the page has 'from __future__ import annotations'"
        module.refuse(node, what, remedy)
    if name in KNOWN:
        return
    if module.is_settings:
        remedy = "move what needs it out of the settings"
        module.refuse(node, f"{what} in a settings module", remedy)
    if name not in KAGGLE_PACKAGES:
        what = f"{what} is not known to be in Kaggle's image"
        remedy = "do without it, or add it to KAGGLE_PACKAGES in kernel/bundle/closure.py"
        module.refuse(node, what, remedy)
