"""The program behind `build.py predict`: patches in files, by the networks that a run kept.

Reads a request as one line of JSON from its input, and ends when its input ends. The last line
of its output is JSON, too: the number of rows and of failed ones, or an error.
"""

import csv
from collections.abc import Callable
from pathlib import Path

from ..data.patch_files import PatchFiles, decode_ahead, list_patches
from ..system.progress import beat
from .answer import answer_request, check_new
from .predict_kept import Request, average, load_networks, predict_chunk
from .rows import append_rows, finish_rows, resume_rows

NUM_SHOWN = 20  # problems, a line each; the others are counted
COLUMNS = ["id", "probability", "spread"]


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
    state = request.describe(files.hash())
    num_done, num_failed = resume_rows(part, state, COLUMNS, len(files.names))
    if num_done:
        say(f"{num_done:,} of {len(files.names):,} patches were finished before")
    if num_done < len(files.names):
        num_failed += add_patches(part, files, num_done, request, say)
    if num_failed == len(files.names):
        part.unlink()
        raise ValueError(
            f"{request.source} has no patch. Expected: 96x96 pixels, RGB of 8 bits per channel. "
            f"Received: {num_failed:,} that are not, see above"
        )
    finish_rows(part, out)
    return len(files.names), num_failed


def add_patches(part: Path, files: PatchFiles, start: int, request: Request, say: Callable) -> int:
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


if __name__ == "__main__":
    answer_request(Request, predict_files)
