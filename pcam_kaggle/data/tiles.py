"""An image larger than a patch, cut into tiles at PCam's scale, one block of them at a time."""

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .decode import IMAGE_SHAPE
from .patch_files import FORMATS, PNG_BITS, describe_image, printable

PCAM_MPP = 0.97  # micrometers per pixel; a quarter of 0.243; its other scanner has 0.226
SAME_SCALE = 0.07  # a relative difference that is left as it is: that of the two scanners
LOWEST_MPP, HIGHEST_MPP = 0.1, 2.0  # of an image; a resolution outside is a printer's or a screen's
SIDE = IMAGE_SHAPE[0]
CENTER = 32  # pixels: what a label is about, and the step between tiles
MARGIN = (SIDE - CENTER) // 2
LARGEST_IMAGE = 400_000_000  # pixels; Pillow decodes whole images and takes 4 bytes for each
TILES_PER_BLOCK = 512  # 14 MB of pixels
IMAGEJ_MICRONS = ("unit=micron", "unit=\\u00B5m", "unit=um")
DESCRIPTION = 270  # a TIFF tag


@dataclasses.dataclass(frozen=True)
class TiledImage:
    """An image and the grid of tiles over it.

    Attributes:
        image: PIL.Image.Image, RGB.
        zoom: float, pixels of the image per pixel of a tile, in each direction.
        mpp: float, micrometers per pixel of a tile.
        is_assumed: bool, whether nothing but an assumption says so.
        height, width: int, the size of the image in pixels of a tile, 96 or more.
    """

    image: Image.Image
    zoom: float
    mpp: float
    is_assumed: bool
    height: int
    width: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles, whose centers cover the image."""
        return math.ceil(self.height / CENTER), math.ceil(self.width / CENTER)


def is_large(path: Path) -> bool:
    """Whether a path is one image of another size than a patch.

    Raises:
        ValueError: it is a file, no CSV, and no image that Pillow can open.
    """
    if not path.is_file() or path.suffix.lower() == ".csv":
        return False
    with open_image(path) as image:
        return image.size != IMAGE_SHAPE[:2]


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image of any size without decoding it; Pillow's own limit is 179 million pixels.

    Raises:
        ValueError: as `name_file`.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with name_file(path):
            image = Image.open(path, formats=FORMATS)
        with image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextlib.contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Name the file in Pillow's errors, which are of any kind for damaged files; drop its warnings.

    Raises:
        ValueError: says what Pillow said.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Exception as error:
        raise ValueError(
            f"{printable(path)} cannot be read. Expected: a whole TIFF, PNG or JPEG, RGB with 8 "
            f"bits per channel. Received: {str(error) or type(error).__name__}. Try: another copy "
            "of it, or export it again"
        ) from error


def load_tiled(path: Path, mpp: float | None = None, say: Callable = print) -> TiledImage:
    """Decode an image and lay the grid of tiles over it.

    Args:
        path: a TIFF (its first page), PNG or JPEG.
        mpp: micrometers per pixel of the image; None for what the file says, else PCam's scale.
        say: function that prints a line.

    Raises:
        ValueError: it is not RGB of 8 bits per channel, too large, smaller than a patch at
            PCam's scale, or damaged.
    """
    with open_image(path) as image:
        check_image(path, image)
        with name_file(path):
            found = read_mpp(image)
            image.load()
    if found and mpp and not is_close(found, mpp):
        say(f"{path} says {found:.3g} micrometers per pixel; --mpp {mpp:g} is used")
    is_assumed = not (mpp or found)
    mpp = mpp or found or PCAM_MPP
    zoom = choose_zoom(mpp)
    width, height = (int(size / zoom + 1e-6) for size in image.size)
    if min(width, height) < SIDE:
        size = f"{image.width}x{image.height}"
        size += f", that is {width}x{height} at that scale" if zoom != 1 else ""
        raise ValueError(
            f"{path} is smaller than a patch. Expected: at least {SIDE}x{SIDE} pixels at "
            f"{PCAM_MPP} micrometers per pixel. Received: {size}. "
            "Try: --mpp, if the scale is another"
        )
    if is_assumed:
        say(f"{path} has no scale: PCam's is assumed, {mpp} micrometers per pixel (see --mpp)")
    elif zoom != 1:
        say(f"{mpp:.3g} micrometers per pixel: resampled to {mpp * zoom:.3g}, PCam has {PCAM_MPP}")
    if image.mode == "RGBA":
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image)
        image = flat
    return TiledImage(image, zoom, mpp * zoom, is_assumed, height, width)


def check_image(path: Path, image: Image.Image) -> None:
    """Refuse an image that is too large, or whose colors are not those of a patch.

    Raises:
        ValueError: says what was expected.
    """
    if image.width * image.height > LARGEST_IMAGE:
        raise ValueError(
            f"{path} is too large to be decoded at once. Expected: at most {LARGEST_IMAGE:,} "
            f"pixels. Received: {image.width:,}x{image.height:,}. "
            "Try: parts of it, or a lower resolution"
        )
    with name_file(path), open(path, "rb") as file:
        found = describe_image(image, file.read(PNG_BITS + 1)).partition(" ")[2]
    if found not in ("RGB, bits per channel 8", "RGBA, bits per channel 8"):
        raise ValueError(
            f"{path} has other colors than a patch. Expected: RGB or RGBA, 8 bits per channel. "
            f"Received: {found}. Try: export it as RGB; a palette or 16 bits would have to be "
            "converted, which changes colors"
        )


def read_mpp(image: Image.Image) -> float | None:
    """The micrometers per pixel that a file's resolution says, or None if that is implausible."""
    density = image.info.get("dpi")
    if density is None and image.format == "TIFF":
        text = str(image.tag_v2.get(DESCRIPTION, ""))
        if text.startswith("ImageJ=") and any(unit in text for unit in IMAGEJ_MICRONS):
            density = [25_400 * float(value) for value in image.info.get("resolution", (0, 0))]
    try:
        across, down = (25_400 / float(value) for value in density or (0, 0))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    is_plausible = LOWEST_MPP <= across <= HIGHEST_MPP and abs(across / down - 1) < 0.01
    return across if is_plausible else None


