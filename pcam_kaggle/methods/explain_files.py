"""The program behind `build.py explain`: patches in files, explained by the networks of a run.

Reads a request as one line of JSON from its input and answers with one, as `predict_files` does.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image

from ..analysis.map_pictures import plot_patches
from ..data.patch_files import decode_patch, list_patches
from ..inference.kept_average import average_kept, map_kept
from ..inference.load_network import load_network
from ..inference.views import VIEWED
from ..system.files import write_beside, write_table
from ..system.results import write_folder
from .answer import answer_request, check_new
from .explain_frozen import make_explainer
from .explain_pixels import explain_pixels

MAX_PATCHES = 60  # in a picture, whose height is 60 cm then
NOTE = "p: predicted probability of tumor, of one view"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to explain, and where the results go.

    `networks`, `fingerprint`, `average` and `maps` are as in the Request of `predict_kept`;
    `sources` are paths of patches or of folders of them, `out` is a folder, `name` the run's.
    """

    networks: dict
    fingerprint: str
    average: str
    maps: list | None
    sources: list
    out: str
    name: str


def explain_files(request: Request, say: Callable = print) -> tuple:
    """Explain patches: explained.png, a map of each as TIFF, and their table explained.csv.

    The folder is written whole or not at all.

    Returns:
        The number of patches, and 0, the number of those that failed.

    Raises:
        ValueError: the folder has files; no or too many patches, one that is none, or no maps.
        OSError: it cannot be written.
    """
    out = Path(request.out)
    check_new(out, is_folder=True)
    paths = list_ids(request.sources, say)
    pixels = np.stack([decode(path) for path in paths.values()])
    probability, spread, heat = explain_patches(request, pixels, say)
    names = [f"{patch_id}-map.tif" for patch_id in paths]
    table = {"id": [*paths], "probability": probability, "spread": spread, "map": names}
    with write_folder(out) as draft:
        for name, own in zip(names, heat):
            with write_beside(draft / name) as partial:
                Image.fromarray(own).save(partial, format="TIFF")
        shown = list(zip(paths, probability, pixels, heat))
        plot_patches(shown, draft / "explained.png", f"{request.name}; {NOTE}")
        write_table(draft / "explained.csv", pd.DataFrame(table))
    return len(paths), 0


def list_ids(sources: list, say: Callable) -> dict:
    """The paths of the patches by their ids, which name files.

    Raises:
        ValueError: there are none, too many, two of one id, or an id that cannot name a file.
    """
    paths = {}
    for source in sources:
        files = list_patches(Path(source), say)
        for index, name in enumerate(files.names):
            patch_id = files.get_id(index)
            if patch_id in paths or Path(patch_id).name != patch_id:
                raise ValueError(
                    f"{files.folder / name}: expected every id once, and fit for the name of a "
                    f"file. Received: {patch_id!r}. Try: each path once, or a CSV with the columns "
                    "path and id"
                )
            paths[patch_id] = files.folder / name
    if len(paths) > MAX_PATCHES:
        raise ValueError(
            f"expected up to {MAX_PATCHES} patches. Received: {len(paths):,}. Try: several calls"
        )
    return paths


def decode(path: Path) -> np.ndarray:
    """A patch, as `decode_patch` returns it.

    Raises:
        ValueError: it is none; names the file.
    """
    try:
        return decode_patch(path)
    except Exception as error:  # Pillow raises errors of any kind for damaged files
        raise ValueError(
            f"{path} is not a patch. Expected: 96x96 pixels, RGB of 8 bits. Received: "
            f"{str(error) or type(error).__name__}. Try: build.py predict, for larger images"
        ) from error


def explain_patches(request: Request, pixels: np.ndarray, say: Callable) -> tuple:
    """Predict and explain patches by one network after another.

    Returns:
        The run's average of the probabilities, float64 (n,); their standard deviation, or None
        for one network; the mean of the networks' maps, float32 (n, 96, 96), scaled to 1.

    Raises:
        ValueError: a network is of another run, or none has maps.
    """
    explain_frozen = make_explainer(say=say)
    explain = functools.partial(explain_by, request.fingerprint, explain_frozen)
    own, maps, members = zip(*(explain(Path(path), pixels) for path in request.networks))
    mapped = map_kept(np.array(own, "float64"), request.maps)
    mean = average_kept(mapped, members, request.average)
    for path, answers, heat in zip(request.networks, own, maps):
        differs = (answers >= 0.5) != (mean >= 0.5)  # its map shows the evidence for its own answer
        if differs.any():
            heat[differs] = explain(Path(path), pixels[differs], mean[differs])[1]
    heat = np.mean(maps, axis=0, dtype="float32")
    heat /= np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
    spread = mapped.std(axis=0) if len(mapped) > 1 else None
    return mean, spread, heat


def explain_by(
    fingerprint: str,
    explain_frozen: Callable,
    path: Path,
    pixels: np.ndarray,
    answers: np.ndarray | None = None,
) -> tuple:
    """Predict and explain patches by a network, which alone is in memory.

    Args:
        fingerprint: that of its run.
        explain_frozen: as `make_explainer` returns it.
        path: the network's file.
        pixels: uint8 array (n, 96, 96, 3).
        answers: the probabilities whose evidence is shown, or None for the network's own.

    Returns:
        Its probabilities, float32 (n,); the maps, float16 (n, 96, 96); the member it belongs to.

    Raises:
        ValueError: as `explain_patches`.
    """
    VIEWED.clear()
    keras.backend.clear_session()  # frees the last network
    network, facts = load_network(path, fingerprint)
    found = explain_pixels(network, facts, pixels) or explain_frozen(network, facts, pixels)
    if found is None:
        raise ValueError(
            f"{path} cannot be explained. Expected: a network with feature maps or tokens. "
            f"Received: {network.name}"
        )
    own, draw = found
    return own, draw(own if answers is None else answers), facts.get("member", "")


if __name__ == "__main__":
    answer_request(Request, explain_files)
