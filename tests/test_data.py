"""Labels and images: joined as the seed does; every kind of damage is named."""

import io
import struct

import numpy as np
import pandas as pd
import pytest
from conftest import read_rows, write_rows
from pcam_kaggle.batches import Batches
from PIL import Image

from pcam_kaggle import data
from pcam_kaggle.data import load_images, load_labels, load_sample


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


def test_labels_are_joined_to_the_files_as_the_seed_does(competition):
    table = load_labels(competition)
    files = sorted((competition / "train").glob("*.tif"))
    labels = dict(read_rows(competition / "train_labels.csv"))
    assert table["path"].tolist() == [str(path) for path in files]
    assert table["id"].tolist() == [path.stem for path in files]
    assert table["label"].tolist() == [int(labels[path.stem]) for path in files]


def test_the_sample_keeps_its_own_order(competition):
    sample = load_sample(competition)
    rows = read_rows(competition / "sample_submission.csv")
    assert sample["id"].tolist() == [patch_id for patch_id, _ in rows]
    assert all(i in path for path, i in zip(sample["path"], sample["id"]))


def test_genuine_tiffs_decode_to_their_ids(competition, tmp_path):
    table = load_labels(competition)
    images = load_images(table, tmp_path, verify_ids=True)
    assert images.shape == (51, 96, 96, 3) and images.dtype == np.uint8
    assert (images[7] == np.asarray(Image.open(table["path"][7]))).all()


def test_processes_and_a_mapped_file_give_the_same_pixels(
    competition, tmp_path, monkeypatch
):
    table = load_labels(competition)
    plain = load_images(table, tmp_path)
    monkeypatch.setattr(data, "PROCESSES_FROM", 1)
    monkeypatch.setattr(data, "FILES_PER_TASK", 20)
    mapped = load_images(table, tmp_path, progress="mapped")
    assert isinstance(mapped, np.memmap) and not isinstance(plain, np.memmap)
    assert (mapped == plain).all()


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
def test_a_damaged_image_is_named_and_never_skipped(
    competition, tmp_path, content, message
):
    table = load_labels(competition)
    with open(table["path"][3], "wb") as file:
        file.write(content)
    with pytest.raises(ValueError) as error:
        load_images(table, tmp_path)
    assert f"{table['path'][3]}: " in str(error.value)
    assert message in str(error.value)
    assert "Received: 1 others" in str(error.value)


def test_damaged_images_are_all_counted_and_ten_named(competition, tmp_path):
    table = load_labels(competition)
    for path in table["path"][:12]:
        with open(path, "wb") as file:
            file.write(b"no image")
    with pytest.raises(ValueError) as error:
        load_images(table, tmp_path)
    assert "Received: 12 others" in str(error.value)
    assert str(error.value).count("not a TIFF") == 10


def test_an_id_that_is_not_its_pixels_is_found_on_demand(competition, tmp_path):
    table = load_labels(competition)
    with open(table["path"][3], "wb") as file:
        file.write(image())
    load_images(table, tmp_path)
    with pytest.raises(ValueError, match="sha1 of the pixels is [0-9a-f]{40}, not"):
        load_images(table, tmp_path, verify_ids=True)


def change_labels(change):
    """A damage that rewrites the rows of train_labels.csv."""

    def damage(root):
        rows = read_rows(root / "train_labels.csv")
        write_rows(root / "train_labels.csv", change(rows))

    return damage


def remove_first(folder):
    """A damage that deletes the first image of a folder."""
    return lambda root: min((root / folder).iterdir()).unlink()


def empty_test(root):
    for path in (root / "test").iterdir():
        path.unlink()


def rename_columns(root):
    write_rows(root / "train_labels.csv", [], header=("name", "target"))


@pytest.mark.parametrize(
    "damage, message",
    [
        (change_labels(lambda rows: rows[1:]), "1 images without an id"),
        (remove_first("train"), "1 ids without an image"),
        (change_labels(lambda rows: rows + rows[:2]), "each id once. Received: 2"),
        (change_labels(lambda rows: [(i, "2") for i, _ in rows]), "Received: 51 oth"),
        (change_labels(lambda rows: [(i, "") for i, _ in rows]), "labels 0 and 1"),
        (change_labels(lambda rows: [(i, "1.0") for i, _ in rows]), "'1.0' for"),
        (rename_columns, "expected columns id,label. Received: name,target"),
        (empty_test, "test: expected .tif images. Received: none"),
        (remove_first("test"), "sample_submission.csv: expected the ids of the"),
    ],
)
def test_a_damaged_competition_is_named(competition, damage, message):
    damage(competition)
    with pytest.raises(ValueError) as error:
        load_labels(competition)
        load_sample(competition)
    assert message in str(error.value)


def test_batches_are_uint8_complete_and_shuffled_anew():
    images = np.arange(10, dtype=np.uint8)[:, None, None, None]
    labels, positions = np.arange(10) % 2, np.array([1, 3, 5, 7, 9])
    train = Batches(images, positions, 2, labels, shuffle_seed=0)
    orders = []
    for _ in range(2):
        batches = [train[i] for i in range(len(train))]
        orders.append([int(i) for x, _ in batches for i in x.ravel()])
        train.on_epoch_end()
    assert len(orders[0]) == 4 and set(orders[0]) < set(positions)
    assert orders[0] != orders[1]
    assert batches[0][0].dtype == np.uint8
    assert batches[0][1].tolist() == [[1.0], [1.0]]
    test = Batches(images, positions, 2)
    seen = np.concatenate([test[i] for i in range(len(test))]).ravel()
    assert seen.tolist() == positions.tolist()


def test_a_batch_is_never_larger_than_the_data():
    images = np.zeros((3, 1, 1, 1), np.uint8)
    batches = Batches(images, [0, 1, 2], 64, np.zeros(3), shuffle_seed=0)
    assert len(batches) == 1 and len(batches[0][0]) == 3


def test_a_table_is_a_plain_frame(competition):
    assert list(load_labels(competition)) == ["path", "id", "label"]
    assert isinstance(load_sample(competition), pd.DataFrame)
