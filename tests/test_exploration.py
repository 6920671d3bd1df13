"""The tables of an exploration against the patches they describe, and its pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from pcam_kaggle.data import load_images, load_labels
from pcam_kaggle.exploration import average, count_pixels, describe_slides, explore
from pcam_kaggle.pictures import write_exploration
from pcam_kaggle.quality import measure_hue, measure_patches

PICTURES = {
    f"data_{name}.png"
    for name in ("labels", "samples", "pixels", "means", "oddities", "stains")
}


def load(competition):
    table = load_labels(competition)
    return load_images(table, None), table


def test_an_exploration_says_what_the_patches_are(competition):
    images, table = load(competition)
    copied = np.concatenate([images, images[:2], np.zeros_like(images[:1])])
    ids = [*table["id"], "copy0", "copy1", "black"]
    labels = np.array([*table["label"], table["label"][0], 1 - table["label"][1], 0])
    found = explore(copied, ids, labels, slides=["a", "b"] * 27)
    summary = json.loads(json.dumps(found.summary))
    positive = int(labels.sum())
    assert summary["labels"] == {"0": 54 - positive, "1": positive}
    assert summary["positive_share"] == positive / 54
    assert summary["blank"]["black"]["ids"] == ["black"]
    assert summary["duplicates"]["exact_pairs"] == 2
    assert summary["duplicates"]["label_conflicts"] == 1
    assert [table["id"][0], "copy0", 0] in summary["duplicates"]["pairs"]
    assert sum(stain["patches"] for stain in summary["stains"]) == (
        (found.patches["blank"] == "").sum()
    )
    sizes = np.bincount(found.patches["stain"][found.patches["stain"] >= 0])
    assert sorted(sizes, reverse=True) == sizes.tolist()
    assert summary["slides"]["slides"] == 2


def test_counts_and_means_are_those_of_the_pixels(competition):
    images, table = load(competition)
    labels = table["label"].to_numpy()
    counts, means = count_pixels(images, labels), average(images, labels)
    for label in (0, 1):
        chosen = images[labels == label]
        assert means[label] == pytest.approx(chosen.mean(axis=0))
        for channel in range(3):
            values, numbers = np.unique(chosen[..., channel], return_counts=True)
            assert counts[label, channel, values].tolist() == numbers.tolist()
            assert counts[label, channel].sum() == numbers.sum()


def test_two_laboratories_are_two_stains(competition):
    """Half of the patches of one stain, their blue three times as transparent."""
    images, table = load(competition)
    one = measure_hue(measure_patches(images))[:, 1] > 0.55
    density = -np.log((images[one] + 1.0) / 256)
    density[::2, :, :, 2] /= 3
    stained = np.round(256 * np.exp(-density) - 1).astype("uint8")
    patches = explore(stained, table["id"][one], table["label"][one]).patches
    known = patches["stain"] >= 0
    is_even = np.arange(len(patches)) % 2 == 0
    agreement = (patches["stain"] == is_even)[known].mean()
    assert known.sum() > 20
    assert max(agreement, 1 - agreement) > 0.95


def test_slides_are_counted():
    described = describe_slides(["a", "a", "b", "c", "c"], np.array([0, 1, 0, 1, 1]))
    assert described["slides"] == 3
    assert described["slides_without_tumour"] == 1
    assert described["slides_of_tumour_alone"] == 1


@pytest.mark.parametrize("num_images, label", [(51, None), (3, 0), (1, 1)])
def test_the_pictures_are_drawn_for_any_folder(
    competition, tmp_path, num_images, label
):
    images, table = load(competition)
    labels = table["label"].to_numpy()
    if label is not None:  # a class alone
        labels = np.full(51, label)
    part = slice(0, num_images)
    found = explore(images[part], table["id"][part], labels[part])
    out = tmp_path / "out"
    out.mkdir()
    names = write_exploration(found, images[part], out)
    assert set(names) == PICTURES | {"exploration.json"}
    assert {path.name for path in out.iterdir()} == set(names)
    assert json.loads((out / "exploration.json").read_text()) == found.summary
    for name in PICTURES:
        picture = np.asarray(Image.open(out / name).convert("RGB"))
        assert picture.shape[1] >= 1200
        assert (picture < 200).any(axis=2).mean() > 0.002, name  # ink
