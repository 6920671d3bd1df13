"""Features of a frozen network, extracted once."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..data.batches import Batches
from ..data.decode import IMAGE_SHAPE
from ..data.run import Run
from ..inference.views import NUM_VIEWS, test_time_views
from ..system.clock import Budget
from ..system.device import choose_jit_compile
from ..system.files import write_beside

FEATURES = "features"  # folder of the parts in the output
IMAGES_PER_PART = 4_096  # a killed run loses at most one part
VIEWS_PER_STEP = 64


def extract_features(
    build: Callable,
    images: np.ndarray,
    tta: str,
    name: str,
    folder: Path,
    fingerprint: str = "",
    attached: list | tuple = (),
    budget: Budget | None = None,
    share: tuple = (0, 1),
) -> float:
    """Write the features of every image, averaged over its views, in parts.

    For a linear head the average of the features is the average of the log-odds, so that one
    row per image serves all views. Parts that exist or are attached are not extracted again.

    Args:
        build: function without arguments that returns what `average_features` does; called
            only if a part is missing.
        images: uint8 array (n, 96, 96, 3).
        tta: "none" (1 view), "flip" (4) or "dihedral" (8).
        name: "train" or "test".
        folder: where the parts are.
        fingerprint: the run's; with `name` it starts the parts' names.
        attached: paths of parts that are attached to the kernel.
        budget: what is left of the run's time, or None for no limit.
        share: (index, count): extract every count-th part, starting at index.

    Returns:
        Images per second of the fastest part; 0 if all were there.

    Raises:
        ValueError: there is no time for all of them (finished parts are kept), or a part is
            damaged.
        FloatingPointError: some features are not finite in this precision.
    """
    folder.mkdir(exist_ok=True)
    model, rate = None, 0.0
    starts = range(0, len(images), IMAGES_PER_PART)[share[0] :: share[1]]
    for start in starts:
        positions = np.arange(start, min(start + IMAGES_PER_PART, len(images)))
        path = folder / name_part(name, fingerprint, start)
        if find_part(path, len(positions), attached) is not None:
            continue
        started = time.monotonic()
        model = model or build()
        what = f"{name} from {start:,}: batch"
        batches = Batches(images, positions, VIEWS_PER_STEP // NUM_VIEWS[tta], what=what)
        part = model.predict(batches, verbose=0)[: len(positions)]
        if not np.isfinite(part).all():
            raise FloatingPointError(
                f"features that are not finite. Received: {name}, images from {start} "
                "on. Try: precision=float32 or mixed_bfloat16"
            )
        with write_beside(path) as partial, open(partial, "wb") as file:
            np.save(file, part)
        # The first part also takes the time to load and to compile the network.
        is_first, rate = rate == 0, max(rate, len(part) / (time.monotonic() - started))
        needed = (len(images) - positions[-1] - 1) / share[1] / rate
        if budget and not is_first and needed > max(0, budget.left()):
            raise budget.refuse(f"the features of {name}", needed)
    return rate


def average_features(backbone: keras.Model, tta: str) -> keras.Model:
    """Average the features over views: uint8 (b, 96, 96, 3) -> float16 (b, dim)."""
    inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
    views = test_time_views(inputs, tta)
    features = backbone(ops.concatenate(views, axis=0))
    features = ops.reshape(features, (len(views), -1, features.shape[-1]))
    model = keras.Model(inputs, ops.cast(ops.mean(features, axis=0), "float16"))
    model.compile(jit_compile=choose_jit_compile())
    return model


def load_features(
    num_images: int, name: str, folder: Path, fingerprint: str = "", attached: list | tuple = ()
) -> np.ndarray:
    """Read what `extract_features` wrote, in the order of the images: float16 array (n, dim).

    Raises:
        FileNotFoundError: a part is missing.
        ValueError: a part is damaged.
    """
    parts = []
    for start in range(0, num_images, IMAGES_PER_PART):
        path = folder / name_part(name, fingerprint, start)
        part = find_part(path, min(IMAGES_PER_PART, num_images - start), attached)
        if part is None:
            raise FileNotFoundError(f"expected {path}, which a worker has not written")
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros((0, 0), "float16")


def find_part(path: Path, num_images: int, attached: list | tuple) -> np.ndarray | None:
    """A part of the features, memory-mapped: the run's own, else an attached one, else None.

    Attached files that are no such part are skipped with a line.

    Raises:
        ValueError: the run's own is damaged.
    """
    if path.exists():
        return read_part(path, num_images)
    for other in (found for found in attached if found.name == path.name):
        try:
            return read_part(other, num_images)
        except ValueError as error:
            print(f"attached, not taken: {error}", flush=True)
    return None


def read_part(path: Path, num_images: int) -> np.ndarray:
    """Memory-map a part.

    Raises:
        ValueError: it is damaged; names the file.
    """
    try:
        part = np.lib.format.open_memmap(path, mode="r")
        found = f"{part.dtype} {part.shape}"
        if part.dtype == np.float16 and part.ndim == 2 and len(part) == num_images:
            return part
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        found = error
    raise ValueError(
        f"{path} is damaged. Expected: float16 features of {num_images} images. Received: {found}. "
        "Try: delete it; only its images are processed again"
    )


def name_part(name: str, fingerprint: str, start: int) -> str:
    """The file name of the features of the images from `start` on."""
    return f"{name}_{fingerprint}_{start:06}.npy"


def discard_features(run: Run) -> None:
    """Remove the features of a finished run, 1.7 GB, from its output."""
    if (run.output / FEATURES).exists():
        shutil.rmtree(run.output / FEATURES)
