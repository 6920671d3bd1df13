"""A vision transformer, tuned from its linear head on.

DINOv2's ViT-B/14 (Oquab et al. 2023) on two folds, one per GPU. Logistic regression on the frozen
features gives the first last layer. Then all layers learn, each block at 0.75 times the rate of the
next one, with warm-up, gradient clipping and averaged weights. The settings are those of the
literature. It needs the internet or attached weights.
"""

from ..augmentation.flips import augment_patches
from ..augmentation.settings import AugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..inference.ensemble import average_members
from ..inference.settings import PredictionSettings
from ..inference.submission import write_submission
from ..methods.finetune_vit import FinetuneVit
from ..models.transformer import find_transformer_revision
from ..models.transformer_settings import find_address
from ..models.vit import build_vit
from ..models.vit_settings import VitSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.members import fit_members
from ..training.results import announce, gather_oof, print_results, write_results
from ..training.settings import TrainingSettings

SETTINGS = {
    "weights": "dinov2-base",
    "input_size": 126,
    "folds": (0, 1),
    "epochs": 4,
    "learning_rate": 1e-4,
    "layer_decay": 0.75,
    "weight_decay": 0.05,
    "gradient_clip": 1.0,
    "ema_momentum": 0.999,
    "stain_jitter": 0.1,
    "brightness": 0.1,
    "contrast": 0.1,
}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "data": DataSettings,
        "folds": FoldSettings,
        "network": VitSettings,
        "augmentation": AugmentationSettings,
        "training": TrainingSettings,
        "prediction": PredictionSettings,
        "machine": MachineSettings,
    }


def main(run: Run) -> None:
    """Train a network per fold, average their predictions, write the submission."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    method = FinetuneVit(
        build_vit,
        augment_patches,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
        tta=settings.prediction.tta,
        memory=device.memory,
    )
    network = announce(method.build())  # fails early without weights or memory
    network["backbone"] = {
        "weights": find_address(settings.network.weights),
        "revision": find_transformer_revision(settings.network),
    }

    labels, seed = tables.train["label"], settings.data.seed
    folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
    patches = load_patches(run)
    for ensemble in fit_members(method, patches, folds, run, device):  # after every network
        oof = gather_oof(run, folds, ensemble.members)
        test = average_members(ensemble.members, settings.prediction.ensemble)
        write_submission(run.output, tables.test["id"], test, settings.prediction.labels)
        results = write_results(run, device, network, oof, ensemble)
    print_results(results)
