"""The numbers of an exploration against its patches, and the files it writes."""

import dataclasses
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcam_kaggle.analysis.exploration import (
    average_classes,
    compare_hospitals,
    count_pixels,
    explore,
    summarize_slides,
)
from pcam_kaggle.analysis.exploration_files import (
    describe_exploration,
    describe_pixels,
    plot_means,
    plot_pixels,
    write_exploration,
)
from pcam_kaggle.analysis.exploration_grids import plot_oddities, plot_stains
from pcam_kaggle.analysis.patches import measure_patches
from pcam_kaggle.analysis.stains import measure_hue

PICTURES = {
    f"data_{name}.png" for name in ("labels", "samples", "pixels", "means", "oddities", "stains")
}


@pytest.fixture(scope="module")
def training(genuine):
    """51 genuine patches, and a table of their ids and labels."""
    images = [np.asarray(Image.open(io.BytesIO(c))) for _, c, _ in genuine[:51]]
    rows = [(name[:-4], label) for name, _, label in genuine[:51]]
    return np.stack(images), pd.DataFrame(rows, columns=["id", "label"])


def test_an_exploration_says_what_the_patches_are(training):
    images, table = training
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


def test_counts_and_means_are_those_of_the_pixels(training):
    images, table = training
    labels = table["label"].to_numpy()
    counts, means = count_pixels(images, labels), average_classes(images, labels)
    for label in (0, 1):
        chosen = images[labels == label]
        assert means[label] == pytest.approx(chosen.mean(axis=0))
        for channel in range(3):
            values, numbers = np.unique(chosen[..., channel], return_counts=True)
            assert counts[label, channel, values].tolist() == numbers.tolist()
            assert counts[label, channel].sum() == numbers.sum()


def test_two_colors_of_stain_are_two_groups(training):
    """Half of the patches of one stain, their blue three times as transparent."""
    images, table = training
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


def test_groups_of_hue_are_compared_with_hospitals():
    names = [
        f"camelyon16_train_{n}" for n in ("normal_100", "normal_101", "tumor_070", "tumor_071")
    ]
    slides = np.repeat([*names, "elsewhere"], 3)
    stains = np.array([1, 1, 0, 0, 0, -1, 0, 1, 1, 0, 0, 0, 1, 1, 1])
    found = compare_hospitals(slides, stains)
    assert found == {
        "table": {"Radboud UMC": [0, 2], "UMC Utrecht": [2, 0]},
        "agreeing": 4,
        "slides": 4,
        "rand": 1.0,
    }
    other = compare_hospitals(slides[:12], np.where(slides[:12] == names[0], 0, stains[:12]))
    assert other["table"] == {"Radboud UMC": [1, 1], "UMC Utrecht": [2, 0]}
    assert other["agreeing"] == 3 and other["rand"] < 0.5
    assert compare_hospitals(["a", "b"], np.array([0, 1])) is None


def test_hospitals_are_among_what_an_exploration_says(training):
    images, table = training
    slides = np.array([f"camelyon16_train_tumor_{70 + n % 2:03}" for n in range(51)])
    summary = explore(images, table["id"], table["label"], slides).summary
    assert summary["hospitals"]["slides"] == 2
    lines = describe_exploration(summary)
    assert any(line.startswith("hospitals  the group of hue is that of") for line in lines)


def test_slides_are_counted():
    summary = summarize_slides(["a", "a", "b", "c", "c"], np.array([0, 1, 0, 1, 1]))
    assert summary["slides"] == 3
    assert summary["slides_without_tumor"] == 1
    assert summary["slides_of_tumor_alone"] == 1


@pytest.mark.parametrize("num_images, label", [(51, None), (3, 0), (1, 1)])
def test_the_pictures_are_drawn_for_any_folder(training, tmp_path, drawn, num_images, label):
    images, table = training
    labels = table["label"].to_numpy()
    if label is not None:  # a class alone
        labels = np.full(51, label)
    part = slice(0, num_images)
    found = explore(images[part], table["id"][part], labels[part])
    out = tmp_path / "out"
    out.mkdir()
    names, warnings = write_exploration(found, images[part], out)
    assert warnings == []
    assert set(names) == PICTURES | {"exploration.json", "patches.csv"}
    assert {path.name for path in out.iterdir()} == set(names)
    assert json.loads((out / "exploration.json").read_text()) == found.summary
    for name in PICTURES:
        picture = np.asarray(Image.open(out / name).convert("RGB"))
        assert picture.shape[1] == 1280
        assert (picture < 200).any(axis=2).mean() > 0.002, name  # ink


@pytest.mark.parametrize(
    "darker, title",
    [
        ([200, 100], "Patches with tumor are darker: mean 100 of 255, others 200"),
        ([100, 200], "Patches with tumor are brighter: mean 200 of 255, others 100"),
        ([100, 100], "Patches with tumor are as bright as the others: mean 100 of 255"),
        ([None, 100], "Pixel values of the patches with tumor: mean 100 of 255"),
        ([100, None], "Pixel values of the patches without tumor: mean 100 of 255"),
    ],
)
def test_the_title_of_the_pixels_is_which_class_is_darker(darker, title):
    counts = np.zeros((2, 256), int)
    for row, value in zip(counts, darker):
        if value is not None:
            row[value] = 9
    assert describe_pixels(counts) == title


