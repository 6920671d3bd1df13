"""A whole run: check, decode, train every fold, ensemble, write the files."""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from .config import compute_build_id
from .data import load_images, load_labels, load_sample
from .figures import plot_curves
from .folds import draw_images, load_slides, make_folds
from .models import build_model
from .paths import find_data, open_output, write_beside
from .prediction import ensemble_predictions, predict
from .submission import write_submission
from .train import train_fold

PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pandas", "scikit-learn", "pillow")


def run_experiment(config, build_id="package", source=None, data=None, output=None):
    """Train the folds of a Config, predict the test images, write all files.

    Writes submission.csv, run.json, history.csv, oof.csv and curves.png, each whole or
    not at all, and folds/fold<f>_seed<s>.npz as soon as that network is trained. A
    second run of the same code, settings and data in the same folder takes the
    finished folds from there.

    Args:
        config: Config.
        build_id: str, the kernel's, or "package".
        source: path of the kernel's own file, or None; run.json says whether its text
            still has that build id.
        data, output: folders that stand in for PCAM_INPUT and PCAM_WORKING, or None.

    Returns:
        dict, as written to run.json.

    Raises:
        FileNotFoundError, OSError, ValueError: bad input, before any file is written.
        FloatingPointError: a loss that is not a finite number.
    """
    started = time.perf_counter()
    output = open_output(output)
    folder = find_data(data)
    table, sample = load_labels(folder), load_sample(folder)
    table = table.iloc[draw_images(len(table), config.num_images, config.seed)]
    labels = table["label"].to_numpy()
    slides = load_slides(config.slide_map, table["id"]) if config.slide_map else None
    folds = make_folds(labels, config.num_folds, config.seed, slides)
    code = compute_build_id(Path(source).read_text("utf-8")) if source else build_id
    settings = dataclasses.asdict(config)
    fingerprint = make_fingerprint(code, settings, table.assign(fold=folds), sample)
    check_unused(output, fingerprint)
    network = build_model(config.architecture, config.weights, config.dropout_rate)
    run = {
        "build_id": build_id,
        "edited": code != build_id,
        "fingerprint": fingerprint,
        "settings": settings,
        "num_parameters": network.count_params(),
        "counts": {
            "train": len(table),
            "positive": int(labels.sum()),
            "test": len(sample),
        },
        "device": describe_device(),
        "packages": find_versions(),
        "stages": {},
    }
    print_start(run, folder, output)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        stage = Stage(run["stages"])
        images = load_images(table, scratch, config.verify_ids, "train")
        stage.end("decode_train", len(images))
        test_images = load_images(sample, scratch, config.verify_ids, "test")
        stage.end("decode_test", len(test_images))
        members = []
        for fold in config.folds or range(config.num_folds):
            for seed in make_seeds(config, fold):
                path = output / "folds" / f"fold{fold}_seed{seed}.npz"
                member = load_member(path)
                if member is None:
                    member = train_member(
                        config, images, test_images, labels, folds, fold, seed
                    )
                    save_member(path, member, fingerprint)
                members.append(member)
                print_member(member, labels, folds)
        del images, test_images  # close the files that Windows cannot delete open

    oof = gather_oof(table, folds, members)
    test = ensemble_predictions([m["test"] for m in members], config.ensemble)
    history = pd.concat([m["history"] for m in members], ignore_index=True)
    run["stages"].update(sum_stages(members))
    run["fold_auc"] = {
        str(fold): float(roc_auc_score(rows["label"], rows["prediction"]))
        for fold, rows in oof.groupby("fold")
    }
    run["oof_auc"] = float(roc_auc_score(oof["label"], oof["prediction"]))
    run["seconds"] = time.perf_counter() - started
    run["finished"] = datetime.datetime.now(datetime.UTC).isoformat()

    write_table(output / "history.csv", history)
    write_table(output / "oof.csv", oof)
    plot_curves(history, output / "curves.png", f"{config.recipe}, build {build_id}")
    write_submission(output / "submission.csv", sample["id"], test, config.labels)
    with write_beside(output / "run.json") as partial:
        partial.write_text(json.dumps(run, indent=2) + "\n", "utf-8", newline="\n")
    return run


