"""The file of a trained network: read as it was written, or refused by name."""

import dataclasses
import zipfile

import numpy as np
import pandas as pd
import pytest

from pcam_kaggle.system.clock import Stage
from pcam_kaggle.system.files import write_json
from pcam_kaggle.system.paths import find_attached
from pcam_kaggle.system.records import (
    MEMBER_FILES,
    Explanation,
    Member,
    check_unused,
    load_member,
    read_arrays,
    save_member,
    take_attached,
)

RANDOM = np.random.default_rng(0)


def make_member(**changes):
    """A member with every field of its own."""
    rows = [{"epoch": 1, "loss": 0.1 + 0.2, "learning_rate": 3e-4}, {"epoch": 2, "loss": 1 / 3}]
    member = Member(
        fold=1,
        seed=7,
        positions=np.array([2, 5, 9]),
        oof=RANDOM.random(3, "float32"),
        oof_one_view=RANDOM.random(3, "float32"),
        test=RANDOM.random(4, "float32"),
        history=pd.DataFrame(rows),
        stages={"train": Stage(2.5, 100, 40.0, 1.25), "predict_oof": Stage(1.0, 3, 3.0, None)},
    )
    return dataclasses.replace(member, **changes)


def make_explanation():
    return Explanation(
        shown=np.array([2, 0]),
        maps=RANDOM.random((2, 96, 96)).astype("float16"),
        patches=RANDOM.integers(0, 256, (2, 96, 96, 3), np.uint8),
    )


def save_folds(folder, fingerprints, name="fold{}_seed0.npz"):
    """A file per fingerprint in a folder of folds."""
    (folder / "folds").mkdir(parents=True)
    for number, fingerprint in enumerate(fingerprints):
        save_member(folder / "folds" / name.format(number), make_member(), fingerprint)


@pytest.mark.parametrize("explanation", [None, make_explanation()], ids=["plain", "explained"])
def test_a_member_is_read_as_it_was_written(tmp_path, explanation):
    member = make_member(explanation=explanation)
    path = tmp_path / "folds" / "fold1_seed7.npz"
    save_member(path, member, "mine")
    found = load_member(path)
    assert (found.fold, found.seed, found.was_cut_short) == (1, 7, False)
    for name in ("positions", "oof", "oof_one_view", "test"):
        array, expected = getattr(found, name), getattr(member, name)
        assert array.dtype == expected.dtype and (array == expected).all()
    pd.testing.assert_frame_equal(found.history, member.history, rtol=1e-14)
    assert found.stages == member.stages
    if explanation is None:
        assert found.explanation is None
    else:
        for name, expected in vars(explanation).items():
            array = getattr(found.explanation, name)
            assert array.dtype == expected.dtype and (array == expected).all()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_named_and_stays(share, tmp_path):
    path = tmp_path / "fold1_seed7.npz"
    save_member(path, make_member(), "mine")
    content = path.read_bytes()
    read_arrays(path, "mine")
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"fold1_seed7\.npz is damaged.*delete it"):
        load_member(path)
    assert path.exists()


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "fold1_seed7.npz"
    member = make_member()
    save_member(path, member, "mine")
    content = path.read_bytes()
    noticed = 0
    for bit in np.random.default_rng(1).choice(8 * len(content), 300, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            read_arrays(path, "mine")
            found = load_member(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} is ")
            noticed += 1
        else:  # a time stamp or an attribute of the archive
            assert (found.oof == member.oof).all() and (found.test == member.test).all()
    assert noticed > 200


def test_a_file_that_no_run_wrote_is_damaged(tmp_path):
    np.savez(tmp_path / "fold0_seed0.npz", weights=np.arange(3))
    with pytest.raises(ValueError, match=r"fold0_seed0\.npz is damaged"):
        load_member(tmp_path / "fold0_seed0.npz")


def test_the_file_of_another_run_is_refused_with_both_fingerprints(tmp_path):
    path = tmp_path / "fold0_seed0.npz"
    save_member(path, make_member(), "other")
    with pytest.raises(ValueError, match="another run.*fingerprint other, not mine"):
        read_arrays(path, "mine")
    assert load_member(path).fold == 1  # whoever asks for no run takes any


def test_a_new_folder_and_one_s_own_are_taken(tmp_path):
    check_unused(tmp_path, "mine")
    save_folds(tmp_path, ["mine", "mine"])
    write_json(tmp_path / "run.json", {"fingerprint": "mine"})
    (tmp_path / "submission.csv").write_text("mine")
    check_unused(tmp_path, "mine")


@pytest.mark.parametrize(
    "name", ["fold{}_seed0.npz", "vit_fold{}_seed0.npz", "checkpoint_fold{}_seed0.npz"]
)
def test_a_folder_with_another_run_s_networks_is_refused(tmp_path, name):
    save_folds(tmp_path, ["mine", "other"], name)
    with pytest.raises(ValueError, match=f"{name.format(1)} is from another run"):
        check_unused(tmp_path, "mine")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("run.json", '{"fingerprint": "other"}', "run.json is from another run"),
        ("run.json", "{}", "fingerprint None, not mine"),
        ("run.json", "[]", "expected a JSON object"),
        ("submission.csv", "id,label", "submission.csv is from another run"),
        ("folds/fold0_seed0.npz", "", "is damaged"),
    ],
)
def test_somebody_s_own_files_are_refused_and_stay(tmp_path, name, content, message):
    (tmp_path / "folds").mkdir()
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError) as error:
        check_unused(tmp_path, "mine")
    assert message in str(error.value)
    assert (tmp_path / name).read_text() == content


