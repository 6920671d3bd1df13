"""Texts that the tools at home write."""

import pytest

from kernel.files import write_text


def test_a_text_has_the_same_bytes_on_every_system(tmp_path):
    write_text(tmp_path / "text.md", "caf\u00e9\n")
    assert (tmp_path / "text.md").read_bytes() == b"caf\xc3\xa9\n"
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "text.md", "")
