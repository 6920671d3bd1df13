"""Executes a notebook as Kaggle does, where the sandbox has a session.

python execute.py NOTEBOOK: what the cells print is printed as it comes. In the working folder it
leaves the notebook with its outputs, also if a cell fails, under the names that Kaggle gives it.
"""

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

COLORS = re.compile(r"\x1b\[[0-9;]*m")  # of a traceback in a terminal
QUIET = ["--IPKernelApp.log_level=ERROR"]  # not its advice on encryption


class Executor(NotebookClient):
    """Prints streams and tracebacks as they come."""

    def process_message(self, message: dict, cell: dict, index: int) -> object:
        """Print a message, then let it become an output of its cell."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            print(content["text"], end="", file=getattr(sys, content["name"]), flush=True)
        elif kind == "error":
            text = "\n".join(content["traceback"])
            print(COLORS.sub("", text), file=sys.stderr, flush=True)
        return super().process_message(message, cell, index)


def execute(path: Path) -> int:
    """Execute a notebook in this folder; 1 if a cell failed or ended the process, else 0."""
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(Path.cwd())}}
    client = Executor(notebook, kernel_name="python3", resources=folder, extra_arguments=QUIET)
    try:
        client.execute()
    except CellExecutionError:  # printed
        return 1
    except DeadKernelError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        nbformat.write(notebook, "__notebook__.ipynb")
        for cell in notebook.cells:  # Kaggle folds these, with a button to show them
            if cell.metadata.get("_kg_hide-input"):
                cell.metadata["transient"] = {"remove_source": True}
        page, _ = HTMLExporter().from_notebook_node(notebook)
        Path("__results__.html").write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(execute(Path(sys.argv[1])))
