"""The story as an executed notebook and as one self-contained page."""

import copy
from pathlib import Path

import jinja2
import nbclient
import nbformat
from nbconvert import HTMLExporter

TEMPLATE = Path(__file__).parent / "templates" / "report.html.jinja"
CELL_SECONDS = 300
JUPYTER_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def build_notebook(cells: list) -> nbformat.NotebookNode:
    """The cells of a story as a notebook, not yet executed."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": JUPYTER_KERNEL})
    for number, cell in enumerate(cells):
        make = nbformat.v4.new_code_cell if cell.is_code else nbformat.v4.new_markdown_cell
        made = make(cell.source, id=f"cell-{number:03d}")
        if cell.slot:
            written = {"pcam_written": cell.source, "pcam_words": cell.words}
            made.metadata |= {"pcam_slot": cell.slot, **written}
            made.metadata["tags"] = ["words"] if cell.words else ["empty"]
        notebook.cells.append(made)
    nbformat.validate(notebook)
    return notebook


def execute_notebook(notebook: nbformat.NotebookNode, home: Path) -> None:
    """Execute a notebook, in place, in the folder of the report.

    Raises:
        ValueError: a cell failed; names the error.
    """
    client = nbclient.NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
        resources={"metadata": {"path": str(home)}},
        record_timing=False,
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        raise ValueError(f"the report's notebook failed: {error.ename}: {error.evalue}") from error
    notebook.metadata.pop("language_info", None)


def render_page(notebook: nbformat.NotebookNode, title: str) -> str:
    """An executed notebook as an HTML page: its text and outputs, not its code."""
    exporter = HTMLExporter(template_name="basic", exclude_input=True)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    shown = copy.deepcopy(notebook)
    shown.cells = [cell for cell in shown.cells if "empty" not in cell.metadata.get("tags", [])]
    body, _ = exporter.from_notebook_node(shown)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(title=title, body=body) + "\n"
