"""What a recipe's file says: its functions, SETTINGS and parts, read with `ast`."""

import ast
import importlib

from .flatten import defines_settings
from .source import Module, read_module


def find_function(recipe: Module, name: str, required: bool = True) -> tuple:
    """The module and the definition of a function of a recipe, or (None, None).

    It is the recipe's own, or imported from a module that is not a recipe.
    """
    module = recipe
    if name in recipe.own_imports:
        module = read_module(recipe.package, recipe.own_imports[name].module)
    node = module.definitions.get(name)
    if isinstance(node, ast.FunctionDef):
        return module, node
    if required:
        remedy = f"define it, or import it: from ..methods.course import {name}"
        recipe.refuse(1, f"the recipe has no function {name}()", remedy)
    return None, None


def find_settings(recipe: Module) -> ast.Assign:
    """The statement that assigns SETTINGS."""
    for node in recipe.tree.body:
        if defines_settings(node):
            return node
    remedy = "add SETTINGS = {...} with the differences from the defaults"
    recipe.refuse(1, "the recipe has no SETTINGS", remedy)


def read_changes(recipe: Module) -> dict:
    """SETTINGS of a recipe's file, which may only be assigned once and never changed."""
    node = find_settings(recipe)
    for other in ast.walk(recipe.tree):
        if isinstance(other, ast.Name) and other.id == "SETTINGS" and other not in node.targets:
            recipe.refuse(other, "SETTINGS is used again", "write all of it in one literal")
    try:
        changes = ast.literal_eval(node.value)
    except (ValueError, TypeError):
        changes = None
    if not isinstance(changes, dict):
        remedy = "write a dict with names and values only"
        recipe.refuse(node, "SETTINGS is not a dict of literals", remedy)
    return changes


def read_parts(module: Module, function: ast.FunctionDef) -> dict:
    """The parts of a recipe: names and classes, which settings modules define."""
    last = function.body[-1]
    value = last.value if isinstance(last, ast.Return) else None
    if not isinstance(value, ast.Dict) or not all(
        isinstance(key, ast.Constant) and isinstance(kind, ast.Name)
        for key, kind in zip(value.keys, value.values)
    ):
        remedy = 'write return {"training": TrainingSettings, ...}'
        what = "parts() does not return a dict of names and classes"
        module.refuse(function, what, remedy)
    return {key.value: import_part(module, kind) for key, kind in zip(value.keys, value.values)}


def import_part(module: Module, kind: ast.Name) -> type:
    """The class of a part, imported from the settings module that defines it."""
    source = module.own_imports.get(kind.id)
    home = source and read_module(module.package, source.module)
    if not home or not home.is_settings or kind.id not in home.definitions:
        what = f"{kind.id} is not imported from the settings module that defines it"
        remedy = "import it from a module settings.py or *_settings.py"
        module.refuse(kind, what, remedy)
    dotted = home.name.removesuffix(".py").replace("/", ".")
    return getattr(importlib.import_module(f"{module.package.name}.{dotted}"), kind.id)


def read_choices(space: ast.FunctionDef) -> list[dict]:
    """The named choices of a search space that are several settings each."""
    choices = []
    for node in ast.walk(space):
        if isinstance(node, ast.Dict):
            pairs = [
                (key.value, value.value)
                for key, value in zip(node.keys, node.values)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            ]
            choices += [dict(pairs)] if pairs else []
    return choices
