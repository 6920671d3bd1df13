"""The program behind `build.py predict` for one large image: its tiles, a map and a picture."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, TiffImagePlugin

from ..analysis.heat_map import plot_heat_map
from ..analysis.patches import BLACK_UP_TO, NEAR_EMPTY_TISSUE
from ..analysis.tissue import find_tissue
from ..data.tiles import (
    CENTER,
    DESCRIPTION,
    TiledImage,
    cut_block,
    list_blocks,
    load_tiled,
    name_maps,
)
from ..system.files import hash_file, write_beside
from ..system.progress import beat
from .answer import answer_request, check_new
from .predict_kept import Request, average, load_networks, predict_chunk
from .rows import append_rows, finish_rows, resume_rows

COLUMNS = ["x", "y", "probability", "spread"]
PICTURE_SIDE = 1_600  # pixels of the picture under the heat map, at most


@dataclasses.dataclass(frozen=True)
class TilesRequest(Request):
    """As `Request`; `source` is an image, `mpp` its micrometers per pixel, or None."""

    mpp: float | None


def predict_tiles(request: TilesRequest, say: Callable = print) -> tuple:
    """Predict the tiles of an image block by block; finished rows of an earlier call are kept.

    The CSV appears last, when the map and the picture are there.

    Args:
        request: TilesRequest.
        say: function that prints a line.

    Returns:
        The number of tiles, and of those without a probability: glass.

    Raises:
        ValueError: as `predict_files`, or the image cannot be tiled.
        OSError: a file cannot be written.
    """
    source, out = Path(request.source), Path(request.out)
    part = out.with_name(f"{out.name}.part")
    maps = name_maps(out)
    for path in (out, *(() if part.exists() else maps)):  # a call that was killed may leave maps
        check_new(path)
    tiled = load_tiled(source, request.mpp, say)
    num_tiles = tiled.grid[0] * tiled.grid[1]
    state = request.describe(hash_file(source))
    num_done, num_glass = resume_rows(part, state, COLUMNS, num_tiles)
    if num_done:
        say(f"{num_done:,} of {num_tiles:,} tiles were finished before")
    if num_done < num_tiles:
        num_glass += add_tiles(part, tiled, num_done, request, say)
    values = pd.read_csv(part, skiprows=1)["probability"].to_numpy("float32").reshape(tiled.grid)
    write_map(maps[0], values, tiled)
    plot_heat_map(shrink_image(tiled), values, tiled, maps[1])
    finish_rows(part, out)
    return num_tiles, num_glass


def add_tiles(
    part: Path, tiled: TiledImage, start: int, request: TilesRequest, say: Callable
) -> int:
    """Predict the tiles from `start` on and add their rows; return the number of glass ones."""
    num_columns = tiled.grid[1]
    total, num_glass, networks = tiled.grid[0] * num_columns, 0, None
    with append_rows(part) as file:
        writer = csv.writer(file, lineterminator="\n")
        for rows, columns in list_blocks(tiled.grid):
            places = [(row, column) for row in rows for column in columns]
            num_done = start - (rows.start * num_columns + columns.start)
            if num_done >= len(places):
                continue
            tiles = cut_block(tiled, rows, columns)
            has_tissue = choose_tiles(tiles)
            mean, spread = np.full((2, len(tiles)), np.nan)
            if has_tissue.any():
                networks = networks or load_networks(request, total, say)
                predict_batch, batch_size, members = networks
                found = predict_chunk(predict_batch, tiles[has_tissue], batch_size)
                mean[has_tissue], spreads = average(found, request, members)
                spread[has_tissue] = np.nan if spreads is None else spreads
            for place in range(max(0, num_done), len(tiles)):
                row, column = (f"{i * CENTER * tiled.zoom:.10g}" for i in places[place])
                fields = (f"{v[place]:.9g}".replace("nan", "") for v in (mean, spread))
                writer.writerow([column, row, *fields])
                num_glass += not has_tissue[place]
            file.flush()
            done = rows.start * num_columns + columns.start + len(tiles)
            beat("predicted tile", done, total)
    return num_glass


def choose_tiles(tiles: np.ndarray) -> np.ndarray:
    """Which tiles show tissue in their center and are neither black nor near-empty.

    Args:
        tiles: uint8 array (n, 96, 96, 3).

    Returns:
        bool array (n,).
    """
    tissue = find_tissue(tiles)
    center = slice(11, 21)  # of 32, pixels 33 to 62: the means that lie within the center
    return (
        tissue[:, center, center].any(axis=(1, 2))
        & (tissue.mean(axis=(1, 2)) >= NEAR_EMPTY_TISSUE)
        & (tiles.max(axis=(1, 2, 3)) > BLACK_UP_TO)
    )


def shrink_image(tiled: TiledImage) -> np.ndarray:
    """The image as a picture: uint8 (h, w, 3) of up to 1,600 pixels per side."""
    shrink = max(1, max(tiled.height, tiled.width) / PICTURE_SIDE)
    size = (max(1, round(tiled.width / shrink)), max(1, round(tiled.height / shrink)))
    box = np.minimum(np.array([tiled.width, tiled.height]) * tiled.zoom, tiled.image.size)
    return np.asarray(tiled.image.resize(size, Image.Resampling.BOX, box=(0, 0, *box)))


def write_map(path: Path, values: np.ndarray, tiled: TiledImage) -> None:
    """Write one float32 per center as TIFF, with its scale as the resolution; NaN is glass."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[DESCRIPTION] = (
        f"probability of tumor, a value per center of {CENTER}x{CENTER} pixels at {tiled.mpp:.4g} "
        f"micrometers per pixel{' (assumed)' if tiled.is_assumed else ''}; NaN is glass, not "
        "predicted; research use only, not a diagnosis"
    )
    density = 10_000 / (CENTER * tiled.mpp)
    scale = {"resolution_unit": "cm", "x_resolution": density, "y_resolution": density}
    with write_beside(path) as partial:
        Image.fromarray(values).save(partial, format="TIFF", tiffinfo=tags, **scale)


if __name__ == "__main__":
    answer_request(TilesRequest, predict_tiles)
