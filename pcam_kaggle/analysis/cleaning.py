"""Cleaning: patches that are left out of every fold."""

import numpy as np
import pandas as pd

from ..data.run import Run
from .patches import find_twins, find_unwanted, measure_patches


def clean_folds(
    kinds: tuple,
    folds: np.ndarray,
    images: np.ndarray,
    run: Run,
    measured: pd.DataFrame | None = None,
) -> tuple:
    """Leave blank patches or duplicates out of training and validation.

    Args:
        kinds: "blank", "duplicates", both or neither.
        folds: int array (n,), the validation fold of every patch.
        images: uint8 array (n, 96, 96, 3).
        run: Run.
        measured: as `measure_patches` returns it, or None to measure them here.

    Returns:
        The folds, with -1 for patches left out, and a dict of kinds and lists of ids.

    Raises:
        ValueError: a fold to train would lack a label; names the fold.
    """
    if not kinds:
        return folds, {}
    table = run.competition.train
    ids, labels = table["id"].to_numpy(), table["label"].to_numpy()
    patches = measure_patches(images) if measured is None else measured
    twins = find_twins(images, patches)
    folds, cleaned = folds.copy(), {}
    for kind, positions in find_unwanted(kinds, ids, labels, patches, twins).items():
        folds[positions] = -1
        cleaned[kind] = ids[positions].tolist()
        print(f"cleaned  {kind}: {len(positions):,} training patches left out")
    settings = run.settings.folds
    for fold in settings.folds or range(settings.num_folds):
        left = pd.Series(labels[folds == fold])
        if left.nunique() < 2:
            raise ValueError(
                f"clean: expected both labels in every fold. Received: fold {fold} "
                f"with {len(left)} patches left, {left.sum()} of them tumor"
            )
    return folds, cleaned
