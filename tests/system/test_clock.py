"""Time: what is left of a run's hours, and how long its stages took."""

import os

import pytest

from pcam_kaggle.system.clock import Budget, Clock, Stage, measure_peak, say_time, sum_stages


@pytest.mark.parametrize(
    "seconds, text",
    [
        (-3, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (600, "10 min"),
        (5400, "1.5 h"),
        (7200, "2.0 h"),
    ],
)
def test_times_read_as_a_person_says_them(seconds, text):
    assert say_time(seconds) == text


def test_a_budget_only_shrinks():
    budget = Budget(1, seconds_left=100.0)
    first, second = budget.left(), budget.left()
    assert 100 >= first >= second > 40


def test_a_budget_goes_over_to_another_process_in_seconds():
    budget = Budget(11, seconds_left=50.0)
    assert 0 < budget.left() <= 50 and budget.max_hours == 11
    assert Budget(11, seconds_left=0.0).left() <= 0


def test_what_needs_more_time_than_there_is_says_what_to_change():
    error = Budget(2, seconds_left=-1.0).refuse("fold 1 seed 0", 6000)
    assert isinstance(error, ValueError)
    assert str(error) == (
        "max_hours: fold 1 seed 0 needs about 1.7 h, but only 0 s are left. "
        "Received: max_hours=2. Try: lower epochs or input_size"
    )


def test_a_clock_divides_its_time_into_stages():
    clock = Clock()
    clock.end("decode", 30)
    clock.end("train", 5)
    assert list(clock.stages) == ["decode", "train"]
    for stage in clock.stages.values():
        assert stage.images_per_second == pytest.approx(stage.images / stage.seconds)
    assert [stage.images for stage in clock.stages.values()] == [30, 5]
    assert 0 < sum(stage.seconds for stage in clock.stages.values()) <= clock.total()


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell")
def test_the_peak_is_what_the_process_has_held():
    before = measure_peak()
    held = bytearray(300 * 2**20)
    assert 0.01 < before <= measure_peak()
    assert measure_peak() > len(held) / 2**30


def test_the_stages_of_several_networks_add_up():
    one = {"train": Stage(2.0, 100, 50.0, 1.5), "predict": Stage(1.0, 10, 10.0, None)}
    two = {"train": Stage(3.0, 200, 66.0, 1.0), "predict": Stage(4.0, 15, 3.75, None)}
    assert sum_stages([one, two]) == {
        "train": Stage(5.0, 300, 60.0, 1.5),
        "predict": Stage(5.0, 25, 5.0, None),
    }


def test_a_stage_that_failed_in_some_networks_is_summed_over_the_others():
    one = {"train": Stage(1, 10, 10.0, 2.0), "explain": Stage(2, 4, 2.0, 3.0)}
    two = {"train": Stage(3, 10, 3.3, 1.0)}
    total = {"train": Stage(4, 20, 5.0, 2.0), "explain": Stage(2, 4, 2.0, 3.0)}
    assert sum_stages([one, two]) == total
    assert sum_stages([two, one]) == total
