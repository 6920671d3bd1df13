"""Kaggle's mounts and a home folder: where data, weights and output are."""

import os
import re

import pytest
from conftest import SLUG

from kernel.folders import PACKAGE
from pcam_kaggle.system.paths import find_attached, find_data, open_output


def make_competition(root):
    """The parts that find_data looks for, empty."""
    for part in ("train", "test"):
        (root / part).mkdir(parents=True)
    for part in ("train_labels.csv", "sample_submission.csv"):
        (root / part).touch()
    return root


@pytest.mark.parametrize(
    "mount", [f"competitions/{SLUG}", SLUG, "", "somewhere/else", "datasets/owner/a/b/data"]
)
def test_data_is_found_in_every_mount(tmp_path, monkeypatch, mount):
    made = make_competition(tmp_path / mount)
    assert find_data(tmp_path) == made
    monkeypatch.setenv("PCAM_INPUT", str(tmp_path))
    assert find_data() == made


def test_the_layout_of_mle_bench_is_found_without_its_answers(tmp_path):
    make_competition(tmp_path / "private")  # sorted before public
    (tmp_path / "private" / "slides.csv").touch()
    made = make_competition(tmp_path / "public")
    assert find_data(tmp_path) == find_data(made) == made
    assert find_attached("slides.csv", tmp_path) == []


def test_data_is_found_at_home(tmp_path, monkeypatch):
    make_competition(tmp_path / "data" / SLUG)
    monkeypatch.delenv("PCAM_INPUT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_data().resolve() == tmp_path / "data" / SLUG


def test_a_given_folder_comes_before_the_variable(tmp_path, monkeypatch):
    first, second = (make_competition(tmp_path / name) for name in ("first", "second"))
    monkeypatch.setenv("PCAM_INPUT", str(second))
    assert find_data(first) == first


def test_data_too_deep_or_among_the_images_is_not_searched(tmp_path):
    make_competition(tmp_path / "train" / "data")
    make_competition(tmp_path.joinpath(*"abcdefghij"))
    with pytest.raises(FileNotFoundError):
        find_data(tmp_path)


def test_no_data_names_the_ways_and_what_was_there(tmp_path):
    (tmp_path / "unrelated.txt").touch()
    with pytest.raises(FileNotFoundError) as error:
        find_data(tmp_path)
    for text in ("--data", "PCAM_INPUT", "add the competition", "unrelated.txt"):
        assert text in str(error.value)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_data(tmp_path / "nowhere")


def test_half_a_competition_is_named(tmp_path):
    make_competition(tmp_path)
    (tmp_path / "sample_submission.csv").unlink()
    (tmp_path / "test").rmdir()
    with pytest.raises(FileNotFoundError, match=r"lacks test, sample_submission\.csv"):
        find_data(tmp_path)


@pytest.mark.parametrize(
    "mount", ["datasets/owner/slug", "slug", "models/keras/vgg/keras/vgg_16/1"]
)
def test_an_attached_file_is_found_in_every_mount(tmp_path, mount):
    (tmp_path / mount).mkdir(parents=True)
    (tmp_path / mount / "base.h5").touch()
    assert find_attached("base.h5", tmp_path) == [tmp_path / mount / "base.h5"]
    assert find_attached("other.h5", tmp_path) == []


def test_a_pattern_finds_all_its_files_in_order_but_none_among_the_images(tmp_path):
    for name in ("b/fold1.npz", "b/fold0.npz", "a/fold2.npz", "train/fold3.npz", "a/run.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_attached("fold*", tmp_path)]
    assert found == ["a/fold2.npz", "b/fold0.npz", "b/fold1.npz"]


def test_output_is_what_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PCAM_WORKING", str(tmp_path / "new" / "folder"))
    assert open_output() == tmp_path / "new" / "folder"
    assert list(open_output().iterdir()) == []
    assert open_output(tmp_path / "given") == tmp_path / "given"


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write to the output folder .*file/out"):
        open_output(tmp_path / "file" / "out")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_read_only_output_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot write to the output folder"):
        open_output(tmp_path)


def test_no_other_variable_is_read_or_set():
    texts = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py")]
    names = re.findall(r'(?:environ|getenv)[^\n]*?"(\w+)"', "\n".join(texts))
    assert set(names) == {
        "PCAM_INPUT",
        "PCAM_WORKING",
        "PCAM_CACHE",
        "PCAM_NETWORKS",
        "PCAM_ALLOW_CPU",
        "KAGGLE_KERNEL_RUN_TYPE",
        "KERAS_BACKEND",
        "KERAS_HOME",
        "CUDA_VISIBLE_DEVICES",
        "TF_FORCE_GPU_ALLOW_GROWTH",
        "XLA_PYTHON_CLIENT_PREALLOCATE",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    }
