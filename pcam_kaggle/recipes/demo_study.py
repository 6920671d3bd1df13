"""A study of the demo's network that runs on a laptop.

Optuna's TPE tries learning rates, batch sizes, regularization and stain jitter, each on one
fold of the patches, and stops trials that lag behind the median.
"""

from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..methods.finetune import Finetune
from ..models.settings import NetworkSettings
from ..models.small import build_small
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..system.settings import Settings
from ..training.results import announce
from ..training.settings import TrainingSettings
from ..training.study import run_study
from ..training.study_log import Range
from ..training.study_settings import StudySettings

SETTINGS = {
    "num_folds": 3,
    "epochs": 25,
    "batch_size": 32,
    "learning_rate": 4e-3,
    "require_gpu": False,
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "study": StudySettings,
        "data": DataSettings,
        "folds": FoldSettings,
        "network": NetworkSettings,
        "augmentation": AugmentationSettings,
        "training": TrainingSettings,
        "machine": MachineSettings,
    }


def space() -> dict:
    """The search space."""
    return {
        "learning_rate": Range(3e-4, 1e-2, log=True),
        "batch_size": (32, 64, 128),
        "weight_decay": Range(1e-4, 0.1, log=True),
        "dropout_rate": Range(0.0, 0.5),
        "label_smoothing": Range(0.0, 0.1),
        "stain_jitter": Range(0.0, 0.15),
    }


def make_method(settings: Settings) -> Finetune:
    """The method of one trial."""
    return Finetune(
        build_small,
        augment_patches,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
    )


def main(run: Run) -> None:
    """Try combinations of settings on one fold; write the table of trials."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    announce(make_method(settings).build())
    labels, seed = tables.train["label"], settings.data.seed
    folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
    patches = load_patches(run)
    run_study(make_method, space(), parts(), patches, folds, run, device)
