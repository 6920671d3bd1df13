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


def check_new(path: Path) -> None:
    """Refuse to write over a file.

    Raises:
        ValueError: it is there.
    """
    if path.exists():
        raise ValueError(
            f"{path} is there already. Expected: a new file. Try: --out FILE, or delete it"
        )
