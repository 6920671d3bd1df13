"""The imports of all modules of a page as one block, as ruff sorts them."""

import ast
import re
import sys

from .flatten import MAX_COLUMNS, list_external_imports
from .source import Module


def render_imports(modules: list[Module], ready: tuple = ()) -> str:
    """The top-level imports of what is outside the package, each once.

    Args:
        modules: the modules of the page.
        ready: plain imports that stand above the block, such as ("os",).

    Returns:
        str, standard library first, with a blank line before the other packages.
    """
    plain, members = set(), {}
    for module in modules:
        for node in list_external_imports(module):
            if isinstance(node, ast.ImportFrom):
                names = members.setdefault(node.module, set())
                names |= {(alias.name, alias.asname) for alias in node.names}
            else:
                plain |= {(alias.name, alias.asname) for alias in node.names}
    plain -= {(name, None) for name in ready}
    sections = []
    for is_standard in (True, False):
        lines = [
            f"import {render_name(pair)}"
            for pair in sorted(plain, key=lambda pair: (sort_key(pair[0]), pair[1] or ""))
            if is_own_section(pair[0], is_standard)
        ]
        for name in sorted(members, key=sort_key):
            if is_own_section(name, is_standard):
                lines += render_members(name, members[name])
        sections.append("\n".join(lines))
    return "\n\n".join(section for section in sections if section)


def is_own_section(name: str, is_standard: bool) -> bool:
    """Whether a module belongs to the standard library, or to the others."""
    return (name.partition(".")[0] in sys.stdlib_module_names) == is_standard


def render_members(module: str, names: set) -> list[str]:
    """The lines of `from module import ...`; an alias has a statement of its own."""
    ordered = sorted(names, key=member_key)
    plain = [pair for pair in ordered if not pair[1]]
    groups = [[pair] for pair in ordered if pair[1]] + ([plain] if plain else [])
    lines = []
    for group in sorted(groups, key=lambda group: member_key(group[0])):
        members = [render_name(pair) for pair in group]
        line = f"from {module} import {', '.join(members)}"
        if len(line) > MAX_COLUMNS:
            members = [f"    {name}," for name in members]
            lines += [f"from {module} import (", *members, ")"]
        else:
            lines.append(line)
    return lines


def render_name(pair: tuple) -> str:
    """A name and its alias."""
    name, alias = pair
    return f"{name} as {alias}" if alias else name


def member_key(pair: tuple) -> tuple:
    """Constants before classes before functions, as isort has it."""
    name = pair[0]
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return (kind, *sort_key(name), pair[1] or "")


def sort_key(name: str) -> tuple:
    """The order of names: case ignored, numbers by value."""
    pieces = re.split(r"(\d+)", name.lower())
    return ([int(p) if p.isdigit() else p for p in pieces], name)
