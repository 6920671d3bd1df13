"""Features of a frozen network, extracted once."""

import time
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from ..data.batches import Batches
from ..data.decode import IMAGE_SHAPE
from ..inference.views import test_time_views
from ..system.clock import Budget
from ..system.device import choose_jit_compile
from ..system.files import write_beside
from ..system.paths import find_attached

IMAGES_PER_PART = 4_096  # features are written in parts: a crash loses at most one part
VIEWS_PER_STEP = 64


def extract_features(
    backbone: keras.Model,
    images: np.ndarray,
    tta: str,
    name: str,
    folder: Path,
    fingerprint: str = "",
    attached: Path | str | None = None,
    budget: Budget | None = None,
    share: tuple = (0, 1),
) -> np.ndarray:
    """The features of every image, averaged over its views.

    For a linear head the average of the features is the average of the log-odds, so that one
    row per image serves all views. They are written in parts; parts that exist already, or are
    attached to the kernel, are reused.

    Args:
        backbone: as `load_backbone` returns it.
        images: uint8 array (n, 96, 96, 3).
        tta: "none" (1 view), "flip" (4) or "dihedral" (8).
        name: "train" or "test".
        folder: where the parts are.
        fingerprint: the run's; with `name` it starts the parts' names.
        attached: folder to use instead of PCAM_INPUT, or None.
        budget: what is left of the run's time, or None for no limit.
        share: (index, count): extract every count-th part, starting at index.

    Returns:
        float16 array (n, dim), of the parts of the share.

    Raises:
        ValueError: there is no time for all of them; finished parts are kept.
        FloatingPointError: some features are not finite in this precision.
    """
    inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
    views = test_time_views(inputs, tta)
    features = backbone(ops.concatenate(views, axis=0))
    features = ops.reshape(features, (len(views), -1, features.shape[-1]))
    model = keras.Model(inputs, ops.cast(ops.mean(features, axis=0), "float16"))
    model.compile(jit_compile=choose_jit_compile())
    folder.mkdir(exist_ok=True)
    parts = []
    starts = range(0, len(images), IMAGES_PER_PART)[share[0] :: share[1]]
    for start in tqdm(starts, desc=name, unit="part", disable=None):
        path = folder / f"{name}_{fingerprint}_{start:06}.npy"
        found = [path] if path.exists() else find_attached(path.name, attached)
        if not found:
            started = time.monotonic()
            positions = np.arange(start, min(start + IMAGES_PER_PART, len(images)))
            batches = Batches(images, positions, VIEWS_PER_STEP // len(views))
            part = model.predict(batches, verbose=0)
            if not np.isfinite(part).all():
                raise FloatingPointError(
                    f"features that are not finite. Received: {name}, images from {start} "
                    "on. Try: precision=float32 or mixed_bfloat16"
                )
            with write_beside(path) as partial, open(partial, "wb") as file:
                np.save(file, part)
            num_left = (len(images) - positions[-1] - 1) / len(positions) / share[1]
            needed = num_left * (time.monotonic() - started)
            if budget and needed > budget.left():
                raise budget.refuse(f"the features of {name}", needed)
        parts.append(np.load(found[0] if found else path))
    return np.concatenate(parts) if parts else np.zeros((0, 0), "float16")
