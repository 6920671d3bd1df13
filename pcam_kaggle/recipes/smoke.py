"""A first run that tries every stage of a session in minutes.

A linear probe on a frozen DenseNet-121 and two small networks learn from a part of the patches, on
every GPU. The log has a line per network with its device, memory and speed, and ends with a
verdict per stage and the hours to expect of the other recipes. It submits nothing.
"""

import dataclasses

from ..analysis.gradcam import explain_maps
from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..inference.settings import PredictionSettings
from ..methods.features import discard_features
from ..methods.finetune import Finetune
from ..methods.linear_probe import LinearProbe
from ..models.frozen import build_frozen, find_frozen_revision
from ..models.pretrained_settings import PretrainedSettings
from ..models.settings import NetworkSettings
from ..models.small import build_small
from ..models.transformer_settings import HeadSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.explain import explain_member
from ..training.members import fit_members
from ..training.results import announce
from ..training.settings import TrainingSettings
from ..training.smoke_settings import SmokeSettings
from ..training.verdicts import print_verdicts, write_verdicts

SETTINGS = {
    "architecture": "densenet121",
    "network.weights": "imagenet",
    "num_images": 20_000,
    "num_test": 5_000,
    "num_folds": 2,
    "epochs": 2,
    "stain_jitter": 0.1,
    "costs": "",
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "smoke": SmokeSettings,
        "data": DataSettings,
        "folds": FoldSettings,
        "network": PretrainedSettings,
        "head": HeadSettings,
        "small": NetworkSettings,
        "augmentation": AugmentationSettings,
        "training": TrainingSettings,
        "prediction": PredictionSettings,
        "machine": MachineSettings,
    }


def main(run: Run) -> None:
    """Train heads on frozen features, then small networks; judge each stage of the session."""
    settings, training = run.settings, run.settings.training
    tables = run.competition
    tables = dataclasses.replace(tables, test=tables.test.head(settings.smoke.num_test))
    run = dataclasses.replace(run, competition=tables)
    device = set_up_device(settings.machine)
    methods = {
        "head": LinearProbe(
            settings.network,
            settings.head,
            training,
            builder=build_frozen,
            find_revision=find_frozen_revision,
        ),
        "small": Finetune(
            build_small,
            augment_patches,
            network=settings.small,
            augmentation=settings.augmentation,
            training=training,
            tta=settings.prediction.tta,
            explainer=explain_maps,
        ),
    }
    for method in methods.values():
        announce(method.build())  # fails early if weights are missing

    labels, seed = tables.train["label"], settings.data.seed
    folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
    patches = load_patches(run)
    ensembles = {}
    for name, method in methods.items():
        explain = explain_member if method.explainer else None
        for ensemble in fit_members(method, patches, folds, run, device, name, explain):
            ensembles[name] = ensemble
            complete = not ensemble.missing and len(ensembles) == len(methods)
            results = write_verdicts(run, device, ensembles, methods["head"].rate, complete)
    discard_features(run)
    print_verdicts(results)
