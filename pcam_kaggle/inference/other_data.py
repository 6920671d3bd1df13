"""Runs whose networks may have seen the test patches."""

from collections.abc import Sequence

from .kept_runs import read_oof

FEWEST_OOF = 100  # of them, some are not here if a run was trained on other patches


def refuse_others(runs: list, train_ids: Sequence) -> None:
    """Refuse runs of other data, whose networks may have been trained on the test patches.

    Args:
        runs: list of KeptRun.
        train_ids: the ids of the labeled patches.

    Raises:
        ValueError: names the run and how many of its patches are not among them, or are too few
            to tell.
    """
    for run in runs:
        oof, num_train = read_oof(run), (run.record.get("counts") or {}).get("train", 0)
        if len(oof) < min(num_train, FEWEST_OOF):
            raise ValueError(
                f"networks: run {run.build_id} may have been trained on the test patches. "
                f"Expected: at least {FEWEST_OOF} of its patches in its oof.csv, or all. "
                f"Received: {len(oof)} of {num_train:,}. Try: a run with more of its folds"
            )
        num_others = int((~oof["id"].isin(set(train_ids))).sum())
        if num_others:
            raise ValueError(
                f"networks: run {run.build_id} is of other data, and may have been trained on the "
                f"test patches. Expected: the patches of its oof.csv in train_labels.csv. "
                f"Received: {num_others:,} of {len(oof):,} that are not"
            )
