"""Grad-CAM maps stand beside untouched tissue, with the ids of their patches."""

import numpy as np
import pytest

from pcam_kaggle.analysis.map_pictures import color_map, describe_maps, plot_maps
from pcam_kaggle.analysis.patch_grids import CENTER

TISSUE = np.full((96, 96, 3), (200, 100, 180), "uint8")


def make_heat(place):
    heat = np.zeros((96, 96), "float32")
    heat[place] = 1
    return heat


def test_glass_is_left_blank_and_single_bright_pixels_are_not():
    patch = TISSUE.copy()
    patch[:24], patch[24:48] = 240, (190, 192, 188)  # white, gray
    patch[90:93, 90:93] = 240  # a speck
    colors = color_map(patch, make_heat(CENTER))
    assert (colors[:48] == 255).all() and not (colors[48:] == 255).all(axis=2).any()
    hot, cold = colors[50, 50], colors[95, 0]
    assert hot.astype(int).sum() > cold.astype(int).sum()


@pytest.mark.parametrize(
    "maps, title",
    [
        ([make_heat(CENTER)], "holds 100% of the Grad-CAM maps"),
        ([make_heat(slice(0, 10))] * 2, "holds 0% of the Grad-CAM maps"),
        ([make_heat(slice(None))], "holds 11% of the Grad-CAM maps"),
        ([make_heat(slice(0, 0))], "The Grad-CAM maps are empty"),
    ],
)
def test_the_title_is_how_much_lies_in_the_center(maps, title):
    assert describe_maps(maps).endswith(title)
    assert len(maps) > 1 or "11% of a patch" in describe_maps(maps) or "empty" in title


@pytest.mark.parametrize("labels", [(1,), (1, 0, 0, 1, 1, 1, 1, 1)])
def test_tissue_is_drawn_as_it_is_beside_its_map(tmp_path, drawn, labels):
    answers = [0.9, 0.2, 0.7, 0.1, 0.95, 0.8, 0.99, 0.6]
    found = [
        (f"{i:08x}{'f' * 32}", label, answer, TISSUE + np.uint8(i), make_heat(CENTER))
        for i, (label, answer) in enumerate(zip(labels, answers))
    ]
    plot_maps(found, tmp_path / "gradcam.png", "a run")
    drawn.check_frame()
    (figure,) = drawn.figures
    assert "research use only" in " ".join(figure.get_supxlabel().split())
    *grid, bar = figure.axes
    assert "share of the map's maximum" in bar.get_xlabel() + bar.get_ylabel()
    rows = [grid[i : i + 4] for i in range(0, len(grid), 4)]
    names = [row[0].texts[0].get_text() for row in rows]
    assert names[0] == "surest tumor; beside each: evidence for tumor"
    if len(labels) > 1:
        assert names[2] == "missed tumor; beside each: evidence for no tumor"
        shown = ["00000006, p 0.990", "", "00000004, p 0.950", ""]
        assert [axes.get_xlabel() for axes in rows[0]] == shown
    assert len(rows) == (1 if len(labels) == 1 else 4)
    tissue, beside = rows[0][:2]
    first = found[6] if len(labels) > 1 else found[0]
    assert (tissue.images[0].get_array() == first[3]).all() and not tissue.patches
    assert len(beside.patches) == 2  # the outline of the center
