"""Several runs as one submission, from their saved predictions alone."""

import hashlib
import json

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from pcam_kaggle.config import unknown
from pcam_kaggle.ensemble import ensemble_predictions
from pcam_kaggle.paths import write_beside
from pcam_kaggle.submission import write_submission

from .members import gather_folds, read_member
from .runs import RUNS, now, read_record, write_record

METHODS = ("mean", "rank", "logit", "fitted")


def blend_runs(folders, method="mean", runs=RUNS, say=print):
    """Blend runs and say what each adds; folds that ran apart become one run before.

    Everything is measured on out-of-fold predictions of the images that all runs have
    them for; the public score has no say. With "fitted" the AUC is that of weights
    fitted on the other folds, and the submission's weights are fitted on all.

    Writes runs/blend-<id>/ with submission.csv, oof.csv, run.json and push.json, which
    `submit` and `leaderboard` take.

    Args:
        folders: Paths of two runs or more.
        method: str, one of METHODS.
        runs: Path of the folder of runs.
        say: function that prints a line.

    Returns:
        Path of the blend.

    Raises:
        ValueError: an unknown method, a run without predictions, runs over different
            test images or labels, the same run twice, no image in common.
    """
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    members = gather_folds([read_member(folder) for folder in folders], say)
    oof, tables = align(members)
    labels, folds = tables[0]["label"].to_numpy(), tables[0]["fold"].to_numpy()
    ids = members[0].test.index
    test = np.stack([member.test.loc[ids] for member in members])
    weights = fit_weights(oof, labels) if method == "fitted" else None
    average = "mean" if method == "fitted" else method
    blended = blend_oof(oof, labels, folds, method)
    auc = float(roc_auc_score(labels, blended))
    rows = compare_members(members, oof, labels, folds, method, weights, auc, say)
    identity = json.dumps([method, *[member.build_id for member in members]])
    build_id = hashlib.sha256(identity.encode()).hexdigest()[:10]
    blend = runs / f"blend-{build_id}"
    blend.mkdir(parents=True, exist_ok=True)
    write_submission(
        blend / "submission.csv", ids, ensemble_predictions(test, average, weights)
    )
    table = tables[0].assign(prediction=blended).reset_index()
    with write_beside(blend / "oof.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")
    record = {
        "build_id": build_id,
        "edited": False,
        "oof_auc": auc,
        "method": method,
        "members": [member.name for member in members],
        "weights": None if weights is None else [float(w) for w in weights],
        "adds": rows,
    }
    write_record(blend, "run.json", record)
    services = [read_record(folder, "push.json").get("service") for folder in folders]
    pushed = {
        "pushed": now(),
        "service": next(filter(None, services), "Kaggle"),
        "recipe": f"blend {len(members)}x {method}",
        "settings": None,
        "build_id": build_id,
        "kernel": None,
        "version": None,
    }
    write_record(blend, "push.json", pushed)
    write_record(blend, "status.json", {"state": "COMPLETE", "seen": now()})
    return blend


def align(members):
    """Out-of-fold predictions of the images that all members have.

    Returns:
        float array (members, n), and each member's rows of these images.

    Raises:
        ValueError: what cannot be blended; names the two runs.
    """
    first = members[0]
    ids = first.oof.index
    for member in members[1:]:
        pair = f"{first.name} and {member.name}"
        if set(member.test.index) != set(first.test.index):
            common = len(set(member.test.index) & set(first.test.index))
            raise ValueError(
                f"{pair}: expected the same test images. Received: "
                f"{len(first.test)} and {len(member.test)}, {common} in common"
            )
        ids = ids.intersection(member.oof.index)
        if not len(ids):
            raise ValueError(
                f"{pair}: expected out-of-fold predictions of the same images. "
                "Received: none in common; blend runs of the same folds"
            )
        if (first.oof.loc[ids, "label"] != member.oof.loc[ids, "label"]).any():
            raise ValueError(f"{pair}: expected the same labels. Received: others")
    num_runs = sum(len(member.runs) for member in members)
    if num_runs < 2 or len({member.build_id for member in members}) < len(members):
        names = ", ".join(member.name for member in members)
        raise ValueError(f"expected two or more different runs. Received: {names}")
    tables = [member.oof.loc[ids] for member in members]
    return np.stack([table["prediction"] for table in tables]), tables


def fit_weights(predictions, labels):
    """Weights of the members of an ensemble, none negative, that sum to 1.

    The least-squares fit of the labels ("stacked regressions", Breiman 1996, who found
    that non-negative weights generalise). Only out-of-fold predictions may be given:
    on images that the networks saw, the most overfitted one would win.

    Args:
        predictions: array (networks, n) of out-of-fold probabilities.
        labels: int array (n,) of 0 and 1.

    Raises:
        ValueError: no member's predictions rise with the labels.
    """
    fit = LinearRegression(positive=True).fit(np.transpose(predictions), labels)
    if not fit.coef_.sum():
        raise ValueError(
            "weights: expected predictions that rise with the labels. Received: none"
        )
    return fit.coef_ / fit.coef_.sum()


def blend_oof(oof, labels, folds, method):
    """Out-of-fold predictions of a blend; fitted weights never see their own fold."""
    if method != "fitted":
        return ensemble_predictions(oof, method)
    blended = np.zeros(len(labels))
    known = np.unique(folds)
    for fold in known:
        own = folds == fold
        # One fold alone: its halves in turn, so that no image weighs itself.
        parts = [own] if len(known) > 1 else split_in_two(len(labels))
        for part in parts:
            weights = fit_weights(oof[:, ~part], labels[~part])
            blended[part] = weights @ oof[:, part]
    return blended


def split_in_two(count):
    """Two masks that share no place and cover all."""
    odd = np.arange(count) % 2 == 1
    return [odd, ~odd]


def compare_members(members, oof, labels, folds, method, weights, auc, say):
    """Each member's AUC, weight and contribution, and their rank correlations.

    Returns:
        List of dicts: run, oof_auc, weight, adds (AUC, None for one member alone).
    """
    rows = []
    correlations = pd.DataFrame(oof.T).corr("spearman").to_numpy()
    say(f"{len(labels):,} out-of-fold predictions in common")
    say(f"{'run':<34} {'AUC':>7} {'weight':>7} {'adds':>8}  correlation with each")
    for i, member in enumerate(members):
        others = [j for j in range(len(members)) if j != i]
        adds = None
        if others:
            rest = blend_oof(oof[others], labels, folds, method)
            adds = float(auc - roc_auc_score(labels, rest))
        weight = 1 / len(members) if weights is None else float(weights[i])
        own = float(roc_auc_score(labels, oof[i]))
        rows.append(
            {"run": member.name, "oof_auc": own, "weight": weight, "adds": adds}
        )
        row = " ".join(f"{value:.3f}" for value in correlations[i])
        added = "" if adds is None else f"{adds:+.4f}"
        say(f"{member.name[:34]:<34} {own:>7.4f} {weight:>7.3f} {added:>8}  {row}")
    say(f"{'blend, ' + method:<34} {auc:>7.4f}")
    return rows
