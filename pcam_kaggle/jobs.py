"""The networks of a run: each trained, predicted and kept as soon as it is done."""

import dataclasses
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from .config import ARCHITECTURES
from .foundation import apply_head, train_head
from .prediction import predict
from .results import load_member, save_member
from .train import train_fold


@dataclasses.dataclass(frozen=True)
class Patches:
    """What the networks of a run learn from and predict.

    `images` and `test_images` are uint8 arrays (n, 96, 96, 3), or the float16 features
    (n, dim) of a foundation model; `labels` an int array (n,) of 0 and 1.
    """

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray


def train_members(config, patches, folds, output, fingerprint):
    """The networks of every fold and seed, those that are there already taken.

    Args:
        config: Config.
        patches: Patches.
        folds: int array (n,), the validation fold of every image.
        output: Path of the output folder, for folds/fold<f>_seed<s>.npz.
        fingerprint: str, of the run.

    Returns:
        List of dicts as `train_member` returns them.
    """
    return [
        finish_member(
            config, patches, folds, fold, seed, output, fingerprint, kind="fold"
        )
        for fold in config.folds or range(config.num_folds)
        for seed in make_seeds(config, fold)
    ]


def train_stain_members(config, patches, folds, output, fingerprint):
    """Two networks, each validated on the colour of stain that it never saw.

    As `train_members`, for folds from `make_stain_folds`; they predict no test image.
    """
    patches = dataclasses.replace(patches, test_images=patches.test_images[:0])
    return [
        finish_member(
            config, patches, folds, fold, config.seed, output, fingerprint, kind="stain"
        )
        for fold in (0, 1)
    ]


def finish_member(config, patches, folds, fold, seed, output, fingerprint, kind):
    """One network: taken from its file, or trained and written to it."""
    path = output / "folds" / f"{kind}{fold}_seed{seed}.npz"
    if path.exists():
        member = load_member(path)
        print(f"{kind} {fold} seed {seed} was finished before, taken from {path}")
    else:
        member = train_member(config, patches, folds, fold, seed)
        save_member(path, member, fingerprint)
    auc = roc_auc_score(patches.labels[member["positions"]], member["oof"])
    train = member["stages"]["train"]
    print(
        f"{kind} {fold} seed {seed} out-of-fold AUC {auc:.4f}, "
        f"{len(member['history'])} epochs in {train['seconds']:.0f} s, "
        f"{train['images_per_second']:,.0f} images/s",
        flush=True,
    )
    return member


def train_member(config, patches, folds, fold, seed):
    """Train one network; predict its validation fold and the test images.

    Returns:
        dict: fold, seed, history (DataFrame), positions (int array of the fold), oof
        and test (float32 arrays of probabilities), stages (seconds and images).
    """
    is_foundation = ARCHITECTURES[config.architecture].is_foundation
    train = train_head if is_foundation else train_fold
    stages = {}
    clock = Clock(stages)
    network, history = train(config, patches.images, patches.labels, folds, fold, seed)
    clock.end("train", int((folds != fold).sum()) * len(history))

    def apply(images, positions=None):
        if is_foundation:
            return apply_head(network, images, positions)
        return predict(network, images, positions, config.tta)

    positions = np.flatnonzero(folds == fold)
    oof = apply(patches.images, positions)
    clock.end("predict_oof", len(oof))
    test = np.zeros(0, "float32")
    if len(patches.test_images):
        test = apply(patches.test_images)
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


def sum_stages(members):
    """The stages of all networks, added up."""
    return {
        name: rate(
            sum(m["stages"][name]["seconds"] for m in members),
            sum(m["stages"][name]["images"] for m in members),
        )
        for name in members[0]["stages"]
    }
