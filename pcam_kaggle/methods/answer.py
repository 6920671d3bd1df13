"""What the programs behind `build.py predict` and `explain` share: a request and its answer."""

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from ..data.patch_files import printable


def answer_request(request_class: type, predict: Callable) -> None:
    """Answer the request on the standard input by `predict_files` or a function like it."""
    logging.getLogger("tensorflow").setLevel("ERROR")  # not its advice on retracing
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # sizes are checked first
    request = request_class(**json.loads(sys.stdin.readline()))
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        num_rows, num_failed = predict(request, say_aside)
        answer = {"rows": num_rows, "failed": num_failed}
    except (ValueError, OSError, ImportError) as error:
        answer = {"error": printable(error)}
    print(json.dumps(answer), flush=True)


def say_aside(line: str) -> None:
    """Print a line that is not the answer."""
    print(printable(line), file=sys.stderr)


def end_with_input() -> None:
    """End this process when the one that started it has ended, however it ended."""
    sys.stdin.read()
    os._exit(1)


def check_new(path: Path, is_folder: bool = False) -> None:
    """Refuse to write over a file, or over a folder unless it is empty and a folder is written.

    Raises:
        ValueError: it is there.
    """
    expected, option = ("or empty folder", "DIR") if is_folder else ("file", "FILE")
    is_free = is_folder and path.is_dir() and not any(path.iterdir())
    if path.exists() and not is_free:
        raise ValueError(
            f"{printable(path)} is there already. Expected: a new {expected}. Try: --out {option}, "
            "or delete it"
        )
