"""The submission, checked against the sample."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..system.files import write_table


def check_submission(submission: pd.DataFrame, sample_ids: Sequence) -> None:
    """Refuse a submission that Kaggle would refuse, or would score although it is wrong.

    Args:
        submission: DataFrame with columns id (str) and label (float or int).
        sample_ids: the ids of sample_submission.csv, in its order.

    Raises:
        ValueError: the columns are wrong, ids are missing, unknown or out of order, or labels
            are not numbers from 0 to 1.
    """
    if list(submission.columns) != ["id", "label"]:
        raise ValueError(
            f"submission: expected columns id,label. Received: {','.join(submission.columns)}"
        )
    ids, sample_ids = list(submission["id"]), list(sample_ids)
    if ids != sample_ids:
        missing, unknown_ids = set(sample_ids) - set(ids), set(ids) - set(sample_ids)
        raise ValueError(
            "submission: expected the ids of sample_submission.csv in its order. "
            f"Received: {len(ids)} rows for {len(sample_ids)}, {len(missing)} missing, "
            f"{len(unknown_ids)} unknown"
        )
    labels = pd.to_numeric(submission["label"], errors="coerce").to_numpy("float64")
    wrong = ~((labels >= 0) & (labels <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"submission: expected labels from 0 to 1. Received: {wrong.sum()} invalid, "
            f"the first {submission['label'].tolist()[row]!r} for id {ids[row]}"
        )


def write_submission(
    folder: Path, sample_ids: Sequence, predictions: np.ndarray, labels: str = "probability"
) -> pd.DataFrame:
    """Write submission.csv atomically, in the order of the sample.

    Args:
        folder: where it goes.
        sample_ids: the ids of sample_submission.csv.
        predictions: float array (n,) of probabilities, in that order.
        labels: "probability", or "hard": 1 above 0.5, as the course notebook submitted.
    """
    submission = pd.DataFrame({"id": list(sample_ids), "label": predictions})
    check_submission(submission, sample_ids)
    if labels == "hard":
        submission["label"] = (submission["label"] > 0.5).astype(int)
    write_table(folder / "submission.csv", submission)
    return submission
