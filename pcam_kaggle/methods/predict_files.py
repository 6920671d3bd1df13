"""The program behind `build.py predict`: patches in files, by the networks that a run kept.

Reads a request as one line of JSON from its input, and ends when its input ends. The last line
of its output is JSON, too: the number of rows and of failed ones, or an error.
"""

import contextlib
import csv
import dataclasses
import json
import logging
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import keras
import numpy as np
from PIL import Image

from ..data.decode import IMAGE_SHAPE
from ..data.patch_files import PatchFiles, decode_ahead, list_patches, printable
from ..inference.kept_average import average_kept, map_kept
from ..inference.load_frozen import load_frozen
from ..inference.load_network import load_network
from ..inference.views import NUM_VIEWS, add_views
from ..system.device import choose_jit_compile
from ..system.files import DISK_FULL, write_beside
from ..system.progress import beat
from .features import average_features

VIEWS_PER_PASS = 128  # bounds the memory; more are no faster on a CPU
NUM_SHOWN = 20  # problems, a line each; the others are counted
COLUMNS = ["id", "probability", "spread"]
ROWS_VERSION = 3  # raise it with any change of what is predicted, such as the rule for glass


@dataclasses.dataclass(frozen=True)
class Request:
    """What to predict, and how.

    `networks` maps paths to sha256, `fingerprint` is the run's, `source` what `list_patches`
    takes, `out` the CSV to write. `tta` names the test-time views, or is None for the run's;
    `average` is "mean" or "logit", of the networks of a method; several methods are averaged by
    "logit". `maps` has the (scale, offset) of each network's calibration, in the order of the
    networks, or is None.
    """

    networks: dict
    fingerprint: str
    source: str
    out: str
    tta: str | None
    average: str
    maps: list | None

    def describe(self, source: str) -> dict:
        """What the rows are of, wherever the networks and the CSV are.

        Args:
            source: sha256 of what is predicted.
        """
        networks = list(self.networks.values())
        out = Path(self.out).name
        return {**dataclasses.asdict(self), "networks": networks, "source": source, "out": out}


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


def predict_files(request: Request, say: Callable = print) -> tuple:
    """Predict patches chunk by chunk; finished rows of an earlier call are kept.

    The rows are added to a file of the name of the CSV with .part behind it, whose first line
    says what they are of; it becomes the CSV when all are there.

    Args:
        request: Request.
        say: function that prints a line.

    Returns:
        The number of rows, and of those without a probability: files that cannot be decoded.

    Raises:
        ValueError: a network is damaged or of another run, there is nothing to predict, none of the
            files is a patch, or the finished rows are of another run or of other files.
        OSError: a file cannot be written.
    """
    files, out = list_patches(Path(request.source), say), Path(request.out)
    check_new(out)
    part = out.with_name(f"{out.name}.part")
    num_done, num_failed = resume_rows(part, request.describe(files.hash()), COLUMNS)
    if num_done:
        say(f"{num_done:,} of {len(files.names):,} patches were finished before")
    if num_done < len(files.names):
        num_failed += add_rows(part, files, num_done, request, say)
    if num_failed == len(files.names):
        part.unlink()
        raise ValueError(
            f"{request.source} has no patch. Expected: 96x96 pixels, RGB of 8 bits per channel. "
            f"Received: {num_failed:,} that are not, see above"
        )
    finish_rows(part, out)
    return len(files.names), num_failed


def add_rows(part: Path, files: PatchFiles, start: int, request: Request, say: Callable) -> int:
    """Predict the patches from `start` on and add their rows; return the number of failed ones."""
    predict_batch, batch_size, members = load_networks(request, len(files.names), say)
    num_failed = 0
    with append_rows(part) as file:
        writer = csv.writer(file, lineterminator="\n")
        for first, pixels, problems in decode_ahead(files, start):
            predictions = predict_chunk(predict_batch, pixels, batch_size)
            mean, spread = average(predictions, request, members)
            for place in range(len(pixels)):
                row = [f"{mean[place]:.9g}", "" if spread is None else f"{spread[place]:.9g}"]
                if place in problems:
                    row = ["", ""]
                    num_failed += 1
                    if num_failed <= NUM_SHOWN:
                        name = files.folder / files.names[first + place]
                        say(f"{name}: not a patch of 96x96, RGB of 8 bits: {problems[place]}")
                writer.writerow([files.get_id(first + place), *row])
            file.flush()
            beat("predicted", first + len(pixels), len(files.names))
    return num_failed


