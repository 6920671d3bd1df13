"""DenseNet-121 on five folds, with a stain check.

ImageNet's DenseNet-121, all layers trained at 160 pixels, on five folds in one GPU session. Two
more networks each train on one group of hues and are tested on the other: they measure the loss on
a stain that is not in the training data. Blend the run with others for a higher score.
"""

from ..analysis.cleaning import clean_folds
from ..analysis.gradcam import explain_maps
from ..analysis.groups import group_slides, make_hue_folds
from ..analysis.patches import measure_patches
from ..analysis.settings import CleaningSettings, StainFoldSettings
from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings
from ..inference.calibration import calibrate_members
from ..inference.calibration_settings import CalibratedSettings
from ..inference.submission import write_submission
from ..methods.finetune import Finetune
from ..models.pretrained import build_pretrained
from ..models.pretrained_settings import PretrainedSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.explain import explain_member
from ..training.members import fit_members
from ..training.results import announce, gather_oof, print_results, write_results
from ..training.settings import TrainingSettings
from ..training.stain_check import check_stains

SETTINGS = {
    "architecture": "densenet121",
    "weights": "imagenet",
    "input_size": 160,
    "epochs": 4,
    "stain_jitter": 0.1,
    "brightness": 0.1,
    "contrast": 0.1,
    "stain_check": True,
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "data": DataSettings,
        "folds": StainFoldSettings,
        "cleaning": CleaningSettings,
        "network": PretrainedSettings,
        "augmentation": AugmentationSettings,
        "training": TrainingSettings,
        "prediction": CalibratedSettings,
        "machine": MachineSettings,
    }


def main(run: Run) -> None:
    """Train the folds and the stain check, average, write the submission."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    method = Finetune(
        build_pretrained,
        augment_patches,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
        tta=settings.prediction.tta,
        explainer=explain_maps,
    )
    network = announce(method.build())  # fails early if weights are missing

    labels, seed = tables.train["label"], settings.data.seed
    split, num_folds = settings.folds.split, settings.folds.num_folds
    folds = make_folds(labels, num_folds, seed, group_slides(split, tables.slides))
    patches = load_patches(run)
    measured = measure_patches(patches.pixels)
    if split == "hue":
        folds = make_hue_folds(measured, patches.labels, num_folds, seed, tables.slides)
    clean = settings.cleaning.clean
    folds, cleaned = clean_folds(clean, folds, patches.pixels, run, measured)
    ensembles = fit_members(method, patches, folds, run, device, explain=explain_member)
    for ensemble in ensembles:  # after every network
        oof = gather_oof(run, folds, ensemble.members)
        test, calibration = calibrate_members(
            ensemble.members, oof, settings.prediction, tables.slides
        )
        write_submission(run.output, tables.test["id"], test, settings.prediction.labels)
        found = {"cleaned": cleaned, "stain_auc": None, "calibration": calibration}
        results = write_results(run, device, network, oof, ensemble, **found)
    if settings.folds.stain_check:
        ensemble, found["stain_auc"] = check_stains(
            method, patches, measured, folds, run, device, ensemble, oof
        )
        results = write_results(run, device, network, oof, ensemble, **found)
    print_results(results)
