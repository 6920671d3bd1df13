"""Which patches are explained: the surest hits and the worst errors."""

import numpy as np

from pcam_kaggle.analysis.shown import choose_shown


def test_the_most_extreme_predictions_of_each_kind_are_chosen():
    labels = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0])
    predictions = np.array([0.9, 0.6, 0.99, 0.7, 0.8, 0.2, 0.1, 0.7, 0.05])
    shown = {k: places.tolist() for k, places in choose_shown(labels, predictions).items()}
    assert shown == {
        "surest tumor": [2, 0, 4, 3],  # four of five
        "surest no tumor": [8, 6],
        "missed tumor": [5],
        "false alarm": [7],
    }


def test_a_kind_may_be_empty():
    shown = choose_shown(np.array([1]), np.array([0.5]))
    assert shown["surest tumor"].tolist() == [0]
    assert not any(len(shown[kind]) for kind in shown if kind != "surest tumor")
