"""The story as an executed notebook."""

import functools
import os
from pathlib import Path

import nbclient
import nbformat

from pcam_kaggle.system.files import short_hash

from ..live import LiveLine
from .page import clean_markdown

CELL_SECONDS = 300
JUPYTER_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
HIDDEN = {"jupyter": {"source_hidden": True}, "_kg_hide-input": True}  # Jupyter's and Kaggle's


def build_notebook(cells: list) -> nbformat.NotebookNode:
    """The cells of a story as a notebook, not yet executed."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": JUPYTER_KERNEL})
    for number, cell in enumerate(cells):
        make = nbformat.v4.new_code_cell if cell.is_code else nbformat.v4.new_markdown_cell
        source = clean_markdown(cell.source) if cell.words else cell.source
        made = make(source, id=f"cell-{number:03d}")
        if cell.slot:
            written = {"pcam_written": source, "pcam_words": cell.words}
            made.metadata |= {"pcam_slot": cell.slot, **written}
            made.metadata["tags"] = ["words"] if cell.words else ["empty"]
        if cell.is_kernel:
            made.metadata["tags"] = ["kernel"]
        if cell.is_hidden:
            made.metadata |= HIDDEN
        notebook.cells.append(made)
    notebook.metadata["pcam_cells"] = hash_cells(notebook)
    nbformat.validate(notebook)
    return notebook


def hash_cells(notebook: nbformat.NotebookNode) -> str:
    """Ten hex digits over all that a notebook says but the author's own words."""
    sources = [cell.source for cell in notebook.cells if not cell.metadata.get("pcam_slot")]
    return short_hash("\0".join(source.strip() for source in sources))


def execute_notebook(notebook: nbformat.NotebookNode, home: Path) -> None:
    """Execute a notebook, in place, in the folder of the report, and say how far that is.

    Modules are not imported from that folder, in which anybody may have put a pandas.py.

    Raises:
        ValueError: a cell failed; names the error.
    """
    client = nbclient.NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=[
            "--IPKernelApp.log_level=40",  # errors only
            "--IPKernelApp.ignore_cwd=True",
        ],
        resources={"metadata": {"path": str(home)}},
        record_timing=False,
    )
    try:
        with LiveLine() as live:
            live.say(f"notebook {len(notebook.cells)} cells to execute")
            client.on_cell_complete = functools.partial(say_cell, live, len(notebook.cells))
            client.execute(env={**os.environ, "PYTHONSAFEPATH": "1"})
    except nbclient.exceptions.CellExecutionError as error:
        raise ValueError(f"the report's notebook failed: {error.ename}: {error.evalue}") from error
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        if cell.metadata.get("tags") == ["kernel"] and cell.cell_type == "code":
            cell.outputs = []  # "Appending to kernel.py"


def say_cell(live: LiveLine, num_cells: int, cell_index: int, **about) -> None:
    """Draw how many cells are executed."""
    live.progress.text = f"notebook cell {cell_index + 1} of {num_cells}"
    live.draw()
