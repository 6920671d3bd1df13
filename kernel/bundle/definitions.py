"""What a module needs of others while it is being defined, before any call."""

import ast
import dataclasses
import functools
from collections.abc import Iterator

from .source import Module, bound_names

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ON_CREATION = ("__init__", "__new__", "__post_init__", "__init_subclass__")


@dataclasses.dataclass(frozen=True)
class Use:
    """A name of another module that must be defined before the user's module.

    Attributes:
        name: the name.
        module: the module that defines it, such as "models/settings.py".
        line: the line that needs it, in the user's module.
    """

    name: str
    module: str
    line: int


class Evaluated(ast.NodeVisitor):
    """Collects the names that a statement reads when it is run.

    Bodies of functions are left out, as are annotations: the page has
    `from __future__ import annotations`. Bases, decorators, defaults and the
    statements of a class are not.

    Attributes:
        reads: pairs of name and line.
        calls: those of them that are called.
    """

    def __init__(self):
        self.reads = []
        self.calls = []

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.reads.append((node.id, node.lineno))

    def visit_Call(self, node):
        self.add_call(node.func)
        self.generic_visit(node)

    def visit_AnnAssign(self, node):
        self.visit_all([node.target, node.value])

    def visit_FunctionDef(self, node):
        self.visit_decorators(node)
        self.visit_all([*node.args.defaults, *node.args.kw_defaults])

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        self.visit_all([*node.args.defaults, *node.args.kw_defaults])

    def visit_ClassDef(self, node):
        self.visit_decorators(node)
        self.visit_all([*node.bases, *node.keywords])
        for base in node.bases:
            self.add_call(base)  # __init_subclass__
        inside = Evaluated()
        inside.visit_all(node.body)
        bound = {name for child in node.body for name, _ in bound_names(child)}
        self.reads += [read for read in inside.reads if read[0] not in bound]
        self.calls += [call for call in inside.calls if call[0] not in bound]

    def visit_decorators(self, node):
        """A decorator is read and called."""
        self.visit_all(node.decorator_list)
        for decorator in node.decorator_list:
            self.add_call(decorator)

    def visit_all(self, nodes):
        """Visit the nodes that are not None."""
        for node in nodes:
            if node is not None:
                self.visit(node)

    def add_call(self, function):
        """Enter a name that is called."""
        if isinstance(function, ast.Name):
            self.calls.append((function.id, function.lineno))


class Called(Evaluated):
    """Collects the names that a function reads when it is called.

    The functions inside it count as called, too.
    """

    def visit_FunctionDef(self, node):
        super().visit_FunctionDef(node)
        self.visit_all(node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        super().visit_Lambda(node)
        self.visit(node.body)


def find_uses(module: Module, modules: dict[str, Module]) -> list[Use]:
    """What a module needs of other modules while it is being defined.

    A function or class that is called then is followed into its body.

    Args:
        module: Module.
        modules: dict of all modules of the page, by name.

    Returns:
        List of Use, each name of each module once.
    """
    found = {}
    for statement in module.tree.body:
        visitor = Evaluated()
        visitor.visit(statement)
        for name, line in visitor.reads:
            is_called = any(name == called for called, _ in visitor.calls)
            for user, needed in trace(module, name, is_called, modules, set()):
                if user != module.name:
                    found.setdefault((user, needed), Use(needed, user, line))
    return list(found.values())


def trace(
    module: Module, name: str, is_called: bool, modules: dict[str, Module], seen: set
) -> Iterator[tuple[str, str]]:
    """Pairs of module and name that a name stands for and, if called, leads to."""
    if name in module.own_imports:
        definer = modules[module.own_imports[name].module]
    elif name in module.definitions:
        definer = module
    else:
        return
    if (definer.name, name, is_called) in seen:
        return
    seen.add((definer.name, name, is_called))
    yield definer.name, name
    if is_called and name in definer.definitions:
        for read, calls in list_reads(definer.definitions[name]):
            yield from trace(definer, read, calls, modules, seen)


@functools.cache
def list_reads(node: ast.AST) -> list[tuple[str, bool]]:
    """The names that a function or a class reads when it is called.

    Returns:
        List of pairs of name and whether it is called in its turn.
    """
    bases = getattr(node, "bases", [])
    found = [(base.id, True) for base in bases if isinstance(base, ast.Name)]
    for function in list_called(node):
        visitor = Called()
        visitor.visit_all(function.body)
        names = find_locals(function)
        called = {name for name, _ in visitor.calls}
        reads = dict.fromkeys(name for name, _ in visitor.reads)
        found += [(name, name in called) for name in reads if name not in names]
    return found


def list_called(node: ast.AST) -> list:
    """The functions that run when a function or a class is called."""
    if isinstance(node, FUNCTIONS):
        return [node]
    body = node.body if isinstance(node, ast.ClassDef) else []
    return [n for n in body if isinstance(n, FUNCTIONS) and n.name in ON_CREATION]


def find_locals(function: ast.AST) -> set[str]:
    """The names of a function's arguments and of what it assigns."""
    nodes = list(ast.walk(function))
    return {node.arg for node in nodes if isinstance(node, ast.arg)} | {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