def resume_rows(part: Path, state: dict, columns: list) -> tuple:
    """Open the rows of an earlier call, without one that was cut off, or start new ones.

    Args:
        part: the file, which starts with a line of what its rows are of and one of the columns.
        state: what they are of, as JSON takes it.
        columns: names of the columns; the last two are empty where nothing was predicted.

    Returns:
        The number of finished rows, and of those without a probability.

    Raises:
        ValueError: the rows are of another run, version or views, or of files that were changed.
    """
    lines = [json.dumps({"version": ROWS_VERSION, **state}), ",".join(columns), ""]
    head = "\n".join(lines).encode("ascii")
    if not part.exists():
        part.parent.mkdir(parents=True, exist_ok=True)
        with write_beside(part) as partial:
            partial.write_bytes(head)
        return 0, 0
    with open(part, "rb+") as file:
        if file.read(len(head)) != head:
            raise ValueError(
                f"{part} has rows of another run, of other views, of other or changed files, or of "
                "another version. Expected: those of an earlier call of this command. Try: --out "
                "FILE, or delete it"
            )
        num_rows, num_failed, end = 0, 0, len(head)
        for line in file:
            if line.endswith(b"\n"):
                num_rows, num_failed = num_rows + 1, num_failed + line.endswith(b",,\n")
                end += len(line)
        file.truncate(end)
    return num_rows, num_failed


@contextlib.contextmanager
def append_rows(part: Path) -> Iterator[TextIO]:
    """Open a file to which rows are added.

    Raises:
        OSError: the disk is full. The rows so far are kept.
    """
    try:
        with open(part, "a", newline="", encoding="utf-8") as file:
            yield file
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        text = (
            f"cannot write {part}; finished rows are kept. Received: {error.strerror}. "
            "Try: free up disk space and repeat the command"
        )
        raise OSError(error.errno, text) from error


def check_new(path: Path) -> None:
    """Refuse to write over a file.

    Raises:
        ValueError: it is there.
    """
    if path.exists():
        raise ValueError(
            f"{path} is there already. Expected: a new file. Try: --out FILE, or delete it"
        )


def finish_rows(part: Path, out: Path) -> None:
    """Write the CSV, without the first line of the part, and remove the part."""
    with write_beside(out) as partial, open(part, "rb") as rows, open(partial, "wb") as target:
        rows.readline()
        shutil.copyfileobj(rows, target)
    part.unlink()


def load_networks(request: Request, num_patches: int, say: Callable) -> tuple:
    """Load the networks of a run.

    Returns:
        A function of uint8 pixels (batch, 96, 96, 3) that returns the probabilities of each
        network, float64 (networks, batch); the size of a batch; the member of the run that each
        network belongs to, in that order.

    Raises:
        ValueError: one is damaged or of another run.
    """
    groups = {}
    for path in request.networks:
        network, facts = load_network(Path(path), request.fingerprint)
        groups.setdefault(facts.get("member", ""), []).append((network, facts))
    members = [name for name, group in groups.items() for _ in group]
    parts = [prepare_member(group, request.tta, say) for group in groups.values()]

    def predict_batch(pixels):
        outputs = []
        for networks, extractor, _ in parts:
            inputs = extractor.predict_on_batch(pixels) if extractor else pixels
            outputs += [np.ravel(network.predict_on_batch(inputs)) for network in networks]
        return np.array(outputs, "float64")

    views = max(num_views for _, _, num_views in parts)
    return predict_batch, min(VIEWS_PER_PASS // views, num_patches), members


def prepare_member(group: list, tta: str | None, say: Callable) -> tuple:
    """Compile the networks of one method with their views.

    Args:
        group: list of pairs of a keras.Model and the facts about it.
        tta: the views, or None for the run's.
        say: function that prints a line.

    Returns:
        The networks; the model whose features they take, or None; the number of views.
    """
    networks, (facts, *_) = [list(part) for part in zip(*group)]
    tta = tta or facts["tta"]
    extractor = None
    if facts["backbone"]:
        extractor = average_features(load_frozen(facts, say), tta)
    else:
        viewed = [add_views(network, tta) for network in networks]
        networks = [keras.Model(model.inputs, model.outputs[0]) for model in viewed]
    for network in networks:
        network.compile(jit_compile=choose_jit_compile())
    return networks, extractor, NUM_VIEWS[tta]


def predict_chunk(predict_batch: Callable, pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """Predict in whole batches, the last one filled up: float64 (networks, n)."""
    missing = -len(pixels) % batch_size
    filled = np.concatenate([pixels, np.zeros((missing, *IMAGE_SHAPE), np.uint8)])
    batches = np.split(filled, len(filled) // batch_size)
    outputs = np.concatenate([predict_batch(batch) for batch in batches], axis=1)
    if not np.isfinite(outputs).all():
        raise ValueError("a network predicts numbers that are not finite. Try: train it again")
    return outputs[:, : len(pixels)]


def average(predictions: np.ndarray, request: Request, members: list) -> tuple:
    """The run's average of the networks, each after its map, and their standard deviation.

    Args:
        predictions: float64 array (networks, n) of probabilities.
        request: Request.
        members: the member that each network belongs to.

    Returns:
        Two float64 arrays (n,); None for the second if there is one network.
    """
    predictions = map_kept(predictions, request.maps)
    mean = average_kept(predictions, members, request.average)
    return mean, predictions.std(axis=0) if len(predictions) > 1 else None


if __name__ == "__main__":
    answer_request(Request, predict_files)
