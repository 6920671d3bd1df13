"""Large images cut into tiles: the grid, the scale, the edges, what is refused."""

import math

import numpy as np
import pytest
from PIL import Image
from test_patch_files import save_sixteen_bits

from pcam_kaggle.data import tiles
from pcam_kaggle.data.tiles import cut_block, is_large, list_blocks, load_tiled

PIXELS = np.random.default_rng(0).integers(0, 256, (230, 301, 3), np.uint8)


@pytest.fixture
def path(tmp_path):
    """An image of 301x230 pixels."""
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def cut(tiled):
    """All tiles, block by block: (rows, columns, 96, 96, 3)."""
    parts = [cut_block(tiled, *block) for block in list_blocks(tiled.grid)]
    return np.concatenate(parts).reshape(*tiled.grid, 96, 96, 3)


@pytest.mark.parametrize("tiles_per_block", [512, 22, 3])
def test_centers_cover_the_image_which_is_mirrored_at_its_edges(path, monkeypatch, tiles_per_block):
    monkeypatch.setattr(tiles, "TILES_PER_BLOCK", tiles_per_block)
    tiled = load_tiled(path)
    assert tiled.grid == (8, 10)
    assert max(len(r) * len(c) for r, c in list_blocks(tiled.grid)) <= tiles_per_block
    padded = np.pad(PIXELS, ((32, 96), (32, 96), (0, 0)), mode="reflect")
    for (row, column), tile in zip(np.ndindex(8, 10), cut(tiled).reshape(-1, 96, 96, 3)):
        y, x = 32 * row, 32 * column
        np.testing.assert_array_equal(tile, padded[y : y + 96, x : x + 96])


@pytest.mark.parametrize(
    "mpp, zoom", [(0.97, 1), (0.904, 1), (0.5, 2), (0.485, 2), (0.25, 4), (0.226, 4), (0.65, None)]
)
def test_blocks_of_pixels_are_averaged_where_that_gives_pcams_scale(tmp_path, mpp, zoom):
    """As PCam was made from slides of 0.226 and 0.243; other scales are resampled to 0.97."""
    Image.fromarray(np.tile(PIXELS, (3, 3, 1))).save(tmp_path / "image.png")
    tiled = load_tiled(tmp_path / "image.png", mpp, lambda line: None)
    assert math.isclose(tiled.zoom, zoom or 0.97 / 0.65)
    assert math.isclose(tiled.mpp, mpp * tiled.zoom) and not tiled.is_assumed
    half = tiled.image.reduce(zoom) if zoom else tiled.image.resize((605, 463), 1)
    first = cut_block(tiled, range(2, 3), range(3, 4))[0].astype(int)
    expected = np.asarray(half)[32:128, 64:160]
    assert abs(first - expected).max() <= 1 if zoom else first.shape == expected.shape


@pytest.mark.parametrize(
    "name, options, expected",
    [
        ("a.tif", {"resolution_unit": "cm", "x_resolution": 20_000, "y_resolution": 20_000}, 0.5),
        ("a.tif", {"resolution_unit": "inch", "x_resolution": 50_800, "y_resolution": 50_800}, 0.5),
        ("a.tif", {"resolution_unit": "inch", "x_resolution": 72, "y_resolution": 72}, None),
        ("a.tif", {"resolution_unit": "cm", "x_resolution": 20_000, "y_resolution": 9_000}, None),
        ("a.tif", {"description": "ImageJ=1.5\nunit=micron", "x_resolution": 2.0}, 0.5),
        ("a.png", {"dpi": (50_800, 50_800)}, 0.5),
        ("a.jpg", {"dpi": (50_800, 50_800)}, 0.5),
        ("a.jpg", {"dpi": (300, 300)}, None),
        ("a.jpg", {}, None),
    ],
)
def test_a_plausible_resolution_of_the_file_is_its_scale(tmp_path, name, options, expected):
    if "description" in options:
        options = {**options, "resolution_unit": 1, "y_resolution": options["x_resolution"]}
    Image.fromarray(PIXELS).save(tmp_path / name, **options)
    lines = []
    tiled = load_tiled(tmp_path / name, None, lines.append)
    assert math.isclose(tiled.mpp / tiled.zoom, expected or 0.97, rel_tol=1e-3)
    assert tiled.is_assumed == (expected is None)
    assert ("PCam's is assumed" if expected is None else "resampled to 1") in lines[0]
    lines.clear()
    assert load_tiled(tmp_path / name, 0.97, lines.append).zoom == 1
    assert len(lines) == (expected is not None) and all("says 0.5 micro" in line for line in lines)


