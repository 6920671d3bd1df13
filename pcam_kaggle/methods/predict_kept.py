"""Predict patches by the networks that a run kept."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from ..data.decode import IMAGE_SHAPE
from ..inference.kept_average import average_kept, map_kept
from ..inference.load_frozen import load_frozen
from ..inference.load_network import load_network
from ..inference.views import NUM_VIEWS, add_views
from ..system.device import choose_jit_compile
from .features import average_features

VIEWS_PER_PASS = 128  # bounds the memory; more are no faster on a CPU


@dataclasses.dataclass(frozen=True)
class Request:
    """What to predict, and how.

    `networks` maps paths to sha256, `fingerprint` is the run's, `source` what `list_patches`
    takes, `out` the CSV to write. `tta` names the test-time views, or is None for the run's;
    `average` is "mean" or "logit", of the networks of a method; several methods are averaged by
    "logit". `maps` has the (scale, offset) of each network's calibration, in the order of the
    networks, or is None.
    """

    networks: dict
    fingerprint: str
    source: str
    out: str
    tta: str | None
    average: str
    maps: list | None

    def describe(self, source: str) -> dict:
        """What the rows are of, wherever the networks and the CSV are.

        Args:
            source: sha256 of what is predicted.
        """
        networks = list(self.networks.values())
        out = Path(self.out).name
        return {**dataclasses.asdict(self), "networks": networks, "source": source, "out": out}


def load_networks(request: Request, num_patches: int, say: Callable) -> tuple:
    """Load the networks of a run.

    Returns:
        A function of uint8 pixels (batch, 96, 96, 3) that returns the probabilities of each
        network, float64 (networks, batch); the size of a batch; the member of the run that each
        network belongs to, in that order.

    Raises:
        ValueError: one is damaged or of another run.
    """
    groups = {}
    for path in request.networks:
        network, facts = load_network(Path(path), request.fingerprint)
        groups.setdefault(facts.get("member", ""), []).append((network, facts))
    members = [name for name, group in groups.items() for _ in group]
    parts = [prepare_member(group, request.tta, say) for group in groups.values()]

    def predict_batch(pixels):
        outputs = []
        for networks, extractor, _ in parts:
            inputs = extractor.predict_on_batch(pixels) if extractor else pixels
            outputs += [np.ravel(network.predict_on_batch(inputs)) for network in networks]
        return np.array(outputs, "float64")

    views = max(num_views for _, _, num_views in parts)
    return predict_batch, min(VIEWS_PER_PASS // views, num_patches), members


def prepare_member(group: list, tta: str | None, say: Callable) -> tuple:
    """Compile the networks of one method with their views.

    Args:
        group: list of pairs of a keras.Model and the facts about it.
        tta: the views, or None for the run's.
        say: function that prints a line.

    Returns:
        The networks; the model whose features they take, or None; the number of views.
    """
    networks, (facts, *_) = [list(part) for part in zip(*group)]
    tta = tta or facts["tta"]
    extractor = None
    if facts["backbone"]:
        extractor = average_features(load_frozen(facts, say), tta)
    else:
        viewed = [add_views(network, tta) for network in networks]
        networks = [keras.Model(model.inputs, model.outputs[0]) for model in viewed]
    for network in networks:
        network.compile(jit_compile=choose_jit_compile())
    return networks, extractor, NUM_VIEWS[tta]


def predict_chunk(predict_batch: Callable, pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """Predict in whole batches, the last one filled up: float64 (networks, n)."""
    missing = -len(pixels) % batch_size
    filled = np.concatenate([pixels, np.zeros((missing, *IMAGE_SHAPE), np.uint8)])
    batches = np.split(filled, len(filled) // batch_size)
    outputs = np.concatenate([predict_batch(batch) for batch in batches], axis=1)
    if not np.isfinite(outputs).all():
        raise ValueError("a network predicts numbers that are not finite. Try: train it again")
    return outputs[:, : len(pixels)]


def average(predictions: np.ndarray, request: Request, members: list) -> tuple:
    """The run's average of the networks, each after its map, and their standard deviation.

    Args:
        predictions: float64 array (networks, n) of probabilities.
        request: Request.
        members: the member that each network belongs to.

    Returns:
        Two float64 arrays (n,); None for the second if there is one network.
    """
    predictions = map_kept(predictions, request.maps)
    mean = average_kept(predictions, members, request.average)
    return mean, predictions.std(axis=0) if len(predictions) > 1 else None
