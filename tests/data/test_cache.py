"""The cache of decoded images: taken when it is right, replaced when it is not."""

import os

import numpy as np
import pytest

from pcam_kaggle.data import cache, decode
from pcam_kaggle.data.cache import load_cached
from pcam_kaggle.data.competition import load_labels
from pcam_kaggle.data.decode import load_images


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
    (path,) = (tmp_path / "cache").iterdir()
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
    return "it is damaged"


def empty(path, table):
    path.write_bytes(b"")
    return "it is damaged"


def other_shape(path, table):
    np.save(path, np.zeros((3, 96, 96, 3), np.uint8))
    return r"received uint8 (3, 96, 96, 3)"


def other_images(path, table):
    np.save(path, np.load(path)[::-1])
    return "image 0 is not that of"


@pytest.mark.parametrize("damage", [cut, empty, other_shape, other_images])
def test_a_damaged_cache_is_replaced_and_said(damage, table, load, tmp_path, capsys):
    expected = np.array(load(table))
    message = damage(find_file(tmp_path), table)
    capsys.readouterr()
    assert np.array_equal(load(table), expected)
    assert message in capsys.readouterr().out
    assert np.array_equal(np.load(find_file(tmp_path)), expected)


def test_other_images_have_a_cache_of_their_own(table, load, tmp_path):
    load(table)
    fewer = load(table.iloc[::-1].head(20).reset_index(drop=True))
    assert len(fewer) == 20 and len(list((tmp_path / "cache").iterdir())) == 2


def test_a_damaged_image_leaves_no_cache(table, load, tmp_path):
    with open(table["path"].iloc[3], "wb") as file:
        file.write(b"no image")
    with pytest.raises(ValueError, match="not a TIFF"):
        load(table)
    assert not list((tmp_path / "cache").iterdir())


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
    (path,) = (tmp_path / "elsewhere").iterdir()
    assert path.name.startswith("train-") and path.suffix == ".npy"
