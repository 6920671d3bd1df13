"""The submission: what Kaggle would refuse is refused here, and nothing is written."""

import numpy as np
import pandas as pd
import pytest

from pcam_kaggle.inference.submission import check_submission, write_submission

IDS = ["b", "a", "c"]


def test_probabilities_keep_the_sample_order_and_their_digits(tmp_path):
    path = tmp_path / "submission.csv"
    predictions = np.array([0.123456789, 1e-9, 1.0], "float32")
    write_submission(path.parent, IDS, predictions)
    text = path.read_bytes().decode()
    assert text.startswith("id,label\nb,") and "\r" not in text
    read = pd.read_csv(path, dtype={"label": "float32"})
    assert (read["label"] == predictions).all() and read["id"].tolist() == IDS


def test_hard_labels_are_those_of_the_course_notebook(tmp_path):
    path = tmp_path / "submission.csv"
    write_submission(path.parent, IDS, [0.5, 0.51, 0.2], labels="hard")
    assert path.read_text() == "id,label\nb,0\na,1\nc,0\n"


@pytest.mark.parametrize(
    "predictions, labels, message",
    [
        ([0.1, np.nan, 0.2], "probability", "from 0 to 1. Received: 1 invalid"),
        ([0.1, np.nan, 0.2], "hard", "the first nan for id a"),
        ([0.1, np.inf, 0.2], "probability", "the first inf for id a"),
        ([0.1, 1.1, -0.1], "probability", "Received: 2 invalid"),
    ],
)
def test_a_wrong_prediction_is_named_and_nothing_written(tmp_path, predictions, labels, message):
    with pytest.raises(ValueError) as error:
        write_submission(tmp_path, IDS, predictions, labels)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "ids, message",
    [
        (["b", "a"], "Received: 2 rows for 3, 1 missing, 0 unknown"),
        (["b", "a", "d"], "3 rows for 3, 1 missing, 1 unknown"),
        (["a", "b", "c"], "3 rows for 3, 0 missing, 0 unknown"),
        (["b", "a", "c", "c"], "4 rows for 3"),
    ],
)
def test_ids_other_than_the_samples_are_refused(ids, message):
    submission = pd.DataFrame({"id": ids, "label": 0.5})
    with pytest.raises(ValueError) as error:
        check_submission(submission, IDS)
    assert message in str(error.value)


def test_columns_and_words_are_refused():
    with pytest.raises(ValueError, match="expected columns id,label"):
        check_submission(pd.DataFrame({"id": IDS, "target": 0.5}), IDS)
    with pytest.raises(ValueError, match="the first 'high' for id b"):
        check_submission(pd.DataFrame({"id": IDS, "label": "high"}), IDS)
