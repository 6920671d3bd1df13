"""The cells of a page below its settings, and the table of contents."""

import ast
import dataclasses
import textwrap
from pathlib import Path

from .flatten import MAX_COLUMNS, flatten_module
from .header import comment
from .imports import render_imports
from .order import STORY, Order
from .recipes import Recipe
from .source import Module

CONTENTS_COLUMNS = MAX_COLUMNS - 6  # a mark of comment and an indentation stand before
MACHINERY = "Machinery"
TYPES = "Types of the settings"
ENVIRONMENT = """\
import logging
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow's errors reach us as exceptions
os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # GPUs are shared with the workers
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
logging.getLogger("tensorflow").setLevel("ERROR")  # not its advice on retracing

"""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a page.

    Attributes:
        name: the path of its module, such as "models/pretrained.py", or a heading.
        sentence: what it is, in one line; may be "".
        text: the cell, with its mark.
    """

    name: str
    sentence: str
    text: str

    @property
    def is_module(self) -> bool:
        """Whether it is a module of the package."""
        return self.name.endswith(".py")


@dataclasses.dataclass(frozen=True)
class Section:
    """An entry of the contents.

    Attributes:
        line: the line of its mark, counted from 1.
        name: as that of its cell.
        sentence: as that of its cell.
    """

    line: int
    name: str
    sentence: str


def render_cells(recipe: Recipe, order: Order) -> list[Cell]:
    """The cells from the imports to the call of `main`."""
    cells = [render_import_cell(recipe, order)]
    for module in order.opening:
        cells += render_module(module, is_recipe=module.path == recipe.path)
    for folder, modules in order.story.items():
        cells += render_folder(STORY[folder], modules)
    sentence = "Everything below serves the story above."
    cells.append(render_heading(MACHINERY, sentence))
    for folder, modules in order.machinery.items():
        sentence = read_sentence(recipe.package, folder)
        cells += render_folder(folder.capitalize(), modules, sentence)
    sentence = "What the values in SETTINGS are checked against."
    cells += render_folder(TYPES, order.settings, sentence)
    call = f'main(open_run("{recipe.name}", parts(), SETTINGS, OVERRIDES, BUILD_ID, CODE_ID))'
    return [*cells, Cell("Run", "", f"# %% Run\n{call}\n")]


def render_import_cell(recipe: Recipe, order: Order) -> Cell:
    """All imports, and the environment that frameworks read when they are imported."""
    modules = order.list_modules()
    if recipe.uses_framework:
        text = ENVIRONMENT + render_imports(modules, ready=("logging", "os"))
    else:
        text = render_imports(modules)
    return Cell("Imports", "", f"# %% Imports\n{text}\n\n")


def render_folder(heading: str, modules: list[Module], sentence: str = "") -> list[Cell]:
    """A heading and the modules below it."""
    return [
        render_heading(heading, sentence),
        *(cell for module in modules for cell in render_module(module)),
    ]


def read_sentence(package: Path, folder: str) -> str:
    """The first line of a folder's docstring, "" if it has none."""
    path = package / folder / "__init__.py"
    text = path.read_text("utf-8") if path.is_file() else ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def render_heading(heading: str, sentence: str = "") -> Cell:
    """A heading as a cell of text."""
    text = f"## {heading}\n\n{sentence}" if sentence else f"## {heading}"
    return Cell(heading, sentence, f"# %% [markdown]\n{comment(text)}\n")


def render_module(module: Module, is_recipe: bool = False) -> list[Cell]:
    """A module as a cell; none if nothing of it is left."""
    text = flatten_module(module, is_recipe)
    if not text:
        return []
    note = ""
    if is_recipe:
        note = "# The docstring and SETTINGS of this module stand at the top.\n\n\n"
    text = f"# %% {module.name}\n{note}{text}\n"
    return [Cell(module.name, module.sentence, text)]


def find_sections(cells: list[Cell], line: int) -> list[Section]:
    """The cells as entries of the contents.

    Args:
        cells: list of Cell.
        line: the line of the first cell's mark; a blank line separates cells.
    """
    sections = []
    for cell in cells:
        sections.append(Section(line, cell.name, cell.sentence))
        line += cell.text.count("\n") + 1
    return sections


def render_contents(cells: list[Cell], sections: list[Section]) -> list[str]:
    """The table of contents: the story one by one, the rest by its headings."""
    names = [cell.name for cell in cells]
    machinery, types = names.index(MACHINERY), names.index(TYPES)
    rows = [section for cell, section in zip(cells[:machinery], sections) if cell.is_module]
    folders = [
        f"{section.name.lower()} {section.line}"
        for cell, section in list(zip(cells, sections))[machinery + 1 : types]
        if not cell.is_module
    ]
    rows.append(Section(sections[machinery].line, MACHINERY, ", ".join(folders)))
    rows.append(sections[types])
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        line = f"{row.line:>5}  {row.name:<{width}}  "
        room = CONTENTS_COLUMNS - len(line)
        lines.append(line + textwrap.shorten(row.sentence, room, placeholder=" ..."))
    return lines
