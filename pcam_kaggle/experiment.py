"""A whole run: check, decode, train every fold, ensemble, write the files."""

import dataclasses
import datetime
import functools
import importlib.metadata
import platform
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from .budget import Budget
from .cache import load_cached
from .config import ARCHITECTURES, Config, compute_build_id, compute_code_id
from .data import Patches, load_labels, load_sample
from .device import (
    choose_policy,
    describe_device,
    find_capabilities,
    find_cpu_bfloat16,
)
from .evaluation import evaluate
from .exploration import Exploration, explore
from .folds import draw_images, load_slides, make_folds, make_stain_folds
from .foundation import explain_tokens, extract_features, load_backbone
from .gradcam import check_backend
from .jobs import Session, train_members
from .paths import find_data, open_output
from .pictures import write_exploration
from .quality import find_unwanted
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
from .workers import run_jobs

PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pandas", "scikit-learn", "pillow")


@dataclasses.dataclass(frozen=True)
class Start:
    """A run before its images are read: all that is checked first.

    `run` is what run.json will say, `network` the network or frozen transformer,
    `table` and `sample` the training and test images, unread, `data` the folder given.
    """

    config: Config
    run: dict
    network: keras.Model
    table: pd.DataFrame
    sample: pd.DataFrame
    data: Path | None
    output: Path
    budget: Budget
    policy: str
    started: float


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A run's images: `patches` to train on, with `folds`; `pixels` as they are.

    `explored` is an Exploration or None, `stain_folds` folds by stain or None.
    """

    patches: Patches
    folds: np.ndarray
    pixels: np.ndarray
    explored: Exploration | None
    stain_folds: np.ndarray | None


def run_experiment(config, build_id="package", source=None, data=None, output=None):
    """Train the folds of a Config, predict the test images, write all files.

    Writes submission.csv, run.json, history.csv, oof.csv and, with figures=true, the
    pictures, each whole or not at all, and folds/fold<f>_seed<s>.npz as soon as that
    network is trained. A second run of the same code, settings and data takes the
    finished folds from the same folder, or from an earlier output that is attached to
    the kernel.

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
    start = start_run(config, build_id, source, data, output)
    run, table, output = start.run, start.table, start.output
    take_attached(output, run["fingerprint"], data)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        session = make_session(start, scratch)
        loaded = load_all(start, session)
        given = (config, loaded.patches)
        members, missing = train_members(*given, loaded.folds, session)
        stain_members = []
        if config.stain_check:
            stain_members, left_out = train_members(
                *given, loaded.stain_folds, session, kind="stain"
            )
            missing += left_out

    run["not_trained"] = missing
    run["cut_short"] = [
        f"fold {member['fold']} seed {member['seed']}"
        for member in members
        if member["was_cut_short"]
    ]
    check_members(members, config, output)
    add_token_maps(start, loaded.pixels, members)
    oof = gather_oof(table, members)
    run["stages"].update(sum_stages(members))
    run.update(describe_scores(table, oof, members, stain_members))
    stains = loaded.explored and loaded.explored.patches["stain"]
    run["evaluation"] = evaluate(oof, members, stains)
    run["warnings"] += warn_of_time(run)
    run["calibration"] = describe_calibration(oof, config.calibration)
    run["seconds"] = time.perf_counter() - start.started
    run["finished"] = datetime.datetime.now(datetime.UTC).isoformat()
    write_results(output, config, run, start.sample, oof, members, loaded.pixels)
    return run


def start_run(config, build_id="package", source=None, data=None, output=None):
    """Check all that can be checked before an image is read.

    Args, Raises:
        As `run_experiment`.

    Returns:
        Start.
    """
    started = time.perf_counter()
    budget = Budget(config.max_hours)
    if config.figures:
        check_backend()
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
    given = (config, run, network, table, sample, data, output, budget, policy)
    return Start(*given, started)


