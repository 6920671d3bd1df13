"""The cache of decoded images: taken when it is right, replaced when it is not."""

import os
import stat
import tempfile

import numpy as np
import pytest
from conftest import run_python

from pcam_kaggle.data import cache, decode
from pcam_kaggle.data.cache import load_cached
from pcam_kaggle.data.competition import load_labels
from pcam_kaggle.data.decode import load_images

posix = pytest.mark.skipif(os.name != "posix", reason="users and modes of POSIX")


@pytest.fixture
def table(competition, monkeypatch):
    """A table of few images that counts as one of many."""
    for module in (cache, decode):
        monkeypatch.setattr(module, "PROCESSES_FROM", 10)
    return load_labels(competition)


@pytest.fixture
def load(tmp_path):
    """Load through the cache of this test."""

    def call(table, **options):
        return load_cached(table, folder=tmp_path / "cache", **options)

    return call


def find_file(tmp_path):
    (path,) = (tmp_path / "cache").glob("*.bin")
    return path


def test_a_second_run_takes_the_array_of_the_first(table, load, tmp_path, capsys):
    first = load(table)
    plain = load_images(table.head(9), tmp_path)  # few: decoded in this process
    assert np.array_equal(first[:9], plain) and len(first) == len(table)
    path = find_file(tmp_path)
    written = path.stat().st_mtime_ns
    capsys.readouterr()
    assert np.array_equal(load(table), first)
    assert capsys.readouterr().out == f"cache    {path}\n"
    assert path.stat().st_mtime_ns == written


def cut(path, table):
    path.write_bytes(path.read_bytes()[:-1000])
    return "it is damaged (expected 1,411,272 bytes, received 1,410,272)"


def empty(path, table):
    path.write_bytes(b"")
    return "it is damaged"


def flip(path, table):
    content = bytearray(path.read_bytes())
    content[27_648 * 20 + 5_000] ^= 16
    path.write_bytes(content)
    return "damaged images: 1"


def blank(path, table):
    content = path.read_bytes()
    path.write_bytes(content[: 27_648 * 30] + bytes(len(content) - 27_648 * 30))
    return "changed files: 51"  # its facts are gone too


def garbage(path, table):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    return "changed files: 51"


def other_images(path, table):
    content = np.fromfile(path, np.uint8)
    images = content[: 51 * 27_648].reshape(51, -1)
    images[:2] = images[1::-1].copy()
    content.tofile(path)
    return "damaged images: 2"


def other_time(path, table):
    status = os.stat(table["path"][7])
    os.utime(table["path"][7], ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    return f"changed files: 1, such as {table['path'][7]}"


def other_size(path, table):
    status = os.stat(table["path"][8])
    with open(table["path"][8], "ab") as file:
        file.write(b"0")
    os.utime(table["path"][8], ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"changed files: 1, such as {table['path'][8]}"


DAMAGES = [cut, empty, flip, blank, garbage, other_images, other_time, other_size]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_replaced_and_said(damage, table, load, tmp_path, capsys):
    expected = np.array(load(table))
    message = damage(find_file(tmp_path), table)
    capsys.readouterr()
    assert np.array_equal(load(table), expected)
    assert message in capsys.readouterr().out
    assert np.array_equal(load(table), expected)
    assert capsys.readouterr().out == f"cache    {find_file(tmp_path)}\n"


def test_pixels_that_changed_on_disk_are_read_again(table, load):
    load(table)
    with open(table["path"][5], "rb") as other:
        content = other.read()
    with open(table["path"][4], "wb") as file:
        file.write(content)
    os.utime(table["path"][4], ns=(0, 10**18))
    images = load(table)
    assert np.array_equal(images[4], images[5])


def test_other_images_have_a_cache_of_their_own(table, load, tmp_path):
    load(table)
    fewer = load(table.iloc[::-1].head(20).reset_index(drop=True))
    assert len(fewer) == 20 and len(list((tmp_path / "cache").glob("*.bin"))) == 2


def test_a_damaged_image_leaves_no_cache(table, load, tmp_path):
    with open(table["path"].iloc[3], "wb") as file:
        file.write(b"no image")
    with pytest.raises(ValueError, match="not a TIFF"):
        load(table)
    assert not list((tmp_path / "cache").glob("*.bin"))


def test_verified_ids_are_read_from_the_files(table, load, tmp_path):
    load(table)
    path = table["path"].iloc[40]
    with open(path, "r+b") as file:  # one pixel, no probe of the cache
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 255]))
    with pytest.raises(ValueError, match="sha1 of the pixels"):
        load(table, verify_ids=True)


def test_few_images_leave_no_cache(competition, tmp_path):
    images = load_cached(load_labels(competition), folder=tmp_path / "cache")
    assert images.shape == (51, 96, 96, 3) and not (tmp_path / "cache").exists()


def test_the_cache_is_where_the_variable_says(table, tmp_path, monkeypatch):
    monkeypatch.setenv("PCAM_CACHE", str(tmp_path / "elsewhere"))
    load_cached(table, name="train")
    (path,) = (tmp_path / "elsewhere").glob("*.bin")
    assert path.name.startswith("train-") and path.suffix == ".bin"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the system, for this test alone."""
    monkeypatch.delenv("PCAM_CACHE", raising=False)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def check_kept_in_memory(table, capsys, *, because):
    """The images are right, nothing is cached and one line says why."""
    images = load_cached(table, name="train")
    assert not isinstance(images, np.memmap)
    assert np.array_equal(images, load_images(table, None))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("cache    not used: ") and because in line
    assert line.endswith("stay in memory. Try: another folder in PCAM_CACHE")


@posix
def test_every_user_has_a_closed_folder(table, temporary):
    load_cached(table)
    (folder,) = temporary.iterdir()
    assert folder.name == f"pcam-kaggle-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    load_cached(table)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@posix
def test_a_folder_behind_a_link_is_not_used(table, temporary, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (temporary / f"pcam-kaggle-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    check_kept_in_memory(table, capsys, because="belongs to someone else")
    assert not list((tmp_path / "elsewhere").glob("*.bin"))


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives away")
def test_a_folder_of_someone_else_is_not_used(table, temporary, capsys):
    folder = temporary / "pcam-kaggle-0"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    check_kept_in_memory(table, capsys, because=f"{folder} belongs to someone else")
    assert not list(folder.glob("*.bin"))


def test_a_file_in_place_of_the_folder_is_no_end(table, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PCAM_CACHE", str(tmp_path / "file"))
    check_kept_in_memory(table, capsys, because=str(tmp_path / "file"))


@posix
def test_a_disk_without_space_is_no_end(table, tmp_path, monkeypatch):
    """In a process of its own, whose files may have 1 MB: the images take 1.4 MB."""
    code = """
import resource, sys
import numpy as np
import pandas as pd
from pcam_kaggle.data import cache, decode

if __name__ == "__main__":
    cache.PROCESSES_FROM = decode.PROCESSES_FROM = 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    table = pd.read_csv(sys.argv[1])
    images = cache.load_cached(table, folder=sys.argv[2])
    assert np.array_equal(images, decode.load_images(table, None))
"""
    table.to_csv(tmp_path / "table.csv", index=False)
    result = run_python(["-c", code, tmp_path / "table.csv", tmp_path / "cache"])
    assert result.returncode == 0, result.stderr
    assert "not used: [Errno 27] File too large" in result.stdout
    assert not list((tmp_path / "cache").glob("*.bin"))
