"""Stain check: train on one color, test on the other."""

import dataclasses

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..system.records import Ensemble

LARGEST_GAP = 0.03  # of AUC: networks trained on half of the patches lose about 0.01


def score_stains(stains: Ensemble, labels: np.ndarray) -> dict | None:
    """ROC AUC on each held-out stain color, and their "mean".

    Args:
        stains: networks of `make_stain_folds`, as `fit_members` returns them.
        labels: int array (n,) of 0 and 1, of all training patches.

    Returns:
        dict, or None if there was no time for both networks.
    """
    if len(stains.members) < 2:
        return None
    scores = {}
    for member in stains.members:
        auc = float(roc_auc_score(labels[member.positions], member.oof))
        scores[str(member.fold)] = auc
        print(f"stain {member.fold} held out, AUC {auc:.4f}", flush=True)
    return {**scores, "mean": float(np.mean(list(scores.values())))}


def warn_of_gap(
    ensemble: Ensemble, stains: Ensemble, oof: pd.DataFrame, stain_auc: dict | None
) -> Ensemble:
    """Return the ensemble, with a warning if a held-out stain color costs too much."""
    missing, warnings = [*ensemble.missing, *stains.missing], []
    oof_auc = roc_auc_score(oof["label"], oof["prediction"])
    if stain_auc and oof_auc - stain_auc["mean"] > LARGEST_GAP:
        warnings = [
            f"warning: AUC {oof_auc:.3f} out of fold, but {stain_auc['mean']:.3f} on a "
            "held-out stain color. The private slides may have another stain: trust the lower "
            "figure"
        ]
    return dataclasses.replace(ensemble, missing=missing, warnings=tuple(warnings))
