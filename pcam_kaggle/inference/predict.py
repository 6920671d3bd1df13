"""Predictions of one network, outside of recipes."""

import keras
import numpy as np

from .views import predict_views


def predict(
    network: keras.Model, images: np.ndarray, positions: np.ndarray | None = None, tta: str = "none"
) -> np.ndarray:
    """The probability that the center of each patch contains tumor: float32 array (m,).

    Args:
        network: as `build_network` returns it.
        images: uint8 array (n, 96, 96, 3).
        positions: int array (m,) of the images to predict, or None for all.
        tta: "none", "flip" (4 views) or "dihedral" (8 views), averaged.
    """
    return predict_views(network, images, positions, tta)[0]
