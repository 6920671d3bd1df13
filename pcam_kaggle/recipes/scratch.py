"""A small convolutional network from random weights.

It needs no download: five convolutions with twice the channels of the demo's, trained on random
flips, transpositions and stains. The test patches are predicted in eight views.
`architecture=p4m_densenet` trains a D4-equivariant DenseNet (Veeling et al. 2018), whose output
is the same in all eight views, and `architecture=resnet34` the ResNet-34 of He et al. (2015).
"""

from ..analysis.gradcam import explain_maps
from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..inference.ensemble import average_members
from ..inference.settings import PredictionSettings
from ..inference.submission import write_submission
from ..methods.finetune import Finetune
from ..models.scratch import build_scratch
from ..models.scratch_settings import ScratchSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.explain import explain_member
from ..training.members import fit_members
from ..training.results import announce, gather_oof, print_results, write_results
from ..training.settings import TrainingSettings
from ..training.warm_start import warm_start

SETTINGS = {"architecture": "wide_cnn", "epochs": 8, "learning_rate": 4e-3, "stain_jitter": 0.05}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "data": DataSettings,
        "folds": FoldSettings,
        "network": ScratchSettings,
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
        build_scratch,
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
        test = average_members(ensemble.members, settings.prediction.ensemble)
        write_submission(run.output, tables.test["id"], test, settings.prediction.labels)
        results = write_results(run, device, network, oof, ensemble)
    print_results(results)
