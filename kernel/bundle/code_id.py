"""The code id: which code decides a page's predictions, regardless of wording."""

import ast

from pcam_kaggle.system.files import short_hash
from pcam_kaggle.system.provenance import choose_code_id
from pcam_kaggle.system.settings import SESSION_SETTINGS

from .source import Module

# The folders and modules whose code decides predictions. The values of the settings enter a run's
# fingerprint by themselves.
DECIDING = ("recipes", "methods", "training", "inference", "models", "augmentation", "analysis")
DECIDING += ("data", "system/weights.py", "system/device.py")
CONSTANTS = ("CODE_ID", "SETTINGS", "OVERRIDES")  # of a page
MESSAGES = ("print", "warn")  # calls whose arguments are messages
SKIPPED = ("annotation", "returns", "type_comment", "type_params", "kind", "ctx")


def compute_code_id(closure: dict[str, Module]) -> str:
    """Ten hex digits over the parsed code of a page that decides its predictions.

    Docstrings, annotations, texts of messages and the order of the modules do not count: a
    page that was only reworded resumes what an earlier one left, and one whose layers changed
    does not. The same for every version of Python from 3.11 on, unlike `ast.dump`.

    Args:
        closure: dict of paths below the package, such as "models/build.py", and modules.
    """
    parts = []
    for name, module in sorted(closure.items()):
        decides = module.folder in DECIDING or name in DECIDING
        if decides and not module.is_settings:
            kept = [node for node in module.tree.body if not is_settings_literal(node)]
            parts.append(f"{name} {outline(kept)}")
    return short_hash("\n".join(parts))


def is_settings_literal(node: ast.AST) -> bool:
    """Whether a statement is a recipe's SETTINGS or an import of our own."""
    if isinstance(node, ast.ImportFrom) and node.level:
        return True
    targets = getattr(node, "targets", [])
    return [getattr(target, "id", "") for target in targets] == ["SETTINGS"]


def outline(node: object) -> str:
    """What a piece of parsed code does, as text: no messages, annotations or positions."""
    if isinstance(node, list):
        return "[" + ",".join(filter(None, map(outline, node))) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if is_message(node):
        return ""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return f"Raise({outline(node.exc.func)})"
    fields = (f"{n}={outline(v)}" for n, v in ast.iter_fields(node) if n not in SKIPPED)
    return f"{type(node).__name__}({','.join(fields)})"


def is_message(node: ast.AST) -> bool:
    """Whether a statement is a docstring, a bare annotation, or prints or warns."""
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Call):
        function = node.value.func
        return getattr(function, "id", getattr(function, "attr", "")) in MESSAGES
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def identify_networks(source: str) -> tuple | None:
    """What has to agree so that one page may resume the networks of another.

    Args:
        source: a page's text.

    Returns:
        The code id and the settings that decide predictions; None for a text that is not a
        page.
    """
    try:
        found = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(source).body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in CONSTANTS
        }
        settings = {**found["SETTINGS"], **found["OVERRIDES"]}
        code_id = choose_code_id(source, found["CODE_ID"])
    except (SyntaxError, ValueError, KeyError):
        return None
    deciding = {n: v for n, v in settings.items() if n not in SESSION_SETTINGS}
    return code_id, deciding
