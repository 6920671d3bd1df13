"""The scores and files of a run."""

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ..data.run import SHARED_SLIDES, UNKNOWN_SLIDES, Run, make_record
from ..system.clock import sum_stages
from ..system.device import Device
from ..system.files import write_json, write_table
from ..system.provenance import is_notebook
from ..system.records import Ensemble, Member

FILES = ["submission.csv", "oof.csv", "history.csv"]
LOWEST_AUC = 0.55  # below it a run has learned nothing


def announce(network: keras.Model) -> dict:
    """Print the network's name and size and return them, as run.json has them.

    A notebook also shows the network's layers.
    """
    if is_notebook():
        network.summary()
    print(f"network  {network.name}, {network.count_params():,} parameters", flush=True)
    num_trainable = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    counts = {"num_parameters": network.count_params(), "num_trainable": num_trainable}
    return {"network": network.name, **counts}


def gather_oof(run: Run, folds: np.ndarray, members: list) -> pd.DataFrame:
    """Gather the out-of-fold predictions, averaged over the networks of a fold.

    Returns:
        DataFrame with columns id, label, fold, prediction, and slide where slides are known, of
        the trained folds only, indexed by position.
    """
    parts = [pd.Series(member.oof, member.positions) for member in members]
    mean = pd.concat(parts).groupby(level=0).mean()
    table = run.competition.train.assign(fold=folds)
    oof = table[["id", "label", "fold"]].iloc[mean.index].assign(prediction=mean)
    slides = run.competition.slides
    return oof if slides is None else oof.assign(slide=slides[mean.index])


def write_results(
    run: Run, device: Device, network: dict, oof: pd.DataFrame, ensemble: Ensemble, **found
) -> dict:
    """Score the networks that are finished; write oof.csv, history.csv and run.json.

    Args:
        run, device: as for `fit_members`.
        network: as `announce` returns it.
        oof: as `gather_oof` returns it.
        ensemble: as `fit_members` yields it.
        found: further entries of run.json, such as `cleaned`.

    Returns:
        dict, the content of run.json.
    """
    history = pd.concat([member.history for member in ensemble.members], ignore_index=True)
    write_table(run.output / "history.csv", history)
    write_table(run.output / "oof.csv", oof)
    stages = sum_stages([member.stages for member in ensemble.members])
    complete = not ensemble.missing and not any(m.was_cut_short for m in ensemble.members)
    about = make_record(run, stages, [*FILES, *ensemble.files], complete)
    grouping = {"grouping": run.grouping, "estimate": describe_estimate(run)}
    scores = {**grouping, **score_run(device, oof, ensemble)}
    results = {**vars(about), **network, **scores, **found}
    write_json(run.output / "run.json", results)
    return results


def describe_estimate(run: Run) -> str:
    """Why scores on other slides may be lower than out of fold; "" if folds share no slide."""
    if run.competition.slides is not None:
        return ""
    return SHARED_SLIDES if run.grouping == "patch" else UNKNOWN_SLIDES


def print_results(results: dict) -> None:
    """Print the stages, scores and warnings of a run."""
    lines = [
        f"{n:<13} {s.seconds:>8.1f} s {s.images:>9,} images {s.images_per_second:>9,.0f} images/s"
        for n, s in results["stages"].items()
    ]
    lines += [f"fold {n:<3} out-of-fold AUC {auc:.4f}" for n, auc in results["fold_auc"].items()]
    warning = f": {results['estimate']}" if results["estimate"] else ""
    lines += [f"all      out-of-fold AUC {results['oof_auc']:.4f}{warning}", *results["warnings"]]
    lines += [f"total    {results['seconds']:.1f} s", f"wrote    {', '.join(FILES)}, run.json"]
    print("", *lines, sep="\n", flush=True)


def name_network(member: Member) -> str:
    """The network's name in the log and in run.json."""
    name = f"fold {member.fold} seed {member.seed}"
    return f"{member.history['member'].iloc[0]} {name}" if "member" in member.history else name


def score_run(device: Device, oof: pd.DataFrame, ensemble: Ensemble) -> dict:
    """Score a run, and warn of networks that are missing or were cut short.

    Returns:
        dict, what run.json adds about a training run; scores are ROC AUC out of fold.
    """
    cut_short = [name_network(m) for m in ensemble.members if m.was_cut_short]
    lacking = {"not trained:": ensemble.missing, "max_hours cut short": cut_short}
    warnings = [
        f"warning: {text} {', '.join(names)}; the same command (push --resume) continues"
        for text, names in lacking.items()
        if names
    ]
    oof_auc = float(roc_auc_score(oof["label"], oof["prediction"]))
    if oof_auc < LOWEST_AUC:
        text = "the networks learned nothing; try a lower learning_rate or more epochs"
        warnings.append(f"warning: AUC {oof_auc:.2f} out of fold: {text}")
    return {
        "device": device.text,
        "precision": device.policy,
        "fold_auc": {
            str(fold): float(roc_auc_score(rows["label"], rows["prediction"]))
            for fold, rows in oof.groupby("fold")
        },
        "oof_auc": oof_auc,
        "not_trained": ensemble.missing,
        "cut_short": cut_short,
        "warnings": [*ensemble.warnings, *warnings],
    }
