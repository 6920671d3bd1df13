"""A whole run: check, decode, train every fold, ensemble, write the files."""

import dataclasses
import datetime
import importlib.metadata
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from .config import compute_build_id
from .data import load_images, load_labels, load_sample
from .folds import draw_images, load_slides, make_folds, make_stain_folds
from .models import build_model
from .paths import find_data, open_output
from .prediction import predict
from .results import (
    check_unused,
    gather_oof,
    load_member,
    make_fingerprint,
    save_member,
    take_attached,
    write_results,
)
from .train import train_fold
from .validation import (
    bootstrap_auc,
    calibrate,
    fit_calibration,
    measure_calibration,
)

PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pandas", "scikit-learn", "pillow")


def run_experiment(config, build_id="package", source=None, data=None, output=None):
    """Train the folds of a Config, predict the test images, write all files.

    Writes submission.csv, run.json, history.csv, oof.csv and curves.png, each whole or
    not at all, and folds/fold<f>_seed<s>.npz as soon as that network is trained. A
    second run of the same code, settings and data takes the finished folds from the
    same folder, or from an earlier output that is attached to the kernel.

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
    table, sample = load_tables(config, folder)
    network = build_model(config.architecture, config.weights, config.dropout_rate)
    run = describe_run(config, build_id, source, table, sample)
    run["num_parameters"] = network.count_params()
    check_unused(output, run["fingerprint"])
    print_start(run, folder, output)
    take_attached(output, run["fingerprint"], data)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        clock = Clock(run["stages"])
        images = load_images(table, scratch, config.verify_ids, "train")
        clock.end("decode_train", len(images))
        test_images = load_images(sample, scratch, config.verify_ids, "test")
        clock.end("decode_test", len(test_images))
        if config.split == "stain":
            slides = find_slides(config, table)
            table["fold"] = make_stain_folds(images, table["label"], slides)
        members = train_members(config, images, test_images, table, output, run)
        del images, test_images  # Windows cannot delete the files of open arrays

    oof = gather_oof(table, members)
    run["stages"].update(sum_stages(members))
    run["fold_auc"] = {
        str(fold): float(roc_auc_score(rows["label"], rows["prediction"]))
        for fold, rows in oof.groupby("fold")
    }
    run["oof_auc"] = float(roc_auc_score(oof["label"], oof["prediction"]))
    run["oof_auc_interval"] = list(bootstrap_auc(oof["label"], oof["prediction"]))
    run["calibration"] = describe_calibration(oof, config.calibration)
    run["seconds"] = time.perf_counter() - started
    run["finished"] = datetime.datetime.now(datetime.UTC).isoformat()
    write_results(output, config, run, sample, oof, members)
    return run


def load_tables(config, folder):
    """The training images with id, label and fold, and the test images, unread.

    Folds by stain take the place of these once the images are read.

    Returns:
        DataFrames with columns path, id, label, fold and with columns path, id.
    """
    table = load_labels(folder)
    drawn = draw_images(len(table), config.num_images, config.seed)
    table = table.iloc[drawn].reset_index(drop=True)
    folds = make_folds(
        table["label"], config.num_folds, config.seed, find_slides(config, table)
    )
    return table.assign(fold=folds), load_sample(folder)


def find_slides(config, table):
    """The slide of every training image, or None without a map."""
    return load_slides(config.slide_map, table["id"]) if config.slide_map else None


def describe_run(config, build_id, source, table, sample):
    """What run.json says of a run before it starts."""
    code = compute_build_id(Path(source).read_text("utf-8")) if source else build_id
    settings = {**dataclasses.asdict(config), "folds": list(config.folds)}
    return {
        "build_id": build_id,
        "edited": code != build_id,
        "fingerprint": make_fingerprint(code, settings, table, sample),
        "settings": settings,
        "counts": {
            "train": len(table),
            "positive": int(table["label"].sum()),
            "test": len(sample),
        },
        "device": describe_device(),
        "packages": find_versions(),
        "stages": {},
    }


def train_members(config, images, test_images, table, output, run):
    """Train the networks that are not there yet; write each as soon as it is done."""
    labels, folds = table["label"].to_numpy(), table["fold"].to_numpy()
    members = []
    for fold in config.folds or range(config.num_folds):
        for seed in make_seeds(config, fold):
            path = output / "folds" / f"fold{fold}_seed{seed}.npz"
            if path.exists():
                member = load_member(path)
                print(f"fold {fold} seed {seed} was finished before, taken from {path}")
            else:
                member = train_member(
                    config, images, test_images, labels, folds, fold, seed
                )
                save_member(path, member, run["fingerprint"])
            print_member(member, labels)
            members.append(member)
    return members


def train_member(config, images, test_images, labels, folds, fold, seed):
    """Train one network; predict its validation fold and the test images.

    Returns:
        dict: fold, seed, history (DataFrame), positions (int array of the fold), oof
        and test (float32 arrays of probabilities), stages (seconds and images).
    """
    stages = {}
    clock = Clock(stages)
    network, history = train_fold(config, images, labels, folds, fold, seed)
    clock.end("train", int((folds != fold).sum()) * len(history))
    positions = np.flatnonzero(folds == fold)
    oof = predict(network, images, positions, config.tta)
    clock.end("predict_oof", len(oof))
    test = predict(network, test_images, tta=config.tta)
    clock.end("predict_test", len(test))
    return {
        "fold": fold,
        "seed": seed,
        "history": history,
        "positions": positions,
        "oof": oof,
        "test": test,
        "stages": stages,
    }


def make_seeds(config, fold):
    """The seeds of a fold's networks: the same for any subset of folds."""
    first_seed = config.seed + fold * config.num_seeds
    return range(first_seed, first_seed + config.num_seeds)


class Clock:
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


def describe_calibration(oof, calibration):
    """Calibration error and Brier score out of fold, before and after the map.

    The map has two numbers, fitted to the same predictions. Where they cannot be
    fitted, "refused" says why, and the submission stays as it is.
    """
    labels, predictions = oof["label"], oof["prediction"]
    described = {"before": measure_calibration(labels, predictions)}
    if calibration == "platt":
        try:
            described["map"] = list(fit_calibration(labels, predictions))
        except ValueError as error:  # at the end of a long run: loses nothing
            described["refused"] = str(error)
            print(error, flush=True)
            return described
        after = calibrate(predictions, *described["map"])
        described["after"] = measure_calibration(labels, after)
    return described


def sum_stages(members):
    """The stages of all networks, added up."""
    return {
        name: rate(
            sum(m["stages"][name]["seconds"] for m in members),
            sum(m["stages"][name]["images"] for m in members),
        )
        for name in members[0]["stages"]
    }


def describe_device():
    """The devices Keras computes on, with the names of NVIDIA cards."""
    devices = ", ".join(keras.distribution.list_devices())
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        result = subprocess.run(command, capture_output=True, text=True)
        devices += f" ({', '.join(result.stdout.splitlines())})"
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


def print_member(member, labels):
    """One line per network."""
    auc = roc_auc_score(labels[member["positions"]], member["oof"])
    train = member["stages"]["train"]
    print(
        f"fold {member['fold']} seed {member['seed']} out-of-fold AUC {auc:.4f}, "
        f"{len(member['history'])} epochs in {train['seconds']:.0f} s, "
        f"{train['images_per_second']:,.0f} images/s",
        flush=True,
    )
