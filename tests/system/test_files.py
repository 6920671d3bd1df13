"""Files appear whole or not at all, with the same bytes on every system."""

import dataclasses
import hashlib
import os

import numpy as np
import pandas as pd
import pytest

from pcam_kaggle.system.files import (
    describe_files,
    read_json,
    remove_partial,
    short_hash,
    write_beside,
    write_json,
    write_table,
)


@dataclasses.dataclass
class Inner:
    """A record within a record."""

    count: int


@dataclasses.dataclass
class Outer:
    """A record."""

    name: str
    inner: Inner


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("old")
    with pytest.raises(KeyError), write_beside(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with write_beside(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_share_a_temporary_one(tmp_path):
    path = tmp_path / "fold0_seed0.npz"
    with write_beside(path) as one, write_beside(path) as two:
        assert one != two and one.suffix == two.suffix == ".npz"
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / "folds").mkdir()
    left = ["run.json", "folds/fold0_seed0.npz"]
    left = [(tmp_path / name).with_name(f"partial-0123abcd-{name[-8:]}") for name in left]
    kept = ["run.json", "folds/fold0_seed0.npz", "partial-thesis.txt", "partial-0123abcd.csv"]
    kept += ["thesis/partial-0123abcd-1.txt", "partial-0123abcd-folder/run.json"]
    for path in [*left, *map(tmp_path.joinpath, kept)]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    remove_partial(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path).as_posix() for path in files} == set(kept)


def test_files_are_described_by_size_and_sha256(tmp_path):
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / "a.npz").write_bytes(b"abc")
    (tmp_path / "empty").touch()
    described = describe_files(tmp_path, ["folds/a.npz", "empty"])
    assert list(described) == ["folds/a.npz", "empty"]
    for name, content in (("folds/a.npz", b"abc"), ("empty", b"")):
        digest = hashlib.sha256(content).hexdigest()
        assert described[name] == {"size": len(content), "sha256": digest}


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path):
    import resource

    path = tmp_path / "file.csv"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with (
            pytest.raises(OSError, match=r"cannot write .*file\.csv; .*free up disk space"),
            write_beside(path) as partial,
        ):
            partial.write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_another_error_of_the_system_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as error, write_beside(tmp_path / "file"):
        (tmp_path / "nowhere").read_text()
    assert "free up" not in str(error.value)


def test_records_become_json_and_come_back_as_dicts(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"folds": (0, 1), "inner": Inner(3), "text": "caf\u00e9"})
    assert (
        path.read_bytes().startswith(b'{\n  "folds": [\n    0,') and b"\r" not in path.read_bytes()
    )
    assert read_json(path) == {"folds": [0, 1], "inner": {"count": 3}, "text": "caf\u00e9"}
    write_json(path, Outer("a", Inner(4)))
    assert path.read_text().endswith("}\n")
    assert read_json(path) == {"name": "a", "inner": {"count": 4}}


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"a": 1', b'"text"', b"\xff\xfe{}"])
def test_a_file_that_holds_no_object_is_named(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json: expected a JSON object"):
        read_json(tmp_path / "run.json")


def test_a_table_keeps_nine_digits_and_has_no_index(tmp_path):
    path = tmp_path / "table.csv"
    table = pd.DataFrame({"id": ["a", "b"], "p": [0.1234567894, 1.0]}, index=[5, 7])
    write_table(path, table)
    assert path.read_bytes() == b"id,p\na,0.123456789\nb,1\n"
    numbers = np.random.default_rng(0).random(100).astype("float32")
    write_table(path, pd.DataFrame({"p": numbers}))
    assert (pd.read_csv(path)["p"].astype("float32") == numbers).all()


def test_a_hash_is_the_start_of_sha256():
    assert short_hash("") == short_hash(b"") == "e3b0c44298"
    assert short_hash("caf\u00e9") == short_hash("caf\u00e9".encode()) != short_hash("cafe")
