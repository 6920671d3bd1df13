"""A linear head on a frozen pathology transformer.

Midnight (DINOv2 ViT-g/14, 1.1 billion parameters, Karasikov et al. 2025) never saw a Camelyon
slide. It turns each patch into features once; logistic regression learns the label from them, with
the penalty chosen within the training folds. It needs the internet or attached weights.

`weights` takes other models. Choose one by held-out slides (slide_map), never by a published score
on PCam's test part: the competition's private leaderboard is that part.
"""

from ..data.folds import make_folds
from ..data.run import Run, load_patches
from ..data.settings import DataSettings, FoldSettings
from ..inference.calibration import calibrate_members
from ..inference.calibration_settings import CalibratedSettings
from ..inference.submission import write_submission
from ..methods.features import discard_features
from ..methods.linear_probe import LinearProbe
from ..methods.token_maps import explain_tokens
from ..models.transformer import build_transformer, find_transformer_revision
from ..models.transformer_settings import HeadSettings, TransformerSettings
from ..system.device import set_up_device
from ..system.machine_settings import MachineSettings
from ..training.explain import explain_member
from ..training.members import fit_members
from ..training.results import announce, gather_oof, print_results, write_results
from ..training.settings import TrainingSettings

SETTINGS = {"weights": "midnight-12k", "input_size": 224, "tta": "none"}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {
        "data": DataSettings,
        "folds": FoldSettings,
        "network": TransformerSettings,
        "head": HeadSettings,
        "training": TrainingSettings,
        "prediction": CalibratedSettings,
        "machine": MachineSettings,
    }


def main(run: Run) -> None:
    """Train a head per fold, average their predictions, write the submission."""
    settings, tables = run.settings, run.competition
    device = set_up_device(settings.machine)
    method = LinearProbe(
        settings.network,
        settings.head,
        settings.training,
        builder=build_transformer,
        find_revision=find_transformer_revision,
        tta=settings.prediction.tta,
        explainer=explain_tokens,
    )
    network = announce(method.build())  # fails early if weights are missing
    network["backbone"] = method.describe()["backbone"]

    labels, seed = tables.train["label"], settings.data.seed
    folds = make_folds(labels, settings.folds.num_folds, seed, tables.slides)
    patches = load_patches(run)
    ensembles = fit_members(method, patches, folds, run, device, explain=explain_member)
    for ensemble in ensembles:  # after every network
        oof = gather_oof(run, folds, ensemble.members)
        test, oof, calibration = calibrate_members(
            ensemble.members, oof, settings.prediction, tables.slides
        )
        write_submission(run.output, tables.test["id"], test, settings.prediction.labels)
        results = write_results(run, device, network, oof, ensemble, calibration=calibration)
    if results["complete"]:
        discard_features(run)
    print_results(results)
