"""One source file of the package, parsed: its imports, its names, its lines."""

import ast
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class BundleError(ValueError):
    """A source that cannot stand on a page; names file:line and the remedy."""


@dataclasses.dataclass(frozen=True)
class OwnImport:
    """A name that a module imports from another module of the package.

    Attributes:
        name: the imported name.
        module: the module it comes from, such as "training/fit.py".
        line: the line of the import.
    """

    name: str
    module: str
    line: int


@dataclasses.dataclass(frozen=True, eq=False)
class Module:
    """A parsed source file.

    Attributes:
        package: Path of the package's folder.
        name: the file's path below that folder, such as "training/fit.py".
        text: the source, with "\\n" between lines.
        tree: the parsed source.
    """

    package: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.package / self.name

    @property
    def folder(self) -> str:
        """The first folder below the package, "" for a file beside the folders."""
        return self.name.rpartition("/")[0].partition("/")[0]

    @property
    def is_settings(self) -> bool:
        """Whether this is a settings module, light enough to import at home."""
        return is_settings(self.name)

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines of the source."""
        return self.text.split("\n")

    @functools.cached_property
    def docstring(self) -> str:
        """The module's docstring, "" without one."""
        return ast.get_docstring(self.tree) or ""

    @property
    def sentence(self) -> str:
        """The first line of the docstring."""
        return self.docstring.partition("\n")[0]

    @functools.cached_property
    def statements(self) -> list[ast.AST]:
        """Every statement at any depth, which is faster than to walk every node."""
        return list(walk_statements(self.tree))

    @property
    def imports(self) -> list[ast.Import | ast.ImportFrom]:
        """The import statements at any depth."""
        kinds = (ast.Import, ast.ImportFrom)
        return [node for node in self.statements if isinstance(node, kinds)]

    @functools.cached_property
    def own_imports(self) -> dict[str, OwnImport]:
        """The names that the module imports from the package, at its top level."""
        found = {}
        for node in self.tree.body:
            for item in list_own_imports(self, node):
                found[item.name] = item
        return found

    @functools.cached_property
    def bound(self) -> list[tuple[str, int, ast.AST]]:
        """The top-level names that the module defines, with line and statement.

        Imports at the top level define nothing here; those in a block do.
        """
        return [
            (name, line, node)
            for node in self.tree.body
            if not isinstance(node, (ast.Import, ast.ImportFrom))
            for name, line in bound_names(node)
        ]

    @functools.cached_property
    def definitions(self) -> dict[str, ast.AST]:
        """The top-level names that the module defines, and the statement of each."""
        return {name: node for name, _, node in self.bound}

    def refuse(self, where: ast.AST | int, what: str, remedy: str) -> NoReturn:
        """Raise a BundleError for a node or a line number."""
        line = getattr(where, "lineno", where)
        raise BundleError(f"{self.path}:{line}: {what}. Try: {remedy}.")


def is_settings(name: str) -> bool:
    """Whether the file of that name is a settings module."""
    return name.endswith(("/settings.py", "_settings.py"))


def read_module(package: Path, name: str) -> Module:
    """Read and parse a file of the package, once for each text that it has.

    Args:
        package: Path of the package's folder.
        name: the file's path below it, with "/".

    Raises:
        BundleError: a syntax error.
    """
    try:
        text = (package / name).read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        module = Module(package, name, "", ast.Module([], []))
        module.refuse(line, "a character that is not UTF-8", "save the file as UTF-8")
    return parse_module(package, name, text)


@functools.cache
def parse_module(package: Path, name: str, text: str) -> Module:
    """Parse the text of a file of the package."""
    try:
        return Module(package, name, text, ast.parse(text))
    except SyntaxError as error:
        module = Module(package, name, text, ast.Module([], []))
        module.refuse(error.lineno or 1, f"syntax error: {error.msg}", "correct that line")


def walk_statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements below a node, at any depth, in the order of their lines."""
    for block in ("body", "handlers", "cases", "orelse", "finalbody"):
        for child in getattr(node, block, ()):
            if isinstance(child, ast.stmt):
                yield child
            yield from walk_statements(child)


def is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a bare string."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def list_own_imports(module: Module, node: ast.AST) -> list[OwnImport]:
    """The names that a statement imports from the package; none for other statements.

    Raises:
        BundleError: a form of import that a page cannot do without.
    """
    target = find_own_module(module, node)
    if target is None:
        return []
    package = module.package
    if isinstance(node, ast.Import) or not (package / f"{target}.py").is_file():
        place = package / target
        if target and isinstance(node, ast.ImportFrom) and not place.is_dir():
            remedy = "correct the name of the module"
            module.refuse(node, f"no module {target}.py in {package.name}", remedy)
        remedy = "write from ..folder.module import name, with the module that defines"
        what = f"'{ast.unparse(node)}' imports a package or a whole module"
        module.refuse(node, what, f"{remedy} the name")
    for alias in node.names:
        if alias.name == "*":
            module.refuse(node, "a star import", "import the names that you use")
        if alias.asname:
            what = f"{alias.name} of {target}.py is imported under an alias"
            module.refuse(node, what, "use the name that it has")
    return [OwnImport(alias.name, f"{target}.py", node.lineno) for alias in node.names]


def find_own_module(module: Module, node: ast.AST) -> str | None:
    """The own module that a statement imports from, as a path without ".py".

    Returns:
        str, "" for the package itself; None where nothing of the package is imported.
    """
    name = module.package.name
    if isinstance(node, ast.Import):
        own = [a.name for a in node.names if a.name.split(".")[0] == name]
        return own[0].partition(".")[2].replace(".", "/") if own else None
    if not isinstance(node, ast.ImportFrom):
        return None
    if not node.level:
        first, _, rest = node.module.partition(".")
        return rest.replace(".", "/") if first == name else None
    folders = module.name.split("/")[:-1]
    if node.level - 1 > len(folders):
        remedy = f"import from {name} only"
        module.refuse(node, f"'{ast.unparse(node)}' leaves the package", remedy)
    parts = folders[: len(folders) - node.level + 1]
    return "/".join(parts + (node.module.split(".") if node.module else []))


def list_external(node: ast.AST) -> list[str]:
    """The modules outside the package that an import statement names."""
    if isinstance(node, ast.ImportFrom):
        return [] if node.level else [node.module]
    return [alias.name for alias in node.names]


def bound_names(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Pairs of name and line that a statement binds in the scope it stands in."""
    line = getattr(node, "lineno", 0)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name, line
        yield from walrus_names([*node.decorator_list, *getattr(node, "bases", [])])
        return
    if isinstance(node, (ast.Lambda, *COMPREHENSIONS)):
        if isinstance(node, COMPREHENSIONS):  # a walrus binds outside of it
            yield from walrus_names([node])
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id, line
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.split(".")[0], line
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name, line
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest, line
    for child in ast.iter_child_nodes(node):
        yield from bound_names(child)


def walrus_names(nodes: list) -> Iterator[tuple[str, int]]:
    """The names that := binds anywhere below some nodes."""
    for node in nodes:
        for child in ast.walk(node):
            if isinstance(child, ast.NamedExpr):
                yield child.target.id, child.lineno
