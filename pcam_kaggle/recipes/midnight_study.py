"""Heads on the features of the model of `midnight`.

Logistic regression, or one hidden layer whose learning rate and dropout Optuna's TPE chooses,
each on one fold. The features are extracted once.
"""

from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..methods.linear_probe import LinearProbe
from ..models.transformer import build_transformer, find_transformer_revision
from ..models.transformer_settings import HeadSettings, TransformerSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..system.settings import Settings
from ..training.results import announce
from ..training.settings import TrainingSettings
from ..training.study import run_study
from ..training.study_log import Range
from ..training.study_settings import StudySettings

SETTINGS = {"weights": "midnight-12k", "input_size": 224}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "study": StudySettings,
        "data": DataSettings,
        "folds": FoldSettings,
        "network": TransformerSettings,
        "head": HeadSettings,
        "training": TrainingSettings,
        "machine": MachineSettings,
    }


def space() -> dict:
    """The search space."""
    return {
        "head": ("logistic", "mlp"),
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "dropout_rate": Range(0.0, 0.6),
    }


def make_method(settings: Settings) -> LinearProbe:
    """The method of one trial."""
    return LinearProbe(
        settings.network,
        settings.head,
        settings.training,
        builder=build_transformer,
        find_revision=find_transformer_revision,
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
