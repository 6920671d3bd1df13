"""The frozen transformer that kept heads need."""

from collections.abc import Callable

import keras

from ..models.transformer import build_transformer, find_transformer_revision
from ..models.transformer_settings import TransformerSettings
from ..system.device import choose_policy, find_gpus, list_gpus


def load_frozen(facts: dict, say: Callable = print, weights: str = "none") -> keras.Model:
    """Load the frozen transformer on whose features the heads were trained.

    Args:
        facts: those of a head.
        say: function that prints a line.
        weights: where it is now, as in TransformerSettings; "none" for where it was.

    Raises:
        ValueError: its weights are others than those of the run.
        FileNotFoundError, ImportError, ValueError: as `build_transformer`.
    """
    settings, dtype = plan_frozen(facts, weights)
    model = build_transformer(settings, dtype)
    revision, found = facts["backbone"]["revision"], find_transformer_revision(settings)
    if "unknown" in (revision, found) or len(revision) != len(found):  # a commit, a hash
        say(f"{settings.weights}: not checked against the run's: revision {revision}, here {found}")
    elif revision != found:
        raise ValueError(
            f"{settings.weights} has other weights than in the run. Expected: revision {revision}. "
            f"Received: {found}. Try: put that folder where PCAM_INPUT points"
        )
    return model


def plan_frozen(facts: dict, weights: str = "none") -> tuple:
    """What `load_frozen` loads: its TransformerSettings and the name of its compute dtype."""
    backbone = facts["backbone"]
    weights = backbone["weights"] if weights == "none" else weights
    known = {**facts["settings"], **backbone}  # older runs have the sizes in settings only
    sizes = {name: known[name] for name in ("crop_size", "input_size")}
    gpus = find_gpus() if list_gpus() else []
    # float32 may have been asked for because float16 overflowed; else what is fast here.
    precision = "float32" if facts["settings"]["precision"] == "float32" else "auto"
    policy = choose_policy(precision, [gpu.capability for gpu in gpus])
    return TransformerSettings(weights=weights, **sizes), keras.DTypePolicy(policy).compute_dtype
