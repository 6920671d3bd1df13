"""The story of a report: cells in order, figures and tables numbered as they come."""

import ast
import dataclasses
import json
import textwrap

from .reading import ReportRun

SLOTS = {  # the author's own words: a slot's name and what belongs there
    "problem": "What is the problem, why does it matter, what are the data?",
    "exploration": "What do you see in the figures? What do you conclude from it?",
    "architectures": "Why do you think that these networks suit this problem?",
    "results": "Which changes helped, which did not, and why?",
    "conclusion": "What did you learn? What would you try next?",
}
TABLES = "tables.json"  # values of tables that no other file of a run has
HOW_TO_EXPLORE = (
    "`python build.py train explore --data DIR`, then `python build.py report RUN explore`"
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of the notebook.

    Attributes:
        source: its text or code.
        is_code: whether it is code.
        slot: the slot whose words it holds, "" for other cells.
        words: the author's own words in that slot, "" if there are none yet.
        label: "Figure" or "Table" with its number, "" for other cells.
        is_kernel: whether it belongs to the training code, which the page leaves out.
        is_hidden: whether a notebook shows it collapsed.
        is_prompt: whether it says what its author can do, which is not handed in.
    """

    source: str
    is_code: bool = False
    slot: str = ""
    words: str = ""
    label: str = ""
    is_kernel: bool = False
    is_hidden: bool = False
    is_prompt: bool = False


def quote(text: str) -> str:
    """A text as a literal of Python, in double quotes."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


class Story:
    """Collects the cells of a report.

    Args:
        words: dict of slots and the author's own words.

    Attributes:
        cells: list of Cell, in order.
        figures: dict of the paths of figures, and their names, to their numbers.
        tables: dict of the names of tables to their numbers.
        kept: dict of the names of tables to their rows, for tables.json.
    """

    def __init__(self, words: dict):
        self.words = words
        self.cells = []
        self.figures = {}
        self.tables = {}
        self.kept = {}

    def text(self, text: str) -> None:
        """Add a paragraph of Markdown."""
        self.cells.append(Cell(text))

    def prompt(self, text: str) -> None:
        """Add a paragraph that says what the author can do."""
        self.cells.append(Cell(text, is_prompt=True))

    def code(self, source: str) -> None:
        """Add a cell of code."""
        self.cells.append(Cell(source, is_code=True))

    def figure(self, run: ReportRun, name: str, caption: str, alt: str) -> None:
        """Add a picture of a run with its number; nothing if the run lacks it."""
        if not run.has(name):
            return
        path = run.join(name)
        number = 1 + len(set(self.figures.values()))
        self.figures[path] = number
        self.figures.setdefault(name, number)  # wherever the report finds it
        source = f"show({quote(path)}, {quote(alt)})"
        self.cells.append(Cell(source, is_code=True, label=f"Figure {number}"))
        self.text(f"**Figure {number}.** {caption}")

    def table(self, name: str, source: str, caption: str) -> None:
        """Add a table with its number.

        Args:
            name: what `point_at` finds it by.
            source: code that assigns `table`, a DataFrame. Rows typed into it, a dict of dicts,
                are kept for tables.json, which the cell reads instead.
            caption: plain text.
        """
        source = self.keep(name, source)
        self.tables[name] = number = len(self.tables) + 1
        lines = textwrap.wrap(f"Table {number}. {caption}", 90, break_on_hyphens=False)
        parts = [quote(f"{line} ") for line in lines[:-1]] + [quote(lines[-1])]
        text = "".join(f"    {part}\n" for part in parts)
        source = f"{source}\nshow_table(\n    table,\n{text})"
        self.cells.append(Cell(source, is_code=True, label=f"Table {number}"))

    def keep(self, name: str, source: str) -> str:
        """Code that reads its rows from tables.json instead of holding them."""
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Dict) and any(isinstance(v, ast.Dict) for v in node.values):
                try:
                    rows = ast.literal_eval(node)
                except ValueError:  # computed ones
                    continue
                self.kept[name] = rows
                text = ast.get_source_segment(source, node)
                return source.replace(text, f"read(HOME, {TABLES!r})[{name!r}]", 1)
        return source

    def slot(self, name: str) -> None:
        """Add the author's own words, or a note of what belongs there."""
        words = self.words[name]
        prompt = f"> *Your words ({name}): {SLOTS[name]}*"
        self.cells.append(Cell(words or prompt, slot=name, words=words))

    def point_at(self, name: str) -> str:
        """A reference such as " (Figure 3)", or "" if that figure or table is missing.

        Args:
            name: the path of a figure, its file's name alone in the report's own run, or the name
                of a table.
        """
        for kind, numbers in (("Figure", self.figures), ("Table", self.tables)):
            if name in numbers:
                return f" ({kind} {numbers[name]})"
        return ""