def test_a_peak_that_is_cut_off_is_noted(tmp_path, drawn):
    counts = np.ones((2, 3, 256), int)
    counts[1, 0, 255] = 256  # red, tumor: half of its pixels
    plot_pixels(counts, tmp_path / "pixels.png")
    drawn.check_frame()
    notes = [axes.texts[0].get_text() for axes in drawn.figures[0].axes]
    assert notes[1:] == ["cut at 255: 50.1%, tumor", "", ""]
    assert notes[0].startswith("cut at 255: 25")
    highest = drawn.figures[0].axes[0].get_ylim()[1]
    assert highest < 0.01


def test_the_difference_of_the_means_uses_all_colors(training, tmp_path, drawn):
    images, table = training
    found = explore(images, table["id"], table["label"])
    means = np.full((2, 96, 96, 3), 100.0)
    means[1] -= 9
    means[1, 0, 0] -= 3
    plot_means(dataclasses.replace(found, means=means), tmp_path / "means.png")
    drawn.check_frame()
    *grid, bar = drawn.figures[0].axes
    title = drawn.figures[0].get_suptitle().replace("\n", " ")
    assert title == "Tumor differs by -9.0 gray levels, center by -9.0"
    assert grid[2].images[0].get_clim() == (-12, -9)
    tops = [axes.get_position().y1 for axes in grid]
    assert max(tops) - min(tops) < 0.001  # in one line


def test_columns_stand_below_each_other_whatever_the_names(training, tmp_path, drawn):
    images, table = training
    images = np.concatenate([images[:6], images[:3], np.zeros_like(images[:1])])
    labels, ids = np.array([0, 1] * 5), [f"{n}" for n in range(10)]
    found = explore(images, ids, labels)
    plot_oddities(images, found, tmp_path / "oddities.png")
    drawn.check_frame()
    (figure,) = drawn.figures
    assert figure.get_suptitle() == "Of 10 patches, blank: 1; duplicate pairs: 3"
    lefts = np.array([axes.get_position().x0 for axes in figure.axes]).reshape(-1, 4)
    assert len(lefts) == 3 and np.ptp(lefts, axis=0).max() < 0.002
    assert np.ptp(np.diff(lefts[0])) < 0.01


def test_points_outside_the_axes_are_counted(training, tmp_path, drawn):
    images, table = training
    patches = explore(images, table["id"], table["label"]).patches
    stained = np.flatnonzero(patches["stain"] == 0)
    patches.loc[stained[0], ["red", "green"]] = 9.0, 0.5  # ink
    plot_stains(images, patches, tmp_path / "stains.png")
    (figure,) = drawn.figures
    axes = figure.axes[0]
    points = np.concatenate([c.get_offsets() for c in axes.collections])
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    inside = (points > (low, bottom)).all(axis=1) & (points < (high, top)).all(axis=1)
    drawn_points, hidden = len(points), (~inside).sum()
    assert hidden >= 1
    note = f"{drawn_points:,} patches are drawn, {hidden:,} of them outside the axes"
    assert figure.get_supxlabel() == note


def test_a_picture_that_fails_costs_nothing_else(training, tmp_path, capsys):
    images, table = training
    found = explore(images, table["id"], table["label"])
    (tmp_path / "data_means.png").mkdir()
    names, warnings = write_exploration(found, images, tmp_path)
    assert set(names) == (PICTURES | {"exploration.json", "patches.csv"}) - {"data_means.png"}
    (warning,) = warnings
    assert warning.startswith("warning: no data_means.png: IsADirectoryError: ")
    assert "Traceback" in capsys.readouterr().err


def test_the_files_and_lines_of_an_exploration_are_those_of_its_patches(training, tmp_path):
    images, table = training
    slides = [f"s{n % 5}" for n in range(51)]
    test = {"test_images": images[:16], "test_ids": table["id"][:16]}
    found = explore(images, table["id"], table["label"], slides, **test)
    write_exploration(found, images, tmp_path)
    patches = pd.read_csv(tmp_path / "patches.csv", dtype={"hash": str, "id": str})
    assert patches["id"].tolist() == table["id"].tolist()
    assert patches["label"].tolist() == table["label"].tolist()
    assert patches["hash"].str.fullmatch("[0-9a-f]{16}").all()
    assert patches["stain"].tolist() == found.patches["stain"].tolist()
    assert found.summary["test"]["patches"] == 16
    assert "positive" not in found.summary["test"]["blank"]["white"]
    lines = describe_exploration(found.summary)
    assert lines[0] == "train      51 patches of 96x96x3 uint8"
    assert any(line.startswith("slides     5: ") for line in lines)
    assert lines[-1].startswith("test       16 patches, brightness ")
    alone = explore(images, table["id"], table["label"]).summary
    assert {"slides", "test"} == set(found.summary) - set(alone)
    assert not any(line[:4] == "test" for line in describe_exploration(alone))
