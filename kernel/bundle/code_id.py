"""The code id: which code decides a page's predictions, regardless of wording."""

import ast

from pcam_kaggle.system.files import short_hash
from pcam_kaggle.system.provenance import choose_code_id
from pcam_kaggle.system.settings import SESSION_SETTINGS

from .source import Module

# The modules whose code decides no prediction.
NEUTRAL_NAMES = ("clock", "files", "locks", "paths", "progress", "provenance", "workers")
NEUTRAL = {f"system/{name}.py" for name in NEUTRAL_NAMES}
CONSTANTS = ("CODE_ID", "SETTINGS", "OVERRIDES")  # of a page
MESSAGES = ("print", "warn")  # calls whose arguments are messages
SKIPPED = ("annotation", "returns", "type_comment", "type_params", "kind", "ctx")


def compute_code_id(closure: dict[str, Module]) -> str:
    """Ten hex digits over the parsed code of a page that decides its predictions.

    Docstrings, annotations, texts with spaces in them and the order of the modules do not count:
    a page that was only reworded resumes what an earlier one left, and one whose layers changed
    does not. The same for every version of Python from 3.11 on, unlike `ast.dump`.

    Args:
        closure: dict of paths below the package, such as "models/build.py", and modules.
    """
    parts = []
    for name, module in sorted(closure.items()):
        kept = [node for node in module.tree.body if decides(node, module)]
        if name not in NEUTRAL and kept:
            parts.append(f"{name} {outline(kept)}")
    return short_hash("\n".join(parts))


def decides(node: ast.AST, module: Module) -> bool:
    """Whether a statement counts: not our own imports, SETTINGS and the parts.

    What these hold reaches a run's fingerprint as the values of the settings.
    """
    if isinstance(node, ast.ImportFrom) and node.level:
        return False
    if module.is_settings and isinstance(node, ast.ClassDef):
        return False
    targets = getattr(node, "targets", [])
    return [getattr(target, "id", "") for target in targets] != ["SETTINGS"]


def outline(node: object) -> str:
    """What a piece of parsed code does, as text: no messages, annotations or positions."""
    if isinstance(node, list):
        return "[" + ",".join(filter(None, map(outline, node))) + "]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return f"Field({outline(node.target)},{'ClassVar' in ast.unparse(node.annotation)})"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return ""  # a docstring
    if is_message(node):
        return ""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return f"Raise({outline(node.exc.func)})"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        if getattr(function, "id", getattr(function, "attr", "")) in MESSAGES:
            inside = [*node.value.args, *node.value.keywords]
            calls = [n for part in inside for n in ast.walk(part) if isinstance(n, ast.Call)]
            return f"Message({outline(calls)})" if calls else ""
    fields = (f"{n}={outline(v)}" for n, v in ast.iter_fields(node) if n not in SKIPPED)
    return f"{type(node).__name__}({','.join(fields)})"


def is_message(node: ast.AST) -> bool:
    """Whether a constant is text for people, which has spaces, or the empty rest of one."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    return " " in node.value or not node.value


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
