"""The program behind `build.py explain`: patches in files, explained by the networks of a run.

Reads a request as one line of JSON from its input and answers with one, as `predict_files` does.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ..analysis.map_pictures import plot_patches
from ..data.patch_files import decode_patch, list_patches
from ..inference.kept_average import average_kept, map_kept
from ..inference.load_network import load_network
from ..system.files import write_beside, write_table
from .explain_frozen import make_explainer
from .explain_pixels import explain_pixels
from .predict_files import answer_request

MAX_PATCHES = 60  # in a picture, whose height is 60 cm then
NOTE = "p: predicted probability of tumor, of one view"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to explain, and where the results go.

    `networks`, `fingerprint`, `average` and `maps` are as in the Request of `predict_files`;
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

    Returns:
        The number of patches, and 0, the number of those that failed.

    Raises:
        ValueError: there are results, no or too many patches, one that is none, or no maps.
    """
    out = Path(request.out)
    if (out / "explained.csv").exists():
        raise ValueError(
            f"{out} has explained.csv already. Expected: a new folder. Try: --out DIR, or delete it"
        )
    paths = list_paths(request.sources, say)
    pixels = np.stack([decode(path) for path in paths])
    probability, spread, heat = explain_patches(request, pixels, say)
    out.mkdir(parents=True, exist_ok=True)
    rows, shown = [], []
    for place, path in enumerate(paths):
        file = f"{path.stem}-map.tif"
        with write_beside(out / file) as partial:
            Image.fromarray(heat[place]).save(partial, format="TIFF")
        answer = probability[place]
        rows.append((path.stem, answer, None if spread is None else spread[place], file))
        shown.append((path.stem, answer, pixels[place], heat[place]))
    columns = ["id", "probability", "spread", "map"]
    write_table(out / "explained.csv", pd.DataFrame(rows, columns=columns))
    plot_patches(shown, out / "explained.png", f"{request.name}; {NOTE}")
    return len(rows), 0


def list_paths(sources: list, say: Callable) -> list:
    """The paths of the patches, each once.

    Raises:
        ValueError: there are none, too many, or two of one name.
    """
    paths = []
    for source in sources:
        files = list_patches(Path(source), say)
        paths += [files.folder / name for name in files.names]
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice or len(paths) > MAX_PATCHES:
        received = f"{twice[0]} twice" if twice else f"{len(paths):,}"
        raise ValueError(
            f"expected up to {MAX_PATCHES} patches of different names. Received: {received}. "
            "Try: each path once, or several calls"
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
    """Predict and explain patches by every network.

    Returns:
        The run's average of the probabilities, float64 (n,); their standard deviation, or None
        for one network; the mean of the networks' maps, float32 (n, 96, 96), scaled to 1.

    Raises:
        ValueError: a network is of another run, or none has maps.
    """
    explain_frozen = make_explainer(say=say)
    predictions, members, draws = [], [], []
    for path in request.networks:
        network, facts = load_network(Path(path), request.fingerprint)
        answers = explain_pixels(network, facts, pixels) or explain_frozen(network, facts, pixels)
        if answers is None:
            raise ValueError(
                f"{path} cannot be explained. Expected: a network with feature maps or tokens. "
                f"Received: {network.name}"
            )
        predictions.append(answers[0])
        members.append(facts.get("member", ""))
        draws.append(answers[1])
    mapped = map_kept(np.array(predictions, "float64"), request.maps)
    mean = average_kept(mapped, members, request.average)
    heat = np.mean([draw(mean).astype("float32") for draw in draws], axis=0)
    heat /= np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
    spread = mapped.std(axis=0) if len(mapped) > 1 else None
    return mean, spread, heat


if __name__ == "__main__":
    answer_request(Request, explain_files)
