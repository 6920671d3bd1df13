"""What seeds and views add, and how networks agree."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score


def measure_seeds(labels: np.ndarray, members: list) -> dict:
    """ROC AUC out of fold of each random seed alone: how much of a score is chance.

    The first network of every fold makes the first seed's predictions, and so on.

    Args:
        labels: int array (n,) of 0 and 1.
        members: list of Member, by fold and seed.

    Returns:
        dict: "each", a list; "mean"; and "sd" over seeds (n - 1), None for one seed.
    """
    by_fold = {}
    for member in members:
        by_fold.setdefault(member.fold, []).append(member)
    each = []
    for networks in zip(*by_fold.values()):
        positions = np.concatenate([network.positions for network in networks])
        predictions = np.concatenate([network.oof for network in networks])
        each.append(float(roc_auc_score(labels[positions], predictions)))
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else None
    return {"each": each, "mean": float(np.mean(each)), "sd": spread}


def correlate_members(members: list) -> float | None:
    """Mean Spearman correlation between the test predictions of two networks.

    It shows what averaging can gain: networks that always agree add nothing.
    None for a single network.
    """
    tests = np.stack([member.test for member in members])
    if len(members) == 1 or tests.shape[1] < 2:
        return None
    matrix = pd.DataFrame(tests.T).corr("spearman").to_numpy()
    return float(matrix[np.triu_indices(len(members), 1)].mean())


def score_one_view(labels: np.ndarray, members: list) -> float:
    """ROC AUC out of fold without test-time views.

    Args:
        labels: int array (n,) of 0 and 1, of all training patches.
        members: list of Member.
    """
    parts = [pd.Series(member.oof_one_view, member.positions) for member in members]
    predictions = pd.concat(parts).groupby(level=0).mean()
    return float(roc_auc_score(labels[predictions.index], predictions))
