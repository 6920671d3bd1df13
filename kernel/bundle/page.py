"""A recipe's page: header, recipe, story, machinery, settings, with a build id."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.system.provenance import compute_build_id, hash_code

from ..facts.measurements import describe_result
from ..folders import PACKAGE
from .cells import MACHINERY, Section, find_sections, render_cells, render_contents
from .code_id import compute_code_id
from .flatten import MAX_COLUMNS, check_module, check_names
from .header import FUTURE, render_top
from .order import order_modules
from .recipes import Recipe, compose_settings, read_recipe
from .source import BundleError, is_docstring

MAX_BYTES = 700_000  # Kaggle refuses 1 MB
DEFINED = dict.fromkeys(("BUILD_ID", "CODE_ID", "OVERRIDES"), "the page's settings")
LANDMARKS = {
    "main": re.compile(r"def main\("),
    "network": re.compile(r"# %% models/"),
    "fit": re.compile(r" *def fit\("),
    "predict": re.compile(r" *def predict\("),
}


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A recipe's page and its figures.

    Attributes:
        source: its text.
        build_id: ten hex digits over that text.
        contents: its sections from the imports down.
        code_lines: lines without docstrings, comments and blanks.
        num_bytes: its size.
        story_lines: lines above "Machinery".
        landmarks: dict of "main", "network", "fit" and "predict" and the lines where
            these stand; without those that the page lacks.
    """

    source: str
    build_id: str
    contents: list[Section]
    code_lines: int
    num_bytes: int
    story_lines: int
    landmarks: dict[str, int]


def bundle_kernel(
    name: str,
    overrides: dict | None = None,
    package: Path = PACKAGE,
    describe: Callable[[str], str] = describe_result,
) -> Bundle:
    """Write a recipe's page.

    Args:
        name: the recipe's name.
        overrides: dict of typed settings, as `parse_words` returns them.
        package: Path of the package's folder.
        describe: function that returns a recipe's measured results.

    Returns:
        Bundle. The same sources and settings make the same bytes on any machine.

    Raises:
        ValueError: unknown recipe or wrong setting.
        BundleError: a source that cannot stand on a page, or a page that does not
            compile or is over 700,000 bytes.
    """
    recipe, overrides = read_recipe(name, package), overrides or {}
    compose_settings(recipe, overrides)
    results = describe(name)
    for module in recipe.closure.values():
        check_module(module)
    check_names(recipe.closure, DEFINED)
    opening = dict.fromkeys([f"recipes/{name}.py", recipe.main_module])
    cells = render_cells(recipe, order_modules(recipe.closure, list(opening)))
    body = "\n".join(cell.text for cell in cells)
    code_id = f"{compute_code_id(recipe.closure)}-{hash_code(FUTURE + chr(10) + body)}"

    def render(sections, build_id=""):
        contents = render_contents(cells, sections)
        top = render_top(recipe, overrides, results, contents, build_id, code_id)
        return f"{top}\n{body}"

    # The numbers in the contents do not change the number of lines.
    draft = render(find_sections(cells, 0))
    sections = find_sections(cells, draft.count("\n") - body.count("\n") + 1)
    build_id = compute_build_id(render(sections))
    source = render(sections, build_id)
    check_page(source, name)
    return Bundle(
        source=source,
        build_id=build_id,
        contents=sections,
        code_lines=count_code(source, recipe),
        num_bytes=len(source.encode("utf-8")),
        story_lines=next(s.line for s in sections if s.name == MACHINERY) - 1,
        landmarks=find_landmarks(source),
    )


def check_page(source: str, name: str) -> None:
    """Measure and compile a page.

    Raises:
        BundleError: it does not compile, is too large, or has a line too long.
    """
    lines = source.split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS or not line.isascii():
            raise BundleError(
                f"line {number} of the page of {name}: expected at most {MAX_COLUMNS} "
                f"characters of ASCII. Received: {line!r}. Try: a shorter text or "
                "value in the recipe, its settings or kernel/facts/measurements.csv."
            )
    size = len(source.encode("utf-8"))
    if size > MAX_BYTES:
        raise BundleError(
            f"the page of {name}: expected at most {MAX_BYTES:,} bytes, since Kaggle "
            f"refuses 1 MB. Received: {size:,}. Try: move what need not run on Kaggle "
            "into kernel/."
        )
    try:
        compile(source, f"{name} kernel", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise BundleError(
            f"line {error.lineno} of the page of {name} does not compile: {error.msg} "
            f"in {lines[(error.lineno or 1) - 1]!r}. Try: correct its module."
        ) from error


def count_code(source: str, recipe: Recipe) -> int:
    """Lines of a page that hold code: no docstrings, comments and blanks."""

    def count(lines):
        texts = (line.lstrip(" ") for line in lines)
        return sum(bool(text) and not text.startswith("#") for text in texts)

    docstrings = [
        module.lines[node.lineno - 1 : node.end_lineno]
        for module in recipe.closure.values()
        # The recipe's own docstring is a comment on the page.
        for node in module.statements[module.path == recipe.path :]
        if is_docstring(node)
    ]
    return count(source.split("\n")) - sum(map(count, docstrings))


def find_landmarks(source: str) -> dict[str, int]:
    """The lines of `main`, of the network, and of the first `fit` and `predict`."""
    found = {}
    for number, line in enumerate(source.split("\n"), 1):
        for name, pattern in LANDMARKS.items():
            if name not in found and pattern.match(line):
                found[name] = number
    return found