def test_transparent_pixels_are_white(tmp_path):
    pixels = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    pixels[:96, :96, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = np.asarray(load_tiled(tmp_path / "image.png", 0.97).image)
    assert (found[:96, :96] == 255).all()
    np.testing.assert_array_equal(found[96:], PIXELS[96:])


def test_other_colors_are_refused(tmp_path, path):
    image = Image.open(path)
    endings = {"P": "png", "PA": "tif", "L": "tif", "LA": "png", "CMYK": "jpg"}
    for mode, ending in endings.items():
        image.convert(mode).save(tmp_path / f"{mode}.{ending}")
        with pytest.raises(ValueError, match=f"other colors.*Received: {mode}, bits per ch.* 8. T"):
            load_tiled(tmp_path / f"{mode}.{ending}")
    save_sixteen_bits(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="Received: RGB, bits per channel 16"):
        load_tiled(tmp_path / "deep.png")


def test_what_is_too_small_too_large_or_damaged_is_refused(tmp_path, path, monkeypatch):
    with pytest.raises(ValueError, match=r"smaller than a patch.*: 301x230, that is 75x57 at"):
        load_tiled(path, 0.25)
    Image.new("RGB", (95, 500)).save(tmp_path / "narrow.png")
    with pytest.raises(ValueError, match="smaller than a patch.*Received: 95x500. Try: --mpp"):
        load_tiled(tmp_path / "narrow.png")
    Image.new("1", (20_001, 20_000)).save(tmp_path / "large.png")  # Pillow refuses to open it
    assert is_large(tmp_path / "large.png")
    with pytest.raises(ValueError, match="at most 400,000,000 pixels. Received: 20,001x20,000"):
        load_tiled(tmp_path / "large.png")
    path.write_bytes(path.read_bytes()[:100_000])
    assert is_large(path)
    with pytest.raises(ValueError, match="image.png cannot be read. .* Received: image file is tr"):
        load_tiled(path)
    Image.fromarray(PIXELS[:96, :96]).save(path)
    assert not is_large(path)
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="image.png cannot be read. .* Received: cannot identify"):
        is_large(path)
    assert not is_large(tmp_path) and not is_large(path.rename(tmp_path / "patches.csv"))


@pytest.mark.parametrize("name, options", [("a.tif", {}), ("b.tif", {"compression": "tiff_lzw"})])
def test_damaged_images_are_named_whatever_pillow_raises(tmp_path, name, options, capfd):
    """Pillow raises errors of many kinds for them, or reads them all the same."""
    path, random = tmp_path / name, np.random.default_rng(0)
    Image.fromarray(PIXELS).save(path, **options)
    content, num_refused = path.read_bytes(), 0
    places = [*range(40), *range(len(content) - 240, len(content))]  # where a TIFF has its tags
    for _ in range(100):
        damaged = bytearray(content[: random.integers(len(content) // 2, 2 * len(content))])
        for place in random.choice([p for p in places if p < len(damaged)], 4):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            load_tiled(path, say=lambda line: None)
        except ValueError as error:
            assert str(error).startswith(str(path)) and ". Received: " in str(error)
            num_refused += 1
    assert num_refused > 50
    capfd.readouterr()  # libtiff writes notes


def test_blocks_of_a_wide_image_are_parts_of_a_row():
    blocks = list_blocks((2, 1_100))
    assert [len(columns) for _, columns in blocks] == [512, 512, 76] * 2
    assert [(rows.start, columns.start) for rows, columns in blocks[2:4]] == [(0, 1_024), (1, 0)]
