"""The competition's tables: joined by id, every kind of damage named."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import read_rows, write_rows

from pcam_kaggle.data.competition import (
    draw_images,
    find_slide_map,
    load_labels,
    load_sample,
    load_slides,
)


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


def test_labels_are_joined_to_the_files(competition):
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


def test_a_table_is_a_plain_frame(competition):
    assert list(load_labels(competition)) == ["path", "id", "label"]
    assert isinstance(load_sample(competition), pd.DataFrame)
    assert list(load_sample(competition)) == ["path", "id"]


def test_an_id_of_digits_stays_text(tmp_path):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0017.tif").touch()
        (tmp_path / folder / "NA.tif").touch()
    for name in ("train_labels.csv", "sample_submission.csv"):
        write_rows(tmp_path / name, [("NA", 1), ("0017", 0)])
    assert load_labels(tmp_path)["id"].tolist() == ["0017", "NA"]
    assert load_sample(tmp_path)["id"].tolist() == ["NA", "0017"]


@pytest.mark.parametrize(
    "damage, message",
    [
        (change_labels(lambda rows: rows[1:]), "1 image without an id"),
        (remove_first("train"), "1 id without an image"),
        (change_labels(lambda rows: rows + rows[:2]), "each id once. Received: 2 duplicates"),
        (change_labels(lambda rows: [(i, "2") for i, _ in rows]), "Received: 51 invalid"),
        (change_labels(lambda rows: [(i, "") for i, _ in rows]), "labels 0 and 1"),
        (change_labels(lambda rows: [(i, "1.0") for i, _ in rows]), "'1.0' for"),
        (rename_columns, "columns id,label, as written here. Received: 'name,target'. Try: "),
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


@pytest.mark.parametrize("name", ["train_labels.csv", "sample_submission.csv", "map.csv"])
@pytest.mark.parametrize(
    "content, received",
    [
        (b"", "an empty first line"),
        ("id,label\na,1\n".encode("utf-16"), "'utf-8' codec can't decode byte 0xff"),
        ("id,label\na,1\n".encode("utf-16-le"), "'i\\x00d"),
        (b"id,HEAD\na,1\nb\nc,1,2\n", "line 3 has another number of fields (2 such lines)"),
        (b"id,HEAD\na,1,2\n", "line 2 has another number of fields (1 such lines)"),
        (b'id,HEAD\n"a,1\n', "line 2 has another number of fields"),
        (bytes(200_000), "field larger than field limit"),
        (np.random.default_rng(0).bytes(5_000), "'utf-8' codec can't decode"),
    ],
)
def test_a_file_that_is_no_such_csv_is_named(competition, name, content, received):
    path = competition / name
    path.write_bytes(content.replace(b"HEAD", b"slide" if name == "map.csv" else b"label"))
    with pytest.raises(ValueError) as error:
        load_slides(path, ["a"]) if name == "map.csv" else load_labels(competition)
        load_sample(competition)
    message = str(error.value)
    assert message.startswith(f"{path}: expected a CSV in UTF-8 with the columns id,")
    assert f"Received: {received}" in message and message.endswith("save the file again")


def test_a_byte_order_mark_and_empty_lines_are_no_content(competition):
    expected = load_labels(competition)
    path = competition / "train_labels.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert load_labels(competition).equals(expected)


def test_problems_are_all_counted_and_ten_named(competition):
    rows = read_rows(competition / "train_labels.csv")
    write_rows(competition / "train_labels.csv", rows[12:])
    with pytest.raises(ValueError) as error:
        load_labels(competition)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("Received: 12 images without an id")
    assert len(lines) == 12 and lines[-1] == "  ..."
    assert {line.strip() for line in lines[1:-1]} < {patch_id for patch_id, _ in rows[:12]}


def test_a_draw_is_sorted_without_repeats_and_bounded():
    drawn = draw_images(100, 20, seed=0)
    assert len(set(drawn)) == 20 and (np.diff(drawn) > 0).all()
    assert (drawn == draw_images(100, 20, seed=0)).all()
    assert (drawn != draw_images(100, 20, seed=1)).any()
    assert draw_images(100, 0, seed=0).tolist() == list(range(100))
    with pytest.raises(ValueError, match="only 100 training images. Received: num_im"):
        draw_images(100, 101, seed=0)


def test_a_smaller_draw_is_part_of_a_larger_one():
    assert set(draw_images(100, 20, seed=0)) < set(draw_images(100, 60, seed=0))


@pytest.mark.parametrize("column", ["slide", "wsi"])
def test_slides_come_in_the_order_of_the_ids(tmp_path, column):
    path = tmp_path / "map.csv"
    write_rows(path, [("a", "s1"), (" b", "s2 "), ("c", "s1")], ("id", column))
    assert load_slides(path, ["c", "b"]).tolist() == ["s1", "s2"]


@pytest.mark.parametrize(
    "rows, header, message",
    [
        ([("a", "s"), ("c", "t")], ("id", "slide"), r"1 id is missing\s+b\nTry: slide_map="),
        ([("a", "s"), ("b", ""), ("c", "t")], ("id", "wsi"), r"1 id is missing\s+b\n"),
        ([("a", "s"), ("a ", "t"), ("b", "s")], ("id", "slide"), r"1 duplicate id\s+a\n"),
        ([], ("id", "slide"), r"2 ids are missing\s+a\s+b\n"),
        ([("a", "s"), ("b", " s")], ("id", "slide"), r"several slides.* 1 slide alone\s+s\nTry: "),
        ([("a", "s1")], ("patch", "slide"), "id,slide or id,wsi, .*Received: 'patch,slide'"),
        ([("a", "s1")], ("ID", "WSI"), "id,slide or id,wsi, as written here. Received: 'ID,WSI'"),
        ([("a", "s1")], ("id", " wsi"), "id,slide or id,wsi, as written here. Received: 'id, wsi'"),
        ([], ("id;wsi",), "id,slide or id,wsi, as written here. Received: 'id;wsi'"),
    ],
)
def test_a_slide_map_that_does_not_fit_is_refused(tmp_path, rows, header, message):
    write_rows(tmp_path / "map.csv", rows, header)
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        load_slides(tmp_path / "map.csv", ["a", "b"])


@pytest.mark.parametrize("name", ["patch_id_wsi_full.csv", "patch_id_wsi.csv", "slides.csv"])
@pytest.mark.parametrize("place", ["input/datasets/me/wsi", "input/competitions", "data"])
def test_a_slide_map_is_found_in_or_beside_the_data_or_attached(
    competition, tmp_path, place, name, monkeypatch
):
    folder = competition if place == "data" else tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    (folder / "other.csv").touch()
    (competition / "train" / "slides.csv").touch()
    expected = (folder / name).resolve()
    inputs = tmp_path / "input"
    for given in (inputs, None):
        monkeypatch.setenv("PCAM_INPUT", str(inputs))
        assert find_slide_map("auto", competition, given) == expected
        assert find_slide_map(name, competition, given) == expected
    assert find_slide_map("none", competition, inputs) is None
    own = folder / "other.csv"
    assert find_slide_map(str(own), competition, inputs) == own
    if "datasets" not in place:
        assert find_slide_map("auto", competition, competition) == expected


def test_without_a_slide_map_none_is_found(competition):
    assert find_slide_map("auto", competition, competition) is None
    with pytest.raises(ValueError, match=r"Received: 'slides\.csv', which is not there\. Try: "):
        find_slide_map("slides.csv", competition, competition)


@pytest.mark.parametrize("name", ["patch_id_wsi_full.zip", "patch_id_wsi.csv.gz", "slides.csv.gz"])
def test_a_compressed_slide_map_is_to_be_unpacked(competition, name):
    path = competition.parent / name
    path.touch()
    for slide_map in ("auto", name, str(path)):
        with pytest.raises(ValueError, match=f"{name}. Try: unpack it, or slide_map=none"):
            find_slide_map(slide_map, competition, competition)
    assert find_slide_map("none", competition, competition) is None
    unpacked = competition.parent / "patch_id_wsi_full.csv"
    unpacked.touch()
    assert find_slide_map("auto", competition, competition) == unpacked.resolve()


def test_two_slide_maps_are_both_named(competition):
    paths = [competition / "slides.csv", competition.parent / "patch_id_wsi.csv"]
    for path in paths:
        path.touch()
    with pytest.raises(ValueError, match="expected one CSV id,slide") as error:
        find_slide_map("auto", competition, competition)
    assert all(str(path.resolve()) in str(error.value) for path in paths)
    assert "slide_map=none" in str(error.value)
    assert find_slide_map("slides.csv", competition, competition) == paths[0].resolve()


def test_a_slide_map_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        load_slides(tmp_path / "nowhere.csv", ["a"])