def test_attached_networks_of_the_same_run_are_copied(tmp_path, capsys):
    inputs, output = tmp_path / "input", tmp_path / "working"
    output.mkdir()
    save_folds(inputs / "old", ["mine", "other", "other"])
    with zipfile.ZipFile(inputs / "old" / "folds" / "fold0_seed0.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    save_folds(inputs / "started", ["mine"], "checkpoint_fold{}_seed0.npz")
    take_attached(output, "mine", find_attached(MEMBER_FILES, inputs))
    names = {path.name for path in (output / "folds").iterdir()}
    assert names == {"fold0_seed0.npz", "fold0_seed0.keras", "checkpoint_fold0_seed0.npz"}
    lines = capsys.readouterr().out
    old = inputs / "old" / "folds"
    assert f"attached {old / 'fold0_seed0.npz'}: taken over\n" in lines
    assert f"attached, not taken: {old / 'fold1_seed0.npz'} is from another run" in lines
    assert lines.count("\n") == 3  # two taken over, and one line for two of another run


def test_an_attached_network_replaces_none_that_is_there(tmp_path):
    inputs, output = tmp_path / "input", tmp_path / "working"
    save_folds(inputs, ["mine"])
    save_folds(output, ["mine"])
    own = output / "folds" / "fold0_seed0.npz"
    content = own.read_bytes()
    take_attached(output, "mine", find_attached(MEMBER_FILES, inputs))
    assert own.read_bytes() == content


def test_a_damaged_attached_network_is_named_and_left(tmp_path, capsys):
    damaged = [tmp_path / f"fold{number}_seed0.npz" for number in (0, 1)]
    for path in damaged:
        path.write_bytes(b"PK half")
    take_attached(tmp_path / "working", "mine", find_attached(MEMBER_FILES, tmp_path))
    lines = capsys.readouterr().out
    assert all(f"attached, not taken: {path} is damaged" in lines for path in damaged)
    assert not (tmp_path / "working").exists()


def test_a_run_that_died_before_its_record_may_use_its_folder(tmp_path):
    save_member(tmp_path / "folds" / "fold0_seed0.npz", make_member(), "mine")
    (tmp_path / "submission.csv").write_text("id,label\n")
    check_unused(tmp_path, "mine")
    with pytest.raises(ValueError, match="another run"):
        check_unused(tmp_path, "other")
