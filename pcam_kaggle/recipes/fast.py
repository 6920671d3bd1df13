"""Two DenseNet-121, one per GPU: a score within the hour.

ImageNet's DenseNet-121, all layers trained, with average and max pooling side by side. Random
flips, transpositions and stains vary each patch. Each network holds out a fold, on which it is
measured; the test patches are predicted in eight views. All predictions are averaged. On a single
device the two networks take twice as long.
"""

from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..inference.ensemble import average_members
from ..inference.settings import PredictionSettings
from ..inference.submission import write_submission
from ..methods.finetune import Finetune
from ..models.pretrained import build_pretrained
from ..models.pretrained_settings import PretrainedSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.members import fit_members
from ..training.results import announce, gather_oof, print_results, write_results
from ..training.settings import TrainingSettings
from ..training.warm_start import warm_start

SETTINGS = {
    "architecture": "densenet121",
    "weights": "imagenet",
    "folds": (0, 1),
    "epochs": 4,
    "stain_jitter": 0.1,
    "brightness": 0.1,
    "contrast": 0.1,
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "data": DataSettings,
        "folds": FoldSettings,
        "network": PretrainedSettings,
        "augmentation": AugmentationSettings,
        "training": TrainingSettings,
        "prediction": PredictionSettings,
        "machine": MachineSettings,
    }


def main(run: Run) -> None:
    """Train a network per fold, average their predictions, write the submission."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    method = Finetune(
        build_pretrained,
        augment_patches,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
        tta=settings.prediction.tta,
    )
    labels, seed = tables.train["label"], settings.data.seed
    folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
    method = warm_start(method, folds, run, device)  # a second stage: weights=BUILD
    network = announce(method.build())  # fails early if weights are missing

    patches = load_patches(run)
    for ensemble in fit_members(method, patches, folds, run, device):  # after every network
        oof = gather_oof(run, folds, ensemble.members)
        test = average_members(ensemble.members, settings.prediction.ensemble)
        write_submission(run.output, tables.test["id"], test, settings.prediction.labels)
        results = write_results(run, device, network, oof, ensemble)
    print_results(results)
