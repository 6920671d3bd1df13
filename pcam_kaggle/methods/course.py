"""The program of the course notebook's three networks."""

from ..analysis.cleaning import clean_folds
from ..analysis.gradcam import explain_maps
from ..analysis.settings import CleaningSettings
from ..augmentation.affine import augment_course
from ..augmentation.affine_settings import CourseAugmentationSettings
from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..inference.ensemble import average_members
from ..inference.settings import PredictionSettings
from ..inference.submission import write_submission
from ..models.course import build_course
from ..models.course_settings import CourseNetworkSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.explain import explain_member
from ..training.members import fit_members
from ..training.results import announce, gather_oof, print_results, write_results
from ..training.settings import TrainingSettings
from .finetune import Finetune


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "data": DataSettings,
        "folds": FoldSettings,
        "cleaning": CleaningSettings,
        "network": CourseNetworkSettings,
        "augmentation": CourseAugmentationSettings,
        "training": TrainingSettings,
        "prediction": PredictionSettings,
        "machine": MachineSettings,
    }


def main(run: Run) -> None:
    """Train a network per fold, average their predictions, write the submission."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    method = Finetune(
        build_course,
        augment_course,
        network=settings.network,
        augmentation=settings.augmentation,
        training=settings.training,
        tta=settings.prediction.tta,
        explainer=explain_maps,
    )
    network = announce(method.build())  # fails early if weights are missing

    labels, seed = tables.train["label"], settings.data.seed
    folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
    patches = load_patches(run)
    clean = settings.cleaning.clean
    folds, cleaned = clean_folds(clean, folds, patches.pixels, run)
    ensembles = fit_members(method, patches, folds, run, device, explain=explain_member)
    for ensemble in ensembles:  # after every network
        oof = gather_oof(run, folds, ensemble.members)
        test = average_members(ensemble.members, settings.prediction.ensemble)
        write_submission(run.output, tables.test["id"], test, settings.prediction.labels)
        results = write_results(run, device, network, oof, ensemble, cleaned=cleaned)
    print_results(results)
