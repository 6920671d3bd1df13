"""Stain check: train on one color, test on the other."""

import dataclasses
import traceback

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..analysis.groups import make_stain_folds
from ..data.run import Patches, Run
from ..system.device import Device
from ..system.records import Ensemble
from .members import fit_members

LARGEST_GAP = 0.03  # of AUC: networks trained on half of the patches lose about 0.01


def check_stains(
    method: object,
    patches: Patches,
    measured: pd.DataFrame,
    folds: np.ndarray,
    run: Run,
    device: Device,
    ensemble: Ensemble,
    oof: pd.DataFrame,
) -> tuple:
    """Train on each of two stain colors and test on the other, after the run's own networks.

    Args:
        method, patches, run, device: as for `fit_members`.
        measured: as `measure_patches` returns it.
        folds: int array (n,), -1 for patches that are left out.
        ensemble, oof: the run's networks and their out-of-fold predictions.

    Returns:
        The ensemble, with a warning if a held-out color costs too much or the check failed, and
        a dict of the ROC AUC on each held-out color and their "mean", or None.
    """
    try:
        stain_folds = make_stain_folds(measured, patches.labels, run.competition.slides)
        stain_folds = np.where(folds < 0, -1, stain_folds)
        ensembles = fit_members(method, patches, stain_folds, run, device, kind="stain")
        stains = [Ensemble([], ["stain check"]), *ensembles][-1]
        scores = score_stains(stains, patches.labels)
    except Exception as error:  # must not lose the run
        traceback.print_exc()
        warning = f"warning: the stain check failed: {type(error).__name__}: {error}"
        return dataclasses.replace(ensemble, warnings=(*ensemble.warnings, warning)), None
    return warn_of_gap(ensemble, stains, oof, scores), scores


def score_stains(stains: Ensemble, labels: np.ndarray) -> dict | None:
    """ROC AUC on each held-out stain color, and their "mean".

    Args:
        stains: networks of `make_stain_folds`, as `fit_members` yields them.
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
    warnings = [*ensemble.warnings, *stains.warnings]
    if stains.missing:
        warnings.append(f"warning: the stain check lacks {', '.join(stains.missing)}")
    oof_auc = roc_auc_score(oof["label"], oof["prediction"])
    if stain_auc and oof_auc - stain_auc["mean"] > LARGEST_GAP:
        warnings.append(
            f"warning: AUC {oof_auc:.3f} out of fold, but {stain_auc['mean']:.3f} on a "
            "held-out stain color. The private slides may have another stain: trust the lower "
            "figure"
        )
    return dataclasses.replace(
        ensemble, warnings=tuple(warnings), files=(*ensemble.files, *stains.files)
    )