def load_all(start, session):
    """Decode, explore, clean, and describe by a foundation model where there is one.

    Returns:
        Loaded.
    """
    config, run, table = start.config, start.run, start.table
    clock = Clock(run["stages"])
    pixels = images = load_cached(table, config.verify_ids, "train")
    clock.end("decode_train", len(images))
    test_images = load_cached(start.sample, config.verify_ids, "test")
    clock.end("decode_test", len(test_images))
    slides = find_slides(config, table)
    stain_folds = None
    if config.stain_check or config.split == "stain":
        stain_folds = make_stain_folds(images, table["label"], slides)
    if config.split == "stain":
        table["fold"] = stain_folds
    explored = None
    if config.figures or config.clean:
        explored = explore(images, table["id"], table["label"], slides)
        clean(table, explored, config, run)
    if config.figures:
        write_exploration(explored, images, start.output)
    clock.end("explore", len(images))
    folds = table["fold"].to_numpy()
    if config.stain_check:
        stain_folds = np.where(folds < 0, -1, stain_folds)
    if ARCHITECTURES[config.architecture].is_foundation:
        images, test_images = describe_all(start, session, images, test_images)
        clock.end("features", len(images) + len(test_images))
    patches = Patches(images, table["label"].to_numpy(), test_images)
    return Loaded(patches, folds, pixels, explored, stain_folds)


def describe_all(start, session, images, test_images):
    """The features of all images, by every worker a share of the parts.

    Returns:
        Two float16 arrays (n, dim).
    """
    kept = {
        "folder": start.output / "features",
        "fingerprint": start.run["fingerprint"],
        "attached": start.data,
    }
    if session.num_workers > 1:
        work = functools.partial(
            describe_share, start.config, start.policy, session.num_workers, kept
        )
        jobs = [(n, start.budget.left()) for n in range(session.num_workers)]
        places = (session.num_workers, session.num_gpus, session.scratch)
        for _ in run_jobs(work, (images, test_images), jobs, *places):
            pass
    given = (start.network, images, start.config.tta, "train")
    features = extract_features(*given, **kept, budget=start.budget)
    given = (start.network, test_images, start.config.tta, "test")
    return features, extract_features(*given, **kept, budget=start.budget)


def describe_share(config, policy, num_workers, kept, both, number, seconds_left):
    """A worker's parts of the features, with a transformer of its own."""
    keras.config.set_dtype_policy(policy)
    network = load_network(config, policy)
    budget = Budget(config.max_hours, seconds_left)
    for name, images in zip(("train", "test"), both):
        given = (network, images, config.tta, name)
        share = (number, num_workers)
        extract_features(*given, **kept, budget=budget, share=share)


def make_session(start, scratch):
    """The Session of a run, with a folder of its own for its workers."""
    num_gpus = len(find_capabilities())
    return Session(
        output=start.output,
        scratch=Path(scratch),
        fingerprint=start.run["fingerprint"],
        policy=start.policy,
        budget=start.budget,
        num_workers=start.config.num_workers or max(1, num_gpus),
        num_gpus=num_gpus,
    )


def clean(table, explored, config, run):
    """Leave out what the settings say: fold -1 in `table`, listed in `run`.

    Raises:
        ValueError: a fold that is left without a label; names it.
    """
    if not config.clean:
        return
    ids, labels = table["id"].to_numpy(), table["label"].to_numpy()
    given = (config.clean, ids, labels, explored.patches, explored.twins)
    run["cleaned"] = {}
    for kind, positions in find_unwanted(*given).items():
        table.loc[positions, "fold"] = -1
        run["cleaned"][kind] = ids[positions].tolist()
        print(f"cleaned  {kind}: {len(positions):,} training patches left out")
    kept = table.loc[table["fold"] >= 0]
    for fold in config.folds or range(config.num_folds):
        left = kept.loc[kept["fold"] == fold, "label"]
        if left.nunique() < 2:
            raise ValueError(
                f"clean: expected both labels in every fold. Received: fold {fold} "
                f"with {len(left)} patches left, {left.sum()} of tumour"
            )


def add_token_maps(start, pixels, members):
    """The maps of a foundation model's networks, from the slopes of their heads."""
    for member in members:
        if "slopes" in member:
            shown = member["shown"]
            images = pixels[member["positions"][shown]]
            given = (start.network, member["slopes"], images, member["oof"][shown])
            member["maps"] = explain_tokens(*given, start.config.crop_size)


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
    text = Path(source).read_text("utf-8") if source else ""
    code = compute_code_id(text) if source else build_id
    lists = {"folds": list(config.folds), "clean": list(config.clean)}  # as JSON
    settings = {**dataclasses.asdict(config), **lists}
    return {
        "build_id": build_id,
        "code": code,
        "edited": bool(source) and compute_build_id(text) != build_id,
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
