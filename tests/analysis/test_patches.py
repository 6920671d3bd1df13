"""Blank patches, copies, and what cleaning leaves out."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcam_kaggle.analysis.patches import (
    find_twins,
    find_unwanted,
    group_twins,
    hash_patches,
    measure_patches,
    pair_hashes,
    shrink_patches,
)


@pytest.fixture(scope="module")
def tissue(genuine):
    """The genuine patches that are not blank: uint8 (n, 96, 96, 3)."""
    images = np.stack([np.asarray(Image.open(io.BytesIO(c))) for _, c, _ in genuine])
    return images[measure_patches(images)["blank"] == ""]


def flat(value):
    return np.full((96, 96, 3), value, "uint8")


def test_blank_patches_are_recognized(tissue):
    glass = flat(240)
    nearly = glass.copy()
    nearly[:12, :20] = tissue[0][:12, :20]  # 2.6 % of the patch
    edge, half = flat(40), flat(40)  # of a slide: dark gray, with some glass or tissue
    edge[:12] = 255
    half[:48] = tissue[0][:48]
    images = [flat(0), flat(255), glass, nearly, tissue[0], edge, half]
    table = measure_patches(np.stack(images))
    assert table["blank"].tolist() == ["black", "white", "white", "near-empty", "", "black", ""]
    assert table["brightness"].tolist()[:3] == [0, 255, 240]
    assert table["tissue"][4] == (shrink_patches(tissue[:1]).min(axis=3) < 220).mean()


@pytest.mark.parametrize("change", ["same", "jpeg", "brighter", "noise"])
def test_copies_are_found_and_nothing_else(tissue, change):
    def copy(image):
        if change == "jpeg":
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=90)
            return np.asarray(Image.open(file))
        noise = np.random.default_rng(0).normal(0, 4, image.shape)
        shift = {"same": 0, "brighter": 6, "noise": noise}[change]
        return np.clip(image.astype(int) + shift, 0, 255).astype("uint8")

    copied = range(0, len(tissue), 6)
    images = np.concatenate([tissue, np.stack([copy(tissue[i]) for i in copied])])
    twins = find_twins(images, measure_patches(images))
    expected = {(i, len(tissue) + n) for n, i in enumerate(copied)}
    found = set(zip(twins["first"], twins["second"]))
    assert found <= expected and len(found) >= 0.8 * len(expected)
    assert twins["exact"].all() == (change == "same")
    if change == "same":
        assert found == expected and (twins["distance"] == 0).all()


def test_blank_patches_are_no_copies_of_each_other():
    images = np.stack([flat(255), flat(255), flat(0), flat(0)])
    assert len(find_twins(images, measure_patches(images))) == 0


def test_pairs_are_those_of_comparing_all_with_all():
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 300, dtype="uint64")
    for place in range(0, 300, 3):  # up to four bits changed
        bits = random.integers(0, 64, random.integers(0, 5)).astype("uint64")
        for bit in bits:
            hashes[place + 1] = hashes[place] ^ (np.uint64(1) << bit)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(distance <= 3, 1))
    assert len(expected) > 50
    assert pair_hashes(hashes).tolist() == expected.tolist()


def test_many_equal_hashes_are_one_group_of_few_pairs():
    hashes = np.full(6_000, 7, "uint64")
    hashes[100:103] = 2**50 - 1, 2**50 - 1, 2**50 - 2
    pairs = pair_hashes(hashes)
    twins = pd.DataFrame(pairs, columns=["first", "second"])
    sizes = np.bincount(group_twins(6_000, twins))
    assert sizes.tolist() == [5_997, 3]
    assert len(pairs) < 5 * 6_000
    alike = np.random.default_rng(0).integers(0, 2**48, 5_000, dtype="uint64")  # share a band
    alike[4_000] = alike[3] ^ np.uint64(5)
    assert [3, 4_000] in pair_hashes(alike).tolist()


def test_copies_of_two_patches_with_one_hash_are_two_groups(tissue):
    images = np.stack([tissue[n % 2] for n in range(40)])
    patches = measure_patches(images)
    patches["hash"] = patches["hash"][0]
    twins = find_twins(images, patches)
    assert twins["exact"].all()
    assert group_twins(40, twins).tolist() == [0, 1] * 20


def test_a_hash_changes_with_the_picture_not_with_its_brightness():
    random = np.random.default_rng(0)
    gray = random.uniform(50, 150, (2, 32, 32))
    first, brighter, other = hash_patches(np.stack([gray[0], 1.2 * gray[0], gray[1]]))
    assert np.bitwise_count(first ^ brighter) == 0
    assert np.bitwise_count(first ^ other) > 15


def test_cleaning_keeps_the_first_copy_and_no_contradicting_ones():
    table = pd.DataFrame({"blank": ["", "white", "", "", "near-empty", "", "black"]})
    twins = pd.DataFrame({"first": [0, 3], "second": [2, 5]})
    ids, labels = list("gfedcba"), np.array([1, 0, 1, 0, 0, 1, 0])
    unwanted = find_unwanted(("blank", "duplicates"), ids, labels, table, twins)
    assert unwanted["blank"].tolist() == [1, 6]
    assert unwanted["duplicates"].tolist() == [0, 3, 5]  # e before g; d, b contradict
    assert find_unwanted((), ids, labels, table, twins) == {}
