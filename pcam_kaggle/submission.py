"""The submission: probabilities or hard labels, checked against the sample."""

import numpy as np
import pandas as pd

from .paths import write_beside


def check_submission(submission, sample_ids):
    """Refuse a submission that Kaggle would refuse, or that would score by accident.

    Args:
        submission: DataFrame with columns id (str) and label (float or int).
        sample_ids: the ids of sample_submission.csv, in its order.

    Raises:
        ValueError: other columns, ids missing, unknown or out of order, labels that
            are not finite numbers from 0 to 1.
    """
    if list(submission.columns) != ["id", "label"]:
        raise ValueError(
            "submission: expected columns id,label. "
            f"Received: {','.join(submission.columns)}"
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
            f"submission: expected labels from 0 to 1. Received: {wrong.sum()} others, "
            f"the first {submission['label'].tolist()[row]!r} for id {ids[row]}"
        )


def write_submission(path, sample_ids, predictions, labels="probability"):
    """Write submission.csv in the order of the sample, whole or not at all.

    Args:
        path: Path of the file.
        sample_ids: the ids of sample_submission.csv.
        predictions: float array (n,) of probabilities, in that order.
        labels: "probability", or "hard": 1 above 0.5, as the seed submitted.

    Returns:
        The submission, a DataFrame with columns id and label.
    """
    submission = pd.DataFrame({"id": list(sample_ids), "label": predictions})
    check_submission(submission, sample_ids)
    if labels == "hard":
        submission["label"] = (submission["label"] > 0.5).astype(int)
    with write_beside(path) as partial:
        submission.to_csv(
            partial, index=False, float_format="%.9g", lineterminator="\n"
        )
    return submission
