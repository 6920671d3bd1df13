"""Images decoded once: the same pixels by any way, damaged ones named, none skipped."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from pcam_kaggle.data import decode
from pcam_kaggle.data.competition import load_labels
from pcam_kaggle.data.decode import load_images


def image(mode="RGB", size=(96, 96), file_format="TIFF"):
    """The bytes of an image of noise."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], channels))
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels.astype("uint8").squeeze())
    picture.save(buffer, file_format)
    return buffer.getvalue()


def tiff_of_16_bits():
    """The bytes of a 96x96 RGB TIFF of 16 bits per channel; Pillow writes none."""
    num_bytes = 96 * 96 * 3 * 2
    bits_at = 8 + 2 + 10 * 12 + 4
    pixels_at = bits_at + 6
    entries = [  # tag, type (3 short, 4 long), count, value
        (256, 4, 1, 96),
        (257, 4, 1, 96),
        (258, 3, 3, bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, pixels_at),
        (277, 3, 1, 3),
        (278, 4, 1, 96),
        (279, 4, 1, num_bytes),
        (284, 3, 1, 1),
    ]
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries))
    head += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return head + struct.pack("<IHHH", 0, 16, 16, 16) + bytes(num_bytes)


def test_genuine_tiffs_decode_to_their_ids(competition, tmp_path):
    table = load_labels(competition)
    images = load_images(table, tmp_path, verify_ids=True)
    assert images.shape == (51, 96, 96, 3) and images.dtype == np.uint8
    assert (images[7] == np.asarray(Image.open(table["path"][7]))).all()


def test_images_stand_in_the_order_of_the_table(competition):
    table = load_labels(competition)
    images = load_images(table, None)
    turned = load_images(table.iloc[::-1], None)
    assert (turned == images[::-1]).all()


def test_processes_and_a_mapped_file_give_the_same_pixels(competition, tmp_path, monkeypatch):
    table = load_labels(competition)
    plain = load_images(table, tmp_path)
    monkeypatch.setattr(decode, "PROCESSES_FROM", 1)
    monkeypatch.setattr(decode, "FILES_PER_TASK", 20)
    mapped = load_images(table, tmp_path, progress="mapped")
    assert isinstance(mapped, np.memmap) and not isinstance(plain, np.memmap)
    assert (mapped == plain).all()
    assert [path.name for path in tmp_path.glob("*.npy")] == ["mapped.npy"]


@pytest.mark.parametrize(
    "content, message",
    [
        (image(size=(95, 96)), "95x96 RGB"),
        (image("L"), "96x96 L"),
        (image("RGBA"), "96x96 RGBA"),
        (tiff_of_16_bits(), "bits per channel (16, 16, 16)"),
        (image()[:5000], "image file is truncated"),
        (image()[:40], "not a TIFF"),
        (b"", "not a TIFF"),
        (b"II*\0" + bytes(5000), "not a TIFF"),
        (image(file_format="PNG"), "not a TIFF"),
    ],
)
def test_a_damaged_image_is_named_and_never_skipped(competition, tmp_path, content, message):
    table = load_labels(competition)
    with open(table["path"][3], "wb") as file:
        file.write(content)
    with pytest.raises(ValueError) as error:
        load_images(table, tmp_path)
    assert f"{table['path'][3]}: " in str(error.value)
    assert message in str(error.value)
    assert "Received: 1 other files" in str(error.value)


def test_damaged_images_are_all_counted_and_ten_named(competition, tmp_path):
    table = load_labels(competition)
    for path in table["path"][:12]:
        with open(path, "wb") as file:
            file.write(b"no image")
    with pytest.raises(ValueError) as error:
        load_images(table, tmp_path)
    assert "Received: 12 other files" in str(error.value)
    assert str(error.value).count("not a TIFF") == 10


def test_an_id_that_is_not_its_pixels_is_found_on_demand(competition, tmp_path):
    table = load_labels(competition)
    with open(table["path"][3], "wb") as file:
        file.write(image())
    load_images(table, tmp_path)
    with pytest.raises(ValueError, match="sha1 of the pixels is [0-9a-f]{40}, not the id"):
        load_images(table, tmp_path, verify_ids=True)
