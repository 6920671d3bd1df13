"""Four methods on the same folds: a session for a high score.

Logistic regression on the features of Midnight, a frozen pathology transformer; DINOv2's ViT-B, all
of it tuned; EfficientNetV2-S and DenseNet-121 at 160 pixels. They are trained one after the other,
on the same folds and one decode of the patches, in the order of `members`. Each network's
predictions are calibrated on its own fold; the submission, the mean of the calibrated log-odds, is
rewritten after every network. A method whose weights cannot be loaded, or for which there is no
time left, is left out.
"""

from ..analysis.cleaning import clean_folds
from ..analysis.groups import group_slides, make_hue_folds
from ..analysis.patches import measure_patches
from ..analysis.settings import CleaningSettings, SplitSettings
from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings
from ..inference.calibration_settings import CalibratedSettings
from ..inference.submission import write_submission
from ..methods.features import discard_features
from ..methods.finetune import Finetune
from ..methods.finetune_vit import FinetuneVit
from ..methods.linear_probe import LinearProbe
from ..models.pretrained import build_pretrained
from ..models.pretrained_settings import PretrainedSettings
from ..models.transformer import build_transformer, find_transformer_revision
from ..models.transformer_settings import HeadSettings, TransformerSettings
from ..models.vit import build_vit
from ..models.vit_settings import VitSettings
from ..system.device import Device, set_up_device
from ..system.machine_settings import MachineSettings
from ..system.settings import Settings
from ..training.results import print_results, write_results
from ..training.settings import TrainingSettings
from ..training.several import average_several, compare_methods, fit_several, keep_available
from ..training.several_settings import MemberSettings

SETTINGS = {
    "members": ("midnight", "vit", "efficientnet", "densenet"),
    "midnight.weights": "midnight-12k",
    "midnight.input_size": 224,
    "vit.weights": "dinov2-base",
    "vit.input_size": 126,
    "tuning.epochs": 4,
    "tuning.learning_rate": 1e-4,
    "tuning.weight_decay": 0.05,
    "tuning.gradient_clip": 1.0,
    "tuning.ema_momentum": 0.999,
    "efficientnet.architecture": "efficientnetv2s",
    "efficientnet.input_size": 160,
    "densenet.architecture": "densenet121",
    "densenet.input_size": 160,
    "training.epochs": 4,
    "folds": (0, 1),
    "stain_jitter": 0.1,
    "brightness": 0.1,
    "contrast": 0.1,
    "ensemble": "logit",
    "calibration": "platt",
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "several": MemberSettings,
        "data": DataSettings,
        "folds": SplitSettings,
        "cleaning": CleaningSettings,
        "midnight": TransformerSettings,
        "head": HeadSettings,
        "vit": VitSettings,
        "tuning": TrainingSettings,
        "efficientnet": PretrainedSettings,
        "densenet": PretrainedSettings,
        "training": TrainingSettings,
        "augmentation": AugmentationSettings,
        "prediction": CalibratedSettings,
        "machine": MachineSettings,
    }


def make_methods(settings: Settings, device: Device) -> dict:
    """The methods of `members`, by name, in that order."""
    pixels = {"augmentation": settings.augmentation, "tta": settings.prediction.tta}
    convolutions = {**pixels, "training": settings.training}
    known = {
        "midnight": LinearProbe(
            settings.midnight,
            settings.head,
            settings.training,
            builder=build_transformer,
            find_revision=find_transformer_revision,
        ),
        "vit": FinetuneVit(
            build_vit,
            augment_patches,
            network=settings.vit,
            training=settings.tuning,
            memory=device.memory,
            **pixels,
        ),
        "efficientnet": Finetune(
            build_pretrained, augment_patches, network=settings.efficientnet, **convolutions
        ),
        "densenet": Finetune(
            build_pretrained, augment_patches, network=settings.densenet, **convolutions
        ),
    }
    return {name: known[name] for name in settings.several.members}


def main(run: Run) -> None:
    """Train method after method, average them, write the submission after every network."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    methods, network, left_out = keep_available(make_methods(settings, device), run, device)

    split, seed = settings.folds.split, settings.data.seed
    groups = group_slides(split, tables.slides)
    folds = make_folds(tables.train["label"], settings.folds.num_folds, seed, groups)
    patches = load_patches(run)
    if split == "hue":
        measured, num_folds = measure_patches(patches.pixels), settings.folds.num_folds
        folds = make_hue_folds(measured, patches.labels, num_folds, seed, tables.slides)
    folds, cleaned = clean_folds(settings.cleaning.clean, folds, patches.pixels, run)
    ensembles = fit_several(methods, patches, folds, run, device, left_out)
    for finished in ensembles:  # after every network
        average = average_several(finished, folds, run)
        write_submission(run.output, tables.test["id"], average.test, settings.prediction.labels)
        found = {"cleaned": cleaned, "calibration": average.calibration}
        results = write_results(run, device, network, average.oof, average.ensemble, **found)
    found |= compare_methods(average)
    results = write_results(run, device, network, average.oof, average.ensemble, **found)
    if "midnight" in finished and not finished["midnight"].missing:
        discard_features(run)
    print_results(results)
