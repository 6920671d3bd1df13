"""Measured numbers: one source for list, page headers and the documents' tables."""

import re

from kernel.bundle.recipes import list_recipes
from kernel.facts.measurements import (
    DEFAULT_GPU_HOURS,
    describe_result,
    find_gpu_hours,
    read_measurements,
)


def test_rows_are_of_recipes_that_exist_and_say_all_that_belongs_to_a_number():
    rows = read_measurements()
    assert {row.recipe for row in rows} <= {*list_recipes(), "blend"}
    for row in rows:
        assert set(row.shown.split()) <= {"list", "readme", "all"}
        assert row.measured in ("", "home", "kaggle", "course notebook")
        numbers = (row.public_auc, row.private_auc, row.oof_auc)
        assert all(re.fullmatch(r"(0\.\d+)?", number) for number in numbers)
        if any(numbers):
            assert row.measured and row.scored_on
        if row.measured == "home" and any(numbers):
            assert row.command.startswith("python build.py ")
        assert not row.gpu_hours or float(row.gpu_hours) >= 0
        assert not any("|" in text or "\n" in text for text in vars(row).values())


def test_a_result_says_what_was_measured_and_what_was_not():
    text = describe_result("fast")
    assert text.startswith("AUC 0.958 on 2,907 public patches, 0.985 out of fold (")
    assert "Command: python build.py train fast folds=0 num_folds=10" in text
    assert "Not measured on Kaggle yet." in text
    assert "Estimated GPU time on Kaggle: 0.5 h." in text
    assert describe_result("scratch_study").startswith("Not measured yet.")
    text = describe_result("course_vgg16")
    assert "in the course notebook, with hard labels" in text
    assert "Not measured with this package yet." in text
    text = describe_result("explore")
    assert text.endswith(
        " Command: python build.py train explore --data DIR. Not measured on Kaggle yet."
    )
    assert text.count("Command: ") == 1  # the same one for both measurements
    assert describe_result("vit").lower().count("not measured") == 1
    assert describe_result("my_own_recipe") == "Not measured yet."


def test_every_recipe_has_an_estimate():
    assert find_gpu_hours("fast") == 0.5
    assert find_gpu_hours("explore") == 0
    assert find_gpu_hours("my_own_recipe") == DEFAULT_GPU_HOURS
