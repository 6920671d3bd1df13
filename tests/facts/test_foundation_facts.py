"""The table of foundation models: complete, and the one that pages know."""

import pytest

import build
from kernel.facts.foundation import read_foundation, render_foundation
from pcam_kaggle.models.transformer_settings import FOUNDATION

ROWS = read_foundation()
OPTIONAL = ("name", "why_not", "hidden_size", "num_layers")


def test_the_names_are_those_of_the_setting():
    assert {row.name: row.weights for row in ROWS if row.name} == FOUNDATION


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.weights)
def test_a_row_says_all_that_a_choice_needs(row):
    values = vars(row)
    assert all(values[name] for name in values if name not in OPTIONAL)
    assert (values["hidden_size"] + values["num_layers"]).isdigit() or not row.num_layers
    assert bool(row.name) != bool(row.why_not)
    assert row.weights.startswith("hf://") and row.weights.count("/") == 3
    assert row.access.startswith(("open", "gated: ", "not confirmed"))
    assert "accuracy" in row.pcam or row.pcam == "not confirmed"  # with its metric
    assert row.source.startswith("https://")
    assert not any("|" in text or "\n" in text for text in values.values())


def test_no_model_is_offered_whose_license_excludes_use():
    assert not any(
        "on-commercial" in row.license or "NC" in row.license for row in ROWS if row.name
    )


def test_list_and_the_table_show_them(capsys):
    assert build.main(["list"]) == 0
    text = capsys.readouterr().out
    assert "\nhibou-l           gated       Apache-2.0" in text
    assert "UNI2" not in text and "not by a published score" in text
    assert "not offered: license" in render_foundation()
