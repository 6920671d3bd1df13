"""Images decoded once: the same pixels by any way, damaged ones named, none skipped."""

import io
import os
import struct
import threading
import zipfile

import numpy as np
import pytest
from conftest import FIXTURES, find_survivors
from PIL import Image

from pcam_kaggle.data import decode
from pcam_kaggle.data.competition import load_labels
from pcam_kaggle.data.decode import READERS, decode_files, load_images, sum_images


def image(mode="RGB", size=(96, 96), file_format="TIFF"):
    """The bytes of an image of noise."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], channels))
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels.astype("uint8").squeeze())
    picture.save(buffer, file_format)
    return buffer.getvalue()


def bare_tiff(side=96, bits=16):
    """The bytes of a 96x96 RGB TIFF that declares other sides or 16 bits per channel."""
    num_bytes = 96 * 96 * 3 * 2
    bits_at = 8 + 2 + 10 * 12 + 4
    pixels_at = bits_at + 6
    entries = [  # tag, type (3 short, 4 long), count, value
        (256, 4, 1, side),
        (257, 4, 1, side),
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
    return head + struct.pack("<IHHH", 0, bits, bits, bits) + bytes(num_bytes)


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
    assert [path.name for path in tmp_path.glob("*.bin")] == ["mapped.bin"]


WHILE_DECODING = """
from pcam_kaggle.data import decode
from pcam_kaggle.data.competition import load_labels

decode.PROCESSES_FROM, decode.FILES_PER_TASK, os.cpu_count = 1, 8, lambda: 2
decode.beat = lambda *progress: kill_parent(os.getpid())  # after the first task
decode.load_images(load_labels(os.environ["DATA"]), ".")
"""


@pytest.mark.skipif(os.name == "nt", reason="the command lines differ")
def test_no_process_outlives_a_killed_parent(shared_competition, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", str(shared_competition))
    assert find_survivors(WHILE_DECODING, tmp_path) == (2, [])


class WaitingPath:
    """A path that opens only once as many files are being opened as there are readers."""

    barrier = threading.Barrier(READERS, timeout=20)

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        self.barrier.wait()
        return self.path


def test_files_are_read_ahead(competition):
    table = load_labels(competition).head(READERS)
    images = np.zeros((READERS, 96, 96, 3), np.uint8)
    paths = [WaitingPath(path) for path in table["path"]]
    _, facts, problems = decode_files(images, 0, paths, table["id"].tolist(), True)
    assert problems == [] and len(facts) == READERS


def test_the_facts_are_those_of_the_files(competition, tmp_path, monkeypatch):
    table = load_labels(competition)
    monkeypatch.setattr(decode, "FILES_PER_TASK", 20)
    facts = np.zeros((51, 3), np.int64)
    images = load_images(table, None, facts=facts)
    found = [os.stat(path) for path in table["path"]]
    assert facts[:, 0].tolist() == [status.st_size for status in found]
    assert facts[:, 1].tolist() == [status.st_mtime_ns for status in found]
    assert (facts[:, 2] == sum_images(images)).all()
    flipped = images.copy()
    flipped[7, 50, 50, 1] ^= 1
    assert (sum_images(flipped) != facts[:, 2]).tolist() == (np.arange(51) == 7).tolist()


def test_lines_say_how_far_it_is(competition, monkeypatch, capsys):
    table = load_labels(competition)
    load_images(table, None)
    assert capsys.readouterr().out == ""  # it took no 30 s
    monkeypatch.setenv("PCAM_SECONDS", "0")
    monkeypatch.setattr(decode, "FILES_PER_TASK", 20)
    load_images(table, None, progress="train")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"progress train    decoded {count} of 51" for count in (20, 40, 51)]


@pytest.mark.parametrize(
    "content, message",
    [
        (image(size=(95, 96)), "95x96 RGB"),
        (image("L"), "96x96 L"),
        (image("RGBA"), "96x96 RGBA"),
        (bare_tiff(), "bits per channel (16, 16, 16)"),
        (bare_tiff(50_000, 8), "exceeds limit of"),
        (bare_tiff(95, 8), "95x95 RGB"),
        (image() + bytes(2**20), "1,076,3"),
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
    assert "Received: 1 other file\n" in str(error.value)


def make_pipe(path):
    os.mkfifo(path)
    return "not a regular file"


def make_device(path):
    path.symlink_to("/dev/zero")
    return "not a regular file"


def make_folder(path):
    path.mkdir()
    return "Is a directory" if os.name == "posix" else "Permission denied"


def make_broken_link(path):
    path.symlink_to("nowhere")
    return "No such file"


KINDS = [make_folder] + [make_pipe, make_device, make_broken_link] * (os.name == "posix")


@pytest.mark.parametrize("make", KINDS)
def test_what_is_no_file_is_named_without_waiting(competition, make):
    table = load_labels(competition)
    path = competition / "train" / f"{table['id'][3]}.tif"
    path.unlink()
    message = make(path)
    with pytest.raises(ValueError) as error:
        load_images(table, None)
    assert f"{path}: " in str(error.value) and message in str(error.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, of the tags
def test_any_bit_of_a_header_may_flip(tmp_path):
    """Each file is decoded or named; no error of another kind comes through."""
    with zipfile.ZipFile(FIXTURES / "kaggle_tifs.zip") as archive:
        content = archive.read(archive.namelist()[0])
    paths = []
    for bit in range(0, 8 * 240, 3):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        paths.append(tmp_path / f"{bit}.tif")
        paths[-1].write_bytes(damaged)
    images = np.zeros((len(paths), 96, 96, 3), np.uint8)
    _, _, problems = decode_files(images, 0, paths, [""] * len(paths), False)
    named = [problem.split(": ")[0] for problem in problems]
    decoded = [path for path in paths if str(path) not in named]
    assert len(set(named)) == len(named) > 100
    assert all(images[paths.index(path)].any() for path in decoded)


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
