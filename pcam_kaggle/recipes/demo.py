"""A small network: the whole path in two minutes.

Five convolutions, average and max pooling, trained from random weights on three folds of the
shipped patches. It needs no GPU, no account and no download. The test patches are predicted in
four views, which are averaged.
"""

from ..analysis.gradcam import explain_maps
from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..inference.calibration import calibrate_members
from ..inference.calibration_settings import CalibratedSettings
from ..inference.submission import write_submission
from ..methods.finetune import Finetune
from ..models.settings import NetworkSettings
from ..models.small import build_small
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.explain import explain_member
from ..training.members import fit_members
from ..training.results import announce, gather_oof, print_results, write_results
from ..training.settings import TrainingSettings
from ..training.warm_start import warm_start

SETTINGS = {
    "num_folds": 3,
    "epochs": 25,
    "batch_size": 32,
    "learning_rate": 4e-3,
    "tta": "flip",
    "require_gpu": False,
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "data": DataSettings,
        "folds": FoldSettings,
        "network": NetworkSettings,
        "augmentation": AugmentationSettings,
        "training": TrainingSettings,
        "prediction": CalibratedSettings,
        "machine": MachineSettings,
    }


def main(run: Run) -> None:
    """Train a network per fold, average their predictions, write the submission."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    method = Finetune(
        build_small,
        augment_patches,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
        tta=settings.prediction.tta,
        explainer=explain_maps,
    )
    labels, seed = tables.train["label"], settings.data.seed
    folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
    method = warm_start(method, folds, run, device)  # a second stage: weights=BUILD
    network = announce(method.build())  # fails early if weights are missing

    patches = load_patches(run)
    ensembles = fit_members(method, patches, folds, run, device, explain=explain_member)
    for ensemble in ensembles:  # after every network
        oof = gather_oof(run, folds, ensemble.members)
        test, oof, calibration = calibrate_members(
            ensemble.members, oof, settings.prediction, tables.slides
        )
        write_submission(run.output, tables.test["id"], test, settings.prediction.labels)
        results = write_results(run, device, network, oof, ensemble, calibration=calibration)
    print_results(results)
