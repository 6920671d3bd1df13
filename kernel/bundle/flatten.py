"""One module as a section of the page: what is refused, what is left out."""

import ast
import builtins
import re

from .source import Module, is_docstring

MAX_COLUMNS = 100  # of a page, as ruff formats the package
UNSUITABLE = re.compile("__(doc|name|package|path|spec)__|TYPE_CHECKING")
GAP = re.compile(r'"""\n\n(?=@|class |def )')  # below a docstring, whose imports were left out
CELL_MARK = re.compile(r"\s*#\s*%%")
UNPICKLED = ("cache", "lru_cache", "cached_property", "singledispatch")


def check_module(module: Module) -> None:
    """Refuse code that cannot go on a page or would change its meaning.

    Raises:
        BundleError: names file:line and the remedy.
    """
    if not module.docstring:
        module.refuse(1, "no docstring", "open the module with one sentence")
    for number, line in enumerate(module.lines, 1):
        if not line.isascii():
            module.refuse(number, "a character outside ASCII", "spell it in ASCII")
        if CELL_MARK.match(line):
            remedy = "remove it: the bundler writes the cell marks"
            module.refuse(number, "a cell mark", remedy)
        if len(line) > MAX_COLUMNS:
            remedy = f"break the line: the page has {MAX_COLUMNS} columns"
            module.refuse(number, f"{len(line)} characters in a line", remedy)
    for node in module.imports:
        if node.names[0].name == "*":
            module.refuse(node, "a star import", "import the names that you use")
    if UNSUITABLE.search(module.text):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and UNSUITABLE.fullmatch(node.id):
                remedy = "do without it: on a page every module is __main__"
                module.refuse(node, node.id, remedy)
    check_layout(module)
    check_decorators(module)


def check_decorators(module: Module) -> None:
    """Refuse a decorator whose result cannot be sent to a worker.

    A page's functions are pickled by value, which such an object cannot be.
    """
    for node in ast.walk(module.tree):
        for decorator in getattr(node, "decorator_list", ()):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = ast.unparse(called).rpartition(".")[2]
            if name in UNPICKLED:
                remedy = "keep results in a dict of the module"
                module.refuse(decorator, f"{name}, which cannot be sent to workers", remedy)


def check_layout(module: Module) -> None:
    """Refuse an import that shares its lines with another statement."""
    end = 0
    for node in module.tree.body:
        if node.lineno <= end:
            module.refuse(node, "two statements in a line", "give each its own line")
        end = node.end_lineno


def check_names(modules: dict[str, Module], taken: dict[str, str]) -> None:
    """Refuse names that two modules define, that hide a builtin, or that nobody has.

    Args:
        modules: dict of all modules of the page, by name.
        taken: dict of the names that the page defines besides, and where.

    Raises:
        BundleError: names file:line and the remedy.
    """
    meanings, places = find_imported(modules), dict(taken)
    for module in modules.values():
        for name, line, _ in module.bound:
            place = places.setdefault(name, module.name)
            if name in meanings:
                place = f"'{meanings[name]}' of an import"
            if place != module.name:
                what = f"{name} is defined here and in {place}"
                module.refuse(line, what, "give one of them another name")
            if hasattr(builtins, name):
                what = f"{name} hides a builtin of Python"
                module.refuse(line, what, "give it another name")
        for item in module.own_imports.values():
            if item.name not in modules[item.module].definitions:
                what = f"{item.name} is not defined in {item.module}"
                remedy = "import it from the module that defines it"
                module.refuse(item.line, what, remedy)


def find_imported(modules: dict[str, Module]) -> dict[str, str]:
    """The names that top-level imports bind, and what each means.

    Raises:
        BundleError: a name that means two things.
    """
    meanings = {}
    for module in modules.values():
        for node in list_external_imports(module):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                target = alias.name if alias.asname else bound
                if isinstance(node, ast.ImportFrom):
                    target = f"{node.module}.{alias.name}"
                other = meanings.setdefault(bound, target)
                if other != target:
                    what = f"{bound} means {target} here and {other} elsewhere"
                    module.refuse(node, what, "give one of them another name")
    return meanings


def list_external_imports(module: Module) -> list[ast.Import | ast.ImportFrom]:
    """The imports at a module's top level of what is outside the package."""
    own = {item.line for item in module.own_imports.values()}
    return [
        node
        for node in module.tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom)) and node.lineno not in own
    ]


def flatten_module(module: Module, is_recipe: bool = False) -> str:
    """The text of a module's section: the source without its imports.

    Args:
        module: Module.
        is_recipe: whether to leave out the docstring and SETTINGS as well, which
            stand at the top of the page.

    Returns:
        str, "" if nothing is left.
    """
    dropped = set()
    for node in module.tree.body:
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        stands_above = is_docstring(node) or defines_settings(node)
        if is_import or (is_recipe and stands_above):
            dropped |= find_lines(module, node)
    kept, after_gap = [], False
    for number, line in enumerate(module.lines, 1):
        if number in dropped:
            after_gap = True
        elif line or not after_gap or (kept and kept[-1]):
            kept.append(line)
            after_gap = after_gap and not line
    text = GAP.sub("\\g<0>\n", "\n".join(kept).strip("\n"), count=1)
    return f"{text}\n" if text else ""


def find_lines(module: Module, node: ast.AST) -> set[int]:
    """The lines of a statement and of the comment right above it."""
    first = node.lineno
    while first > 1 and module.lines[first - 2].startswith("#"):
        first -= 1
    return set(range(first, node.end_lineno + 1))


def defines_settings(node: ast.AST) -> bool:
    """Whether a statement assigns SETTINGS."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(name, ast.Name) and name.id == "SETTINGS" for name in targets)
