"""Texts and JSON that the tools at home write."""

import os

import pytest

from kernel.files import update_json, write_text


def test_a_text_has_the_same_bytes_on_every_system(tmp_path):
    write_text(tmp_path / "text.md", "caf\u00e9\n")
    assert (tmp_path / "text.md").read_bytes() == b"caf\xc3\xa9\n"
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "text.md", "")


def test_the_time_of_a_file_tells_when_its_content_changed(tmp_path):
    path = tmp_path / "record.json"
    update_json(path, {"a": 1})
    os.utime(path, (0, 0))
    update_json(path, {"a": 1})
    assert path.stat().st_mtime == 0
    update_json(path, {"a": 2})
    assert path.stat().st_mtime > 0
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