def is_close(first: float, second: float) -> bool:
    """Whether two scales differ by no more than those of PCam's scanners."""
    return abs(first / second - 1) <= SAME_SCALE


def choose_zoom(mpp: float) -> float:
    """By how much to shrink an image, so that its scale is PCam's.

    A whole number is preferred, since blocks of pixels can then be averaged, as for the levels of a
    slide: 0.25 and 0.5 micrometers per pixel become 1.0.
    """
    whole = max(1, round(PCAM_MPP / mpp))
    return float(whole) if is_close(mpp * whole, PCAM_MPP) else PCAM_MPP / mpp


def list_blocks(grid: tuple[int, int]) -> list[tuple]:
    """Blocks of up to 512 tiles that follow one another row by row.

    Args:
        grid: rows and columns of tiles.

    Returns:
        List of (rows, columns), both range: whole rows, or parts of one if they are long.
    """
    rows, columns = grid
    height, width = max(1, TILES_PER_BLOCK // columns), min(columns, TILES_PER_BLOCK)
    return [
        (range(top, min(top + height, rows)), range(left, min(left + width, columns)))
        for top in range(0, rows, height)
        for left in range(0, columns, width)
    ]


def cut_block(tiled: TiledImage, rows: range, columns: range) -> np.ndarray:
    """Cut some tiles: uint8 (n, 96, 96, 3), row by row. Beyond its edges the image is mirrored."""
    down = list_pixels(rows, tiled.height)
    across = list_pixels(columns, tiled.width)
    box = np.array([across.min(), down.min(), across.max() + 1, down.max() + 1])
    size = (int(box[2] - box[0]), int(box[3] - box[1]))
    resampling = Image.Resampling.BOX if tiled.zoom.is_integer() else Image.Resampling.LANCZOS
    source = np.minimum(box * tiled.zoom, [*tiled.image.size, *tiled.image.size])
    part = tiled.image.resize(size, resampling, box=tuple(source))
    pixels = np.asarray(part)[down[:, None] - box[1], across - box[0]]
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(0, 1))
    tiles = windows[::CENTER, ::CENTER].transpose(0, 1, 3, 4, 2)
    return tiles.reshape(-1, *IMAGE_SHAPE)


def list_pixels(tiles: range, size: int) -> np.ndarray:
    """The pixels under a range of tiles in one direction, mirrored at the edges 0 and `size`."""
    first, last = tiles.start * CENTER - MARGIN, tiles.stop * CENTER + MARGIN
    return size - 1 - np.abs(size - 1 - np.abs(np.arange(first, last)))


def name_maps(out: Path) -> tuple[Path, Path]:
    """The map and the picture that belong to a CSV."""
    return out.with_name(f"{out.stem}-map.tif"), out.with_name(f"{out.stem}-map.png")
