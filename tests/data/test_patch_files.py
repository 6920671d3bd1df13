"""Patches in files: what is listed, what is refused, what is named."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from pcam_kaggle.data import patch_files
from pcam_kaggle.data.patch_files import decode_ahead, decode_patch, list_patches

PIXELS = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Three patches, each of another format."""
    folder = tmp_path / "patches"
    folder.mkdir()
    for name in ("b.tif", "a.png", "c.JPG"):
        Image.fromarray(PIXELS).save(folder / name)
    return folder


def decode(folder, start=0):
    """What `decode_ahead` yields of a source, in a list."""
    return list(decode_ahead(list_patches(folder), start))


def test_a_folder_is_listed_by_name_and_says_what_it_ignores(folder):
    (folder / "notes.txt").write_text("no patch", "utf-8")
    (folder / "deeper.png").mkdir()
    lines = []
    files = list_patches(folder, lines.append)
    assert files.names == ["a.png", "b.tif", "c.JPG"]
    assert [files.get_id(n) for n in range(3)] == ["a", "b", "c"]
    assert len(lines) == 1 and lines[0].endswith(": 2")


def test_a_file_and_a_csv_are_listed(folder, tmp_path):
    assert list_patches(folder / "b.tif").names == ["b.tif"]
    table = tmp_path / "list.csv"
    table.write_text('id,path\n"x,1",patches/b.tif\ny,patches/a.png\n', "utf-8-sig")
    files = list_patches(table)
    assert [files.get_id(n) for n in range(2)] == ["x,1", "y"]
    ((first, pixels, problems),) = decode(table)
    assert first == 0 and problems == {}
    np.testing.assert_array_equal(pixels, np.stack([PIXELS, PIXELS]))
    table.write_text("path\npatches/b.tif\n", "utf-8")
    assert list_patches(table).get_id(0) == "b"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the columns of an empty file"),
        (b"file,id\na.png,1\n", "the columns file,id"),
        (b"path,id\na.png\n", "line 2: a.png"),
        (b"path,id\na.png,1\n,2\n", "line 3: ,2"),
        (b"path,id\na.png,\n", "line 2: a.png,"),
        ("path\na.png\n".encode("utf-16"), "Received: .*utf-8"),
        (b"path,id,path\na.png,1,b.tif\n", "the columns path,id,path"),
        (b'path,id\n"a.png,1\n', "list.csv: expected a CSV"),
        (b"path\n", "list.csv has no patches"),
        (b"path,id\na.png,1\nb.tif,1\n", "b.tif: expected every id once.*'1' twice"),
        (b'path,id\na.png,"1\n2"\n', "on one line.*cannot be printed"),
    ],
)
def test_a_csv_that_is_no_such_table_is_refused(folder, content, message):
    (folder / "list.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list_patches(folder / "list.csv")


def test_what_cannot_be_listed_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="nothing is not there, or no regular file. Exp"):
        list_patches(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no patches. Expected: files that end in .tif"):
        list_patches(tmp_path / "empty")
    Image.fromarray(PIXELS).save(folder / "a.tiff")
    with pytest.raises(ValueError, match="a.tiff: expected every id once.*'a' twice.*Try: a CSV"):
        list_patches(folder)


def test_the_hash_changes_with_the_folder_the_names_and_the_ids(folder, tmp_path):
    table = tmp_path / "list.csv"
    hashes = [list_patches(folder).hash()]
    for text in ("path\na.png\n", "path,id\na.png,1\n", "path,id\na.png,2\n", "path\nb.png\n"):
        table.write_text(text, "utf-8")
        hashes.append(list_patches(table).hash())
    assert len(set(hashes)) == len(hashes)
    assert list_patches(folder).hash() == hashes[0]


def test_chunks_come_in_order_and_from_any_start(folder, monkeypatch):
    monkeypatch.setattr(patch_files, "FILES_PER_CHUNK", 2)
    for number in range(40):
        Image.fromarray(np.full_like(PIXELS, number)).save(folder / f"d{number:02}.png")
    chunks = decode(folder, start=3)
    assert [first for first, _, _ in chunks] == list(range(3, 43, 2))
    pixels = np.concatenate([part for _, part, _ in chunks])
    np.testing.assert_array_equal(pixels[:, 0, 0, 0], np.arange(40))


def save_sixteen_bits(path):
    """A PNG of 16 bits per channel, which Pillow reads as 8 without a word."""
    import struct
    import zlib

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", 96, 96, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(96 * 6) for _ in range(96)))
    content = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_every_file_that_is_no_patch_is_named_and_stops_no_other(folder):
    Image.fromarray(PIXELS[:, :95]).save(folder / "d.png")
    Image.fromarray(PIXELS[:, :, 0]).save(folder / "e.tif")
    Image.fromarray(PIXELS).convert("RGBA").save(folder / "f.png")
    Image.fromarray(PIXELS).save(folder / "g.bmp", format="BMP")
    (folder / "g.bmp").rename(folder / "g.png")
    save_sixteen_bits(folder / "h.png")
    whole = (folder / "b.tif").read_bytes()
    (folder / "i.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "j.jpg").write_bytes(b"")
    Image.new("1", (20_000, 20_000)).save(folder / "k.png")  # a bomb of a few bytes
    with open(folder / "l.tif", "wb") as file:
        file.truncate(20_000_000)
    ((_, pixels, problems),) = decode(folder)
    assert len(pixels) == 12 and not pixels[3:].any()
    np.testing.assert_array_equal(pixels[:2], np.stack([PIXELS, PIXELS]))
    assert set(problems) == set(range(3, 12))
    assert problems[3] == "95x96 RGB, bits per channel 8"
    assert problems[4] == "96x96 L, bits per channel 8"
    assert problems[5] == "96x96 RGBA, bits per channel 8"
    assert problems[6] == problems[9] == "not a TIFF, PNG or JPEG"
    assert problems[7] == "96x96 RGB, bits per channel 16"
    assert problems[11] == "20,000,000 bytes"


def test_missing_files_of_a_csv_and_pipes_are_named(folder, tmp_path):
    names = ["patches/a.png", "patches/gone.png", "patches"]
    if sys.platform != "win32":
        os.mkfifo(folder / "pipe.tif")  # to read it would wait for ever
        names.append("patches/pipe.tif")
    (tmp_path / "list.csv").write_text("\n".join(["path", *names]) + "\n", "utf-8")
    ((_, _, problems),) = decode(tmp_path / "list.csv")
    assert set(problems) == set(range(1, len(names)))
    assert problems[3] == "not a regular file"


def test_a_jpeg_is_decoded_as_pillow_decodes_it(folder):
    with Image.open(folder / "c.JPG") as image:
        np.testing.assert_array_equal(decode_patch(folder / "c.JPG"), np.asarray(image))
