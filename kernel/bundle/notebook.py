"""A page as a notebook for Kaggle, and a notebook's code as a page."""

import json

from pcam_kaggle.system.provenance import split_cells

from .cells import MACHINERY

PROSE = "# %% [markdown]"  # the mark of a cell of text
OPEN = ("# %% Settings", "# %% Run")  # code above or below the story that stays unfolded
CONTENTS = "\n**Contents**"  # line numbers of the script; viewers list the headings themselves
# Folded in Kaggle's viewer and editor, and in Jupyter.
HIDDEN = {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}
LANGUAGE = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def make_notebook(page: str) -> str:
    """Turn a page into a notebook of the same code: a cell for each mark.

    Text is rendered. The settings, the story and the call of `main` are shown, the imports and
    the machinery are folded.

    Args:
        page: a page's text.

    Returns:
        str, the notebook as JSON. The same page makes the same bytes on any machine.
    """
    import nbformat  # 0.2 s, which building a script can save

    cells, is_story = [], False
    for number, text in enumerate(split_cells(page)):
        mark, _, body = text.partition("\n")
        name = f"cell-{number}"
        if mark != PROSE:
            metadata = {} if is_story or mark in OPEN else HIDDEN
            cells.append(nbformat.v4.new_code_cell(text, id=name, metadata=metadata))
            is_story = is_story or mark.startswith("# %% Imports")
            continue
        words = "\n".join(line[2:] for line in body.split("\n")).partition(CONTENTS)[0].rstrip()
        cells.append(nbformat.v4.new_markdown_cell(words, id=name))
        is_story = is_story and words.split("\n")[0] != f"## {MACHINERY}"
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=LANGUAGE)
    return nbformat.writes(notebook) + "\n"


def read_source(text: str) -> str:
    """The code of a kernel as text, with the marks of its cells.

    Args:
        text: a script, which is returned as it is, or a notebook, with or without outputs and
            whatever Kaggle has added to it.
    """
    try:
        cells = [
            cell
            for cell in json.loads(text.removeprefix("\ufeff"))["cells"]
            if cell["cell_type"] == "code"
        ]
        sources = ["".join(cell["source"]) for cell in cells]  # a text, or a list of lines
        return "\n".join(sources).replace("\r\n", "\n") + "\n"
    except (ValueError, TypeError, KeyError, RecursionError):  # no notebook
        return text
