"""One module on its way into the flat kernel: what is dropped, what is refused."""

import ast
import builtins

FORBIDDEN = ("kernel", "kaggle", "kagglesdk")


class BundleError(ValueError):
    """A source that cannot stand in one flat file; names file:line and the fix."""


class ModuleSource:
    """A source file of the package, or the driver.

    Args:
        path: Path of the file.
        package_name: str, the package whose names need no import in the flat file.

    Raises:
        BundleError: bad syntax, no docstring, characters outside ASCII.
    """

    def __init__(self, path, package_name):
        self.path = path
        self.package_name = package_name
        self.lines = path.read_text("utf-8").splitlines()
        try:
            self.tree = ast.parse("\n".join(self.lines))
        except SyntaxError as error:
            self.refuse(error.lineno, f"syntax error ({error.msg})", "mend it")
        docstring = ast.get_docstring(self.tree)
        if not docstring:
            self.refuse(1, "no docstring", "open the module with one sentence")
        self.sentence = docstring.splitlines()[0]
        for number, line in enumerate(self.lines, 1):
            if not line.isascii():
                self.refuse(number, "a character outside ASCII", "consoles differ")
            if line.startswith("# %%"):
                self.refuse(number, "a cell mark", "the bundler writes these banners")

    def flatten(self, names, imports):
        """The text for the kernel, once every rule is kept.

        Args:
            names: dict of the top-level names so far and their files; added to.
            imports: dict of the imported names so far and their import statements;
                added to.

        Returns:
            str: the source without own imports and repeated imports, else verbatim.

        Raises:
            BundleError: a broken rule.
        """
        self.check_statements()
        edits = []
        for node in self.tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                edits.append((node, self.flatten_import(node, names, imports)))
            else:
                self.define_names(node, names, imports)
        lines = list(self.lines)
        for node, text in reversed(edits):
            lines[node.lineno - 1 : node.end_lineno] = [text] if text else []
        return "\n".join(lines).strip("\n") + "\n"

    def check_statements(self):
        """Refuse, at any depth, what means something else in one flat file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and node.id == "__name__":
                self.refuse(
                    node, "__name__", "drop the guard, the kernel is the script"
                )
            if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING":
                self.refuse(node, "TYPE_CHECKING", "import it plainly, or not at all")
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            if any(name.split(".")[0] in FORBIDDEN for name in imported_modules(node)):
                fix = "what ships the kernel lives in kernel/"
                self.refuse(node, f"'{ast.unparse(node)}'", fix)
            if "__future__" in imported_modules(node):
                self.refuse(node, "'from __future__'", "Python 3.11 does without it")
            if any(alias.name == "*" for alias in node.names):
                self.refuse(node, "a star import", "import the names you use")
            if self.own_module(node) is not None and node not in self.tree.body:
                self.refuse(node, "an own import inside a block", "import at the top")

    def flatten_import(self, node, names, imports):
        """The text that stands for a top-level import, "" where it is dropped."""
        own = self.own_module(node)
        if own is not None:
            return self.drop_own_import(node, own, names)
        fresh = []
        for alias in node.names:
            bound = alias.asname or alias.name.split(".")[0]
            meaning = unparse_import(node, [alias])
            if imports.get(bound, meaning) != meaning or bound in names:
                other = imports.get(bound) or names[bound]
                what = f"{bound} means '{meaning}' here and '{other}' above"
                self.refuse(node, what, "give one of them another name")
            if bound not in imports:
                imports[bound] = meaning
                fresh.append(alias)
        if len(fresh) == len(node.names):
            return "\n".join(self.lines[node.lineno - 1 : node.end_lineno])
        return unparse_import(node, fresh) if fresh else ""

    def drop_own_import(self, node, own, names):
        """Check that what is imported stands above under that very name."""
        if isinstance(node, ast.Import) or not own:
            fix = f"write from {self.package_name}.module import name"
            self.refuse(node, "the package or a module of it imported whole", fix)
        for alias in node.names:
            if alias.asname:
                self.refuse(node, "an own import with an alias", "use the name it has")
            if names.get(alias.name) != f"{own}.py":
                fix = "import from the module that defines it, which must stand above"
                self.refuse(node, f"{alias.name} is not defined in {own}.py above", fix)
        return ""

    def define_names(self, node, names, imports):
        """Enter the top-level names that a statement binds, each once."""
        for name, line in bound_names(node):
            other = names.get(name) or imports.get(name)
            if other:
                what = f"{name} is defined here and in {other}"
                self.refuse(line, what, "give one of them another name")
            if hasattr(builtins, name):
                self.refuse(line, f"{name} hides a builtin", "give it another name")
            names[name] = self.path.name

    def own_module(self, node):
        """The own module that is imported from, "" for the package, None for others."""
        if isinstance(node, ast.ImportFrom) and node.level:
            return node.module or ""
        for name in imported_modules(node):
            if name == self.package_name:
                return ""
            if name.startswith(f"{self.package_name}."):
                return name.removeprefix(f"{self.package_name}.")
        return None

    def refuse(self, where, what, fix):
        """Raise a BundleError for a line number or a node."""
        line = getattr(where, "lineno", where)
        raise BundleError(f"{self.path}:{line}: {what}; {fix}.")


def imported_modules(node):
    """The names of the modules that an import statement names."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]


def unparse_import(node, aliases):
    """The text of an import statement, for some of its names."""
    if isinstance(node, ast.ImportFrom):
        return ast.unparse(ast.ImportFrom(node.module, aliases, node.level))
    return ast.unparse(ast.Import(aliases))


def bound_names(node):
    """Pairs of name and line that a statement binds in the scope it stands in."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name, node.lineno
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id, node.lineno
    elif not isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp)):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.GeneratorExp):
                yield from bound_names(child)
