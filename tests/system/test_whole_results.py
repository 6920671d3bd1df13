"""Folders that are written whole or not at all."""

import errno
import os

import pytest

from pcam_kaggle.system.results import write_folder, writing_results


def test_a_folder_takes_the_place_of_an_empty_one_and_of_what_a_killed_command_left(tmp_path):
    out, left = tmp_path / "out", tmp_path / ".partial-out"
    out.mkdir()
    left.mkdir()
    (left / "half").touch()
    with write_folder(out) as draft:
        assert not any(draft.iterdir())
        (draft / "whole").touch()
        assert not any(out.iterdir())
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "out",
        "out/whole",
    ]


@pytest.mark.parametrize(
    "error, message",
    [
        (ValueError("no patch"), "^no patch$"),
        (OSError(errno.ENOSPC, "full"), "cannot write .*out; nothing of it is left.*free up disk"),
        (PermissionError(errno.EACCES, "denied"), "denied$"),
    ],
)
def test_a_block_that_fails_leaves_nothing_and_its_error_or_what_to_do(tmp_path, error, message):
    with pytest.raises(type(error), match=message), write_folder(tmp_path / "new" / "out") as draft:
        (draft / "half").touch()
        raise error
    assert os.listdir(tmp_path / "new") == []


def test_what_is_kept_is_said(tmp_path):
    message = "cannot write .*rows; they are kept. Received: full"
    with pytest.raises(OSError, match=message), writing_results(tmp_path / "rows", "they are kept"):
        raise OSError(errno.ENOSPC, "full")
