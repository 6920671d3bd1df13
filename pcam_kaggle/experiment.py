"""A whole run: check, decode, train every fold, ensemble, write the files."""

import dataclasses
import datetime
import importlib.metadata
import platform
import tempfile
import time
from pathlib import Path

import keras
from sklearn.metrics import roc_auc_score

from .budget import Budget
from .cache import load_cached
from .config import ARCHITECTURES, compute_build_id
from .data import Patches, load_labels, load_sample
from .device import (
    choose_policy,
    describe_device,
    find_capabilities,
    find_cpu_bfloat16,
)
from .folds import draw_images, load_slides, make_folds, make_stain_folds
from .foundation import extract_features, load_backbone
from .jobs import Session, train_members
from .paths import find_data, open_output
from .results import (
    check_unused,
    gather_oof,
    make_fingerprint,
    take_attached,
    write_results,
)
from .stages import Clock, sum_stages
from .train import build_network
from .validation import (
    bootstrap_auc,
    calibrate,
    fit_calibration,
    measure_calibration,
    measure_folds,
    measure_seeds,
    warn_of_gap,
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
    budget = Budget(config.max_hours)
    output = open_output(output)
    folder = find_data(data)
    table, sample = load_tables(config, folder)
    policy = choose_policy(config.precision, find_capabilities(), find_cpu_bfloat16())
    keras.config.set_dtype_policy(policy)
    network = load_network(config, policy)
    run = describe_run(config, build_id, source, table, sample)
    run["num_parameters"] = network.count_params()
    run["precision"] = policy
    check_unused(output, run["fingerprint"])
    print_start(run, folder, output)
    take_attached(output, run["fingerprint"], data)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        clock = Clock(run["stages"])
        images = load_cached(table, config.verify_ids, "train")
        clock.end("decode_train", len(images))
        test_images = load_cached(sample, config.verify_ids, "test")
        clock.end("decode_test", len(test_images))
        if config.split == "stain":
            slides = find_slides(config, table)
            table["fold"] = make_stain_folds(images, table["label"], slides)
        stain_folds = None
        if config.stain_check:
            slides = find_slides(config, table)
            stain_folds = make_stain_folds(images, table["label"], slides)
        if ARCHITECTURES[config.architecture].is_foundation:
            kept = (output / "features", run["fingerprint"], data, budget)
            images = extract_features(network, images, config.tta, "train", *kept)
            test_images = extract_features(
                network, test_images, config.tta, "test", *kept
            )
            clock.end("features", len(images) + len(test_images))
        patches = Patches(images, table["label"].to_numpy(), test_images)
        num_gpus = len(find_capabilities())
        session = Session(
            output=output,
            scratch=Path(scratch),
            fingerprint=run["fingerprint"],
            policy=policy,
            budget=budget,
            num_workers=config.num_workers or max(1, num_gpus),
            num_gpus=num_gpus,
        )
        folds = table["fold"].to_numpy()
        members, missing = train_members(config, patches, folds, session)
        stain_members = []
        if config.stain_check:
            stain_members, left_out = train_members(
                config, patches, stain_folds, session, kind="stain"
            )
            missing += left_out
        del images, test_images, patches  # Windows cannot delete files of open arrays

    run["not_trained"] = missing
    run["cut_short"] = [
        f"fold {member['fold']} seed {member['seed']}"
        for member in members
        if member["was_cut_short"]
    ]
    check_members(members, config, output)
    oof = gather_oof(table, members)
    run["stages"].update(sum_stages(members))
    run.update(describe_scores(table, oof, members, stain_members))
    run["warnings"] += warn_of_time(run)
    run["calibration"] = describe_calibration(oof, config.calibration)
    run["seconds"] = time.perf_counter() - started
    run["finished"] = datetime.datetime.now(datetime.UTC).isoformat()
    write_results(output, config, run, sample, oof, members)
    return run


def load_network(config, policy):
    """The network, built to refuse bad weights before anything else is done."""
    if not ARCHITECTURES[config.architecture].is_foundation:
        return build_network(config)
    dtype = keras.dtype_policies.get(policy).compute_dtype
    return load_backbone(config.weights, config.input_size, config.crop_size, dtype)


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


def check_members(members, config, output):
    """Refuse to go on without any network.

    Raises:
        ValueError: says how the work that is kept is gone on with.
    """
    if not members:
        raise ValueError(
            "max_hours: no network could be finished. What was begun is kept in "
            f"{output / 'folds'}: give the same command again (push --resume). "
            f"Received: max_hours={config.max_hours:g}"
        )


def warn_of_time(run):
    """Warnings, in a list, of what the submission lacks for want of time."""
    texts = {"not_trained": "no time for", "cut_short": "cut short by max_hours:"}
    return [
        f"warning: {text} {', '.join(run[name])}; the same command (push --resume) "
        "goes on from there"
        for name, text in texts.items()
        if run[name]
    ]


def describe_scores(table, oof, members, stain_members):
    """What run.json says of how good the networks are, and of what to mistrust."""
    scores = {
        "fold_auc": {
            str(fold): float(roc_auc_score(rows["label"], rows["prediction"]))
            for fold, rows in oof.groupby("fold")
        },
        "oof_auc": float(roc_auc_score(oof["label"], oof["prediction"])),
        "oof_auc_interval": list(bootstrap_auc(oof["label"], oof["prediction"])),
        "seed_auc": measure_seeds(table["label"].to_numpy(), members),
        "warnings": [],
    }
    if len(stain_members) == 2:
        scores["stain_auc"] = measure_folds(table["label"].to_numpy(), stain_members)
        scores["warnings"] = warn_of_gap(scores["oof_auc"], scores["stain_auc"]["mean"])
    return scores


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
    print(f"device   {run['device']}, {run['precision']}")
    print(
        f"data     {folder}: {counts['train']:,} train ({counts['positive']:,} "
        f"positive), {counts['test']:,} test"
    )
    print(f"output   {output}", flush=True)
