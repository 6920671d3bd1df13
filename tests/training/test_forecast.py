"""A run's end is forecast after a minute; what cannot end in time is stopped."""

import types

import pytest

from pcam_kaggle.system import clock as clock_module
from pcam_kaggle.system.clock import Budget, OutOfTimeError
from pcam_kaggle.training import forecast as forecast_module
from pcam_kaggle.training.forecast import Forecast

# An epoch of 8 steps takes 80 s, a prediction 80 / (3 * 800) = 1/30 s: 10 epochs with 200
# patches to validate and 1000 predictions are 10 * (80 + 200/30) + 1000/30 = 900 s.
WORKLOAD = (800, 200, 1000)
STEPS, STEP_SECONDS, NETWORK_SECONDS = 8, 10, 900


class Hands:
    """A clock that a test turns."""

    def __init__(self):
        self.now = 1000.0
        self.step = 0  # of the epoch

    def monotonic(self):
        return self.now


@pytest.fixture
def hands(monkeypatch):
    """The clock of the budget and of the forecast."""
    made = Hands()
    for module in (clock_module, forecast_module):
        monkeypatch.setattr(module, "time", made)
    return made


def start(budget, num_rounds=1, is_alone=True, first_epoch=0):
    """A forecast at the start of a training of 10 epochs."""
    made = Forecast("fold 1 seed 0", budget, WORKLOAD, num_rounds, lambda: is_alone)
    made.set_params({"epochs": 10, "steps": STEPS})
    made.set_model(types.SimpleNamespace(stop_training=False))
    made.on_epoch_begin(first_epoch)
    return made


def run_steps(forecast, hands, num_steps, seconds=STEP_SECONDS):
    """Steps as Keras makes them; the first of all compiles and counts for nothing."""
    for _ in range(num_steps):
        if hands.step >= STEPS:
            hands.step = 0
            forecast.on_epoch_begin(forecast.epoch + 1)
        hands.now += seconds
        forecast.on_train_batch_end(hands.step)
        hands.step += 1


def run_epoch(forecast, hands, epoch, validation=200 / 30):
    """A whole epoch with its validation."""
    hands.step = 0
    forecast.on_epoch_begin(epoch)
    run_steps(forecast, hands, STEPS)
    forecast.on_test_begin()
    hands.now += validation
    forecast.on_epoch_end(epoch)


def test_the_end_is_forecast_once_and_after_a_minute(hands, capsys):
    forecast = start(Budget(11))
    run_steps(forecast, hands, 1, seconds=500)  # compiles
    run_steps(forecast, hands, 5)
    assert capsys.readouterr().out == ""
    run_steps(forecast, hands, 1)
    line = capsys.readouterr().out
    assert line.startswith("forecast: 15 min for a network; the run ends about ")
    assert line.endswith(" UTC\n")
    run_steps(forecast, hands, 50)
    assert capsys.readouterr().out == ""


def test_a_resumed_network_counts_the_epochs_that_are_left(hands, capsys):
    forecast = start(Budget(11), first_epoch=5)  # 5 * (80 + 200/30) + 1000/30 = 467 s
    run_steps(forecast, hands, 7)
    assert "forecast: 8 min for a network;" in capsys.readouterr().out


def test_several_networks_are_counted(hands, capsys):
    run_steps(start(Budget(11), num_rounds=3), hands, 7)
    line = capsys.readouterr().out
    assert "15 min for a network, 3 of them; the run ends about " in line
    assert "max_hours" not in line


def test_a_run_that_is_longer_than_its_hours_is_said(hands, capsys):
    run_steps(start(Budget(11, seconds_left=3600), num_rounds=5), hands, 7)
    assert capsys.readouterr().out.endswith(" UTC, when max_hours ends it\n")


def test_a_later_network_forecasts_nothing(hands, capsys):
    run_steps(start(Budget(11), is_alone=False), hands, 20)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_network_that_can_just_end_is_trained(hands, is_alone):
    forecast = start(Budget(2, seconds_left=10 + NETWORK_SECONDS + 1), is_alone=is_alone)
    run_steps(forecast, hands, 7)
    assert not forecast.was_cut_short


def test_hours_too_few_for_the_first_network_are_an_error_after_a_minute(hands):
    forecast = start(Budget(2, seconds_left=10 + NETWORK_SECONDS - 1))
    with pytest.raises(ValueError) as error:
        run_steps(forecast, hands, 7)
    assert str(error.value).startswith(
        "max_hours: fold 1 seed 0 needs about 14 min, but only 14 min are left."
    )


def test_a_later_network_that_cannot_end_is_given_up(hands):
    forecast = start(Budget(2, seconds_left=10 + NETWORK_SECONDS - 1), is_alone=False)
    with pytest.raises(OutOfTimeError):
        run_steps(forecast, hands, 7)


def test_the_first_network_is_cut_short_where_a_delay_leaves_no_time(hands):
    forecast = start(Budget(2, seconds_left=3000))
    for epoch in range(3):
        run_epoch(forecast, hands, epoch)
    assert not forecast.was_cut_short and not forecast.model.stop_training
    hands.now += 2200  # the machine slept
    run_epoch(forecast, hands, 3)
    assert forecast.was_cut_short and forecast.model.stop_training


def test_a_later_network_is_given_up_where_a_delay_leaves_no_time(hands):
    forecast = start(Budget(2, seconds_left=3000), is_alone=False)
    run_epoch(forecast, hands, 0)
    hands.now += 2200
    with pytest.raises(OutOfTimeError):
        run_epoch(forecast, hands, 1)


def test_the_last_epoch_is_never_cut(hands):
    forecast = start(Budget(2, seconds_left=1000))
    forecast.has_forecast = True
    hands.now += 5000
    run_epoch(forecast, hands, 9)
    assert not forecast.was_cut_short and not forecast.model.stop_training
