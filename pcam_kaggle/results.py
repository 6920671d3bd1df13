"""What a run leaves behind: a file per network, tables, curves, submission."""

import hashlib
import io
import json
import shutil

import numpy as np
import pandas as pd

from .checkpoint import open_arrays, refuse_other
from .config import SESSION_SETTINGS
from .ensemble import ensemble_predictions
from .evaluation import band_curves
from .figures import plot_curves, plot_errors, plot_roc, plot_scores
from .gradcam import choose_shown
from .paths import find_attached, write_beside
from .pictures import plot_maps
from .submission import write_submission
from .validation import bin_predictions, calibrate

# fold0_seed0.npz, stain0_seed0.npz, and checkpoint_fold0_seed0.npz of either.
MEMBER_FILES = "[cfs]*_seed*.npz"


def make_fingerprint(code, settings, table, sample):
    """Ten hex digits over all that decides the predictions: code, settings, data."""
    content = [
        code,
        {name: settings[name] for name in settings if name not in SESSION_SETTINGS},
        table.drop(columns="path").to_csv(),
        sample["id"].to_csv(),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]


def check_unused(output, fingerprint):
    """Refuse an output folder that holds another run's results, or anyone's.

    Raises:
        ValueError: names the file and the two fingerprints, or a damaged file.
    """
    for path in sorted((output / "folds").glob(MEMBER_FILES)):
        open_arrays(path, fingerprint).close()
    found = {}
    if (output / "run.json").exists():
        run = json.loads((output / "run.json").read_text("utf-8"))
        found[output / "run.json"] = run["fingerprint"]
    if not found and (output / "submission.csv").exists():
        found[output / "submission.csv"] = "none"
    for path, other in found.items():
        refuse_other(path, other, fingerprint)


def save_member(path, member, fingerprint):
    """Write what a trained network leaves behind, as one .npz of plain arrays."""
    path.parent.mkdir(exist_ok=True)
    texts = {
        "history": member["history"].to_json(orient="records", double_precision=15),
        "stages": json.dumps(member["stages"]),
        "fingerprint": fingerprint,
    }
    with write_beside(path) as partial:
        np.savez(partial, **{**member, **texts})


def load_member(path):
    """Read back what `save_member` wrote."""
    with open_arrays(path) as arrays:
        named = ("positions", "oof", "oof_one_view", "test", "shown", "maps", "slopes")
        member = {name: arrays[name] for name in named if name in arrays}
        history = pd.read_json(io.StringIO(str(arrays["history"])), precise_float=True)
        return {
            **member,
            "fold": int(arrays["fold"]),
            "seed": int(arrays["seed"]),
            "history": history,
            "stages": json.loads(str(arrays["stages"])),
            "was_cut_short": False,
        }


def take_attached(output, fingerprint, inputs=None):
    """Copy the networks that an attached earlier output has finished or begun.

    Those of another code, settings or data are left where they are, and said so.
    """
    for path in find_attached(MEMBER_FILES, inputs):
        with open_arrays(path) as arrays:
            same = str(arrays["fingerprint"]) == fingerprint
        target = output / "folds" / path.name
        if same and not target.exists():
            target.parent.mkdir(exist_ok=True)
            with write_beside(target) as partial:
                shutil.copyfile(path, partial)
        state = "taken over" if same else "is from another run, not taken"
        print(f"attached {path}: {state}", flush=True)


def gather_oof(table, members):
    """Out-of-fold predictions: DataFrame with id, label, fold, prediction.

    Holds the images of the trained folds; several networks of a fold are averaged.
    """
    predictions = pd.DataFrame(
        {
            "position": np.concatenate([m["positions"] for m in members]),
            "prediction": np.concatenate([m["oof"] for m in members]),
        }
    )
    mean = predictions.groupby("position")["prediction"].mean()
    oof = table[["id", "label", "fold"]].iloc[mean.index]
    return oof.assign(prediction=mean)


def write_results(output, config, run, sample, oof, members, images):
    """The files of a finished run, run.json last."""
    history = pd.concat([m["history"] for m in members], ignore_index=True)
    test = ensemble_predictions([m["test"] for m in members], config.ensemble)
    if "map" in run["calibration"]:
        test = calibrate(test, *run["calibration"]["map"])
    write_submission(output / "submission.csv", sample["id"], test, config.labels)
    write_table(output / "history.csv", history)
    write_table(output / "oof.csv", oof)
    if config.figures:
        title = f"{config.recipe}, build {run['build_id']}"
        plot_curves(history, output / "curves.png", title)
        draw_evaluation(output, run, oof, title)
        draw_maps(output, members, oof, images, title)
    with write_beside(output / "run.json") as partial:
        partial.write_text(json.dumps(run, indent=2) + "\n", "utf-8", newline="\n")


def draw_evaluation(output, run, oof, title):
    """roc.png, scores.png and errors.png."""
    labels, predictions = oof["label"].to_numpy(), oof["prediction"].to_numpy()
    evaluation = run["evaluation"]
    points, auc = evaluation["operating_points"], run["oof_auc"]
    curves = band_curves(labels, predictions)
    given = (auc, run["oof_auc_interval"], output / "roc.png", title)
    plot_roc(curves, points, *given)
    bins = bin_predictions(labels, predictions)
    plot_scores(labels, predictions, bins, output / "scores.png", title)
    confusion, by_stain = evaluation["confusion"], evaluation.get("by_stain", [])
    plot_errors(confusion, by_stain, output / "errors.png", title)


def draw_maps(output, members, oof, images, title):
    """gradcam.png: of all networks the surest hits and the worst errors.

    Args:
        images: uint8 array (n, 96, 96, 3), of all training images.
    """
    found = {}
    for member in members:
        for place, heat in zip(member.get("shown", ()), member.get("maps", ())):
            answer = float(member["oof_one_view"][place])
            found.setdefault(int(member["positions"][place]), (answer, heat))
    positions = np.array(sorted(found), int)
    answers = np.array([found[position][0] for position in positions])
    shown = choose_shown(oof["label"].loc[positions].to_numpy(), answers)
    rows = []
    for kind, places in shown.items():
        patches = [
            (images[positions[i]], found[positions[i]][1], f"p = {answers[i]:.3f}")
            for i in places
        ]
        if patches:
            rows.append((kind, patches))
    if rows:  # none where the networks were trained with figures=false
        plot_maps(rows, output / "gradcam.png", f"Grad-CAM, {title}")


def write_table(path, table):
    """Write a DataFrame as CSV, whole or not at all, the same on every system."""
    with write_beside(path) as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")
