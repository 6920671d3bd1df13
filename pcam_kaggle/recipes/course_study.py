"""The course notebook's networks, batches and epochs.

The notebook's questions: batches of 96, 128 and 196 patches and 10 and 20 epochs for each of its
three networks, all trained on the same patches and validated on the same fold.
"""

from ..augmentation.affine import augment_course
from ..augmentation.affine_settings import CourseAugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..methods.finetune import Finetune
from ..models.course import build_course
from ..models.course_settings import CourseNetworkSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..system.settings import Settings
from ..training.results import announce
from ..training.settings import TrainingSettings
from ..training.study import run_study
from ..training.study_settings import StudySettings

SETTINGS = {
    "architecture": "vgg16",
    "weights": "imagenet",
    "trials": 18,
    "num_images": 12_000,
    "num_folds": 5,
    "folds": (0,),
    "augmentation": "affine",
    "epochs": 20,
    "batch_size": 96,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "early_stopping_patience": 5,
    "plateau_patience": 3,
    "precision": "float32",
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "study": StudySettings,
        "data": DataSettings,
        "folds": FoldSettings,
        "network": CourseNetworkSettings,
        "augmentation": CourseAugmentationSettings,
        "training": TrainingSettings,
        "machine": MachineSettings,
    }


def space() -> dict:
    """The search space: 18 combinations."""
    return {
        "network": {
            "my_vgg16": {"architecture": "my_vgg16", "weights": "none", "learning_rate": 1e-3},
            "course_resnet34": {
                "architecture": "course_resnet34",
                "weights": "none",
                "learning_rate": 1e-2,
            },
            "vgg16": {"architecture": "vgg16", "weights": "imagenet", "learning_rate": 1e-3},
        },
        "batch_size": (96, 128, 196),
        "epochs": (10, 20),
    }


def make_method(settings: Settings) -> Finetune:
    """The method of one trial."""
    return Finetune(
        build_course,
        augment_course,
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
