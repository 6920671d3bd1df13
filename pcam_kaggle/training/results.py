"""The scores and files of a finished run."""

import dataclasses

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..data.run import Run, make_record
from ..system.clock import sum_stages
from ..system.device import Device
from ..system.files import write_json, write_table
from ..system.records import Ensemble

FILES = ["submission.csv", "oof.csv", "history.csv"]


@dataclasses.dataclass(frozen=True)
class Scores:
    """What run.json adds about a training run; scores are ROC AUC out of fold.

    `not_trained` and `cut_short` name the networks for which there was too little time.
    """

    device: str
    precision: str
    network: str
    num_parameters: int
    num_trainable: int
    fold_auc: dict
    oof_auc: float
    not_trained: list
    cut_short: list
    warnings: list


def announce(network: keras.Model) -> keras.Model:
    """Print the network's name and size and return it."""
    print(f"network  {network.name}, {network.count_params():,} parameters", flush=True)
    return network


def gather_oof(run: Run, folds: np.ndarray, members: list) -> pd.DataFrame:
    """Gather the out-of-fold predictions, averaged over the networks of a fold.

    Returns:
        DataFrame with columns id, label, fold, prediction, of the trained folds only, indexed
        by position.
    """
    parts = [pd.Series(member.oof, member.positions) for member in members]
    mean = pd.concat(parts).groupby(level=0).mean()
    table = run.competition.train.assign(fold=folds)
    return table[["id", "label", "fold"]].iloc[mean.index].assign(prediction=mean)


def finish_run(
    run: Run, device: Device, network: keras.Model, oof: pd.DataFrame, ensemble: Ensemble, **found
) -> None:
    """Score the run; write oof.csv, history.csv and run.json; print a summary.

    Args:
        run, device: as for `fit_members`.
        network: a network of the run, whose parameters are counted.
        oof: as `gather_oof` returns it.
        ensemble: as `fit_members` returns it.
        found: further entries of run.json, such as `cleaned`.
    """
    scores = score_run(device, network, oof, ensemble)
    history = pd.concat([member.history for member in ensemble.members], ignore_index=True)
    write_table(run.output / "history.csv", history)
    write_table(run.output / "oof.csv", oof)
    about = make_record(run, sum_stages([member.stages for member in ensemble.members]), FILES)
    write_json(run.output / "run.json", {**vars(about), **vars(scores), **found})
    stages = [
        f"{n:<13} {s.seconds:>8.1f} s {s.images:>9,} images {s.images_per_second:>9,.0f} images/s"
        for n, s in about.stages.items()
    ]
    lines = [f"fold {n:<3} out-of-fold AUC {auc:.4f}" for n, auc in scores.fold_auc.items()]
    lines += [f"all      out-of-fold AUC {scores.oof_auc:.4f}", *scores.warnings]
    lines += [f"total    {about.seconds:.1f} s", f"wrote    {', '.join(FILES)}, run.json"]
    print("", *stages, *lines, sep="\n", flush=True)


def score_run(
    device: Device, network: keras.Model, oof: pd.DataFrame, ensemble: Ensemble
) -> Scores:
    """Score a run, and warn of networks that are missing or were cut short."""
    cut_short = [f"fold {m.fold} seed {m.seed}" for m in ensemble.members if m.was_cut_short]
    lacking = {"no time for": ensemble.missing, "max_hours cut short": cut_short}
    warnings = [
        f"warning: {text} {', '.join(names)}; the same command (push --resume) continues"
        for text, names in lacking.items()
        if names
    ]
    fold_auc = {
        str(fold): float(roc_auc_score(rows["label"], rows["prediction"]))
        for fold, rows in oof.groupby("fold")
    }
    return Scores(
        device=device.text,
        precision=device.policy,
        network=network.name,
        num_parameters=network.count_params(),
        num_trainable=sum(int(np.prod(w.shape)) for w in network.trainable_weights),
        fold_auc=fold_auc,
        oof_auc=float(roc_auc_score(oof["label"], oof["prediction"])),
        not_trained=ensemble.missing,
        cut_short=cut_short,
        warnings=[*ensemble.warnings, *warnings],
    )