def train_member(config, images, test_images, labels, folds, fold, seed):
    """Train one network; predict its validation fold and the test images.

    Returns:
        dict: fold, seed, history (DataFrame), positions (int array of the fold), oof
        and test (float32 arrays of probabilities), stages (seconds and images).
    """
    stages = {}
    stage = Stage(stages)
    network, history = train_fold(config, images, labels, folds, fold, seed)
    stage.end("train", int((folds != fold).sum()) * len(history))
    positions = np.flatnonzero(folds == fold)
    oof = predict(network, images, positions, config.tta)
    stage.end("predict_oof", len(oof))
    test = predict(network, test_images, tta=config.tta)
    stage.end("predict_test", len(test))
    return {
        "fold": fold,
        "seed": seed,
        "history": history,
        "positions": positions,
        "oof": oof,
        "test": test,
        "stages": stages,
    }


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
    """Read back a finished network's predictions, or None where there is no file."""
    if not path.exists():
        return None
    with np.load(path) as arrays:
        member = {name: arrays[name] for name in ("positions", "oof", "test")}
        history = json.loads(str(arrays["history"]))
        return {
            **member,
            "fold": int(arrays["fold"]),
            "seed": int(arrays["seed"]),
            "history": pd.DataFrame(history),
            "stages": json.loads(str(arrays["stages"])),
        }


def make_seeds(config, fold):
    """The seeds of a fold's networks: the same for any subset of folds."""
    first_seed = config.seed + fold * config.num_seeds
    return range(first_seed, first_seed + config.num_seeds)


def make_fingerprint(code, settings, table, sample):
    """Ten hex digits over all that decides the predictions: code, settings, data."""
    content = [
        code,
        settings,
        table.drop(columns="path").to_csv(),
        sample["id"].to_csv(),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]


def check_unused(output, fingerprint):
    """Refuse an output folder that holds another run's results."""
    found = {}
    for path in sorted((output / "folds").glob("fold*_seed*.npz")):
        with np.load(path) as arrays:
            found[path] = str(arrays["fingerprint"])
    if (output / "run.json").exists():
        run = json.loads((output / "run.json").read_text("utf-8"))
        found[output / "run.json"] = run["fingerprint"]
    for path, other in found.items():
        if other != fingerprint:
            raise ValueError(
                f"{path} is from another run (its code, settings or data differ). "
                "Expected: an empty output folder or this run's own. "
                f"Received: fingerprint {other}, not {fingerprint}"
            )


def gather_oof(table, folds, members):
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
    oof = table[["id", "label"]].iloc[mean.index].reset_index(drop=True)
    return oof.assign(fold=folds[mean.index], prediction=mean.to_numpy())


class Stage:
    """Clock of consecutive stages: seconds, images and images/s of each."""

    def __init__(self, stages):
        self.stages = stages
        self.started = time.perf_counter()

    def end(self, name, num_images):
        """Close the stage that began when the one before it ended."""
        now = time.perf_counter()
        self.stages[name] = rate(now - self.started, num_images)
        self.started = now


def rate(seconds, num_images):
    """A stage as it is written to run.json."""
    return {
        "seconds": seconds,
        "images": num_images,
        "images_per_second": num_images / seconds,
    }


def sum_stages(members):
    """The stages of all networks, added up."""
    return {
        name: rate(
            sum(m["stages"][name]["seconds"] for m in members),
            sum(m["stages"][name]["images"] for m in members),
        )
        for name in members[0]["stages"]
    }


def write_table(path, table):
    """Write a DataFrame as CSV, whole or not at all, the same on every system."""
    with write_beside(path) as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")


def describe_device():
    """The devices Keras computes on, with the names of NVIDIA cards."""
    devices = ", ".join(keras.distribution.list_devices())
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        result = subprocess.run(command, capture_output=True, text=True)
        devices += f" ({', '.join(result.stdout.split(chr(10))).strip(', ')})"
    return f"{devices}, {platform.machine()}, backend {keras.backend.backend()}"


def find_versions():
    """The versions of Python and of the packages that decide the numbers."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def print_start(run, folder, output):
    """Say what is about to run, on what and where."""
    counts, settings = run["counts"], run["settings"]
    edited = ", edited since" if run["edited"] else ""
    print(f"recipe   {settings['recipe']}, build {run['build_id']}{edited}")
    print(f"network  {settings['architecture']}, {run['num_parameters']:,} parameters")
    print(f"device   {run['device']}")
    print(
        f"data     {folder}: {counts['train']:,} train ({counts['positive']:,} "
        f"positive), {counts['test']:,} test"
    )
    print(f"output   {output}", flush=True)


def print_member(member, labels, folds):
    """One line per trained network."""
    auc = roc_auc_score(labels[member["positions"]], member["oof"])
    train = member["stages"]["train"]
    print(
        f"fold {member['fold']} seed {member['seed']}  out-of-fold AUC {auc:.4f}  "
        f"trained in {train['seconds']:.0f} s at {train['images_per_second']:,.0f} "
        f"images/s on {(folds != member['fold']).sum():,} images",
        flush=True,
    )
