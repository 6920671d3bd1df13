"""A frozen pathology transformer as a Keras model.

The default is Midnight, a DINOv2 ViT-g/14 that was trained on the slides of TCGA (Karasikov et
al. 2025). It is too large to fine-tune here.
"""

import hashlib
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..data.decode import IMAGE_SHAPE
from ..system.hub import SCALE_FILE, download_model, read_pixel_scale
from ..system.paths import walk_mounts
from ..system.settings import unknown
from .build import resize_center
from .transformer_settings import (
    FOUNDATION,
    MODEL_TYPES,
    WEIGHTS_SLUG,
    TransformerSettings,
    find_address,
)

PIXEL_SCALE = (0.5, 0.5)  # mean and deviation of RGB from 0 to 1: Midnight's


def build_transformer(settings: TransformerSettings, dtype: str = "float32") -> keras.Model:
    """The frozen transformer of the settings, as `load_backbone` returns it."""
    return load_backbone(settings.weights, settings.input_size, settings.crop_size, dtype)


def load_backbone(
    weights: str, input_size: int = 224, crop_size: int = 96, dtype: str = "float32"
) -> keras.Model:
    """Load the frozen transformer, with its preprocessing and pooling.

    Args:
        weights: str, a name of FOUNDATION, "hf://owner/name", or a folder in the format of
            transformers (config.json and model.safetensors) or of keras-hub: a path, or the name
            of one attached to the kernel. Its model type is one of MODEL_TYPES.
        input_size: int, side in pixels to which the patch is resized; position embeddings of
            DINOv2 are interpolated to it; a ViT accepts only its own size.
        crop_size: int, even, side in pixels of the center crop that is resized.
        dtype: str, of weights and arithmetic: "float32", "float16" or "bfloat16".

    Returns:
        keras.Model: uint8 (b, 96, 96, 3) -> float32 (b, 2 * dim): the class token and the
        mean of the patch tokens, concatenated.

    Raises:
        ImportError: keras-hub is not installed.
        FileNotFoundError: there is no such name or folder.
        OSError: the model cannot be downloaded.
        ValueError: it is damaged, of another type or does not accept the input_size.
    """
    try:
        import keras_hub
        from safetensors import SafetensorError
    except ImportError as error:
        raise ImportError(
            f"foundation models need keras-hub (Kaggle has it). Received: {error}. "
            'Try: python -m pip install -e ".[foundation]"'
        ) from error
    preset = locate_model(weights)
    mean, deviation = find_pixel_scale(preset)
    try:
        backbone = keras_hub.models.Backbone.from_preset(
            preset, image_shape=(input_size, input_size, 3), dtype=dtype
        )
    except (ValueError, TypeError, OSError, KeyError, SafetensorError) as error:
        is_download = "://" in preset and isinstance(error, OSError)
        raise (OSError if is_download else ValueError)(
            f"weights: {weights} cannot be loaded for {input_size} pixels. Expected: a "
            f"model of type {', '.join(MODEL_TYPES)} (a vit with its classifier, as "
            "keras-hub reads it), a size that is a multiple of its patches, for vit "
            f"its own. Received: {str(error).splitlines()[0]}"
        ) from error
    side = int(np.max(backbone.patch_size))
    if input_size % side:
        raise ValueError(
            f"input_size: {weights} takes a multiple of {side} pixels. "
            f"Received: input_size={input_size}"
        )
    backbone.trainable = False
    inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
    pixels = resize_center(ops.cast(inputs, "float32"), crop_size, input_size)
    tokens = ops.cast(backbone((pixels / 255.0 - mean) / deviation), "float32")
    first_patch = 1 + getattr(backbone, "num_register_tokens", 0)
    patches = ops.mean(tokens[:, first_patch:], axis=1)
    return keras.Model(
        inputs, ops.concatenate([tokens[:, 0], patches], axis=-1), name=Path(weights).name
    )


def find_pixel_scale(preset: str) -> tuple:
    """The mean and deviation of a model's training pixels (RGB from 0 to 1).

    They are in preprocessor_config.json beside its weights; Midnight's if there is none.

    Returns:
        Two float32 arrays (3,) or numbers.

    Raises:
        ValueError: that file holds something else.
    """
    path = Path(preset) / SCALE_FILE
    if not path.is_file():
        return PIXEL_SCALE
    return tuple(np.array(values, "float32") for values in read_pixel_scale(path))


def find_transformer_revision(settings: TransformerSettings) -> str:
    """Find the revision of the weights that `build_transformer` has loaded.

    Returns:
        str, the commit of a snapshot in Hugging Face's cache, or the first ten hex digits of the
        sha256 of a folder's files of weights; "unknown" for another place or without a snapshot.
    """
    folder, weights = find_folder(settings.weights), find_address(settings.weights)
    if folder:
        return hash_weights(folder)
    if weights.startswith("hf://"):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(weights.removeprefix("hf://"), "config.json")
        if isinstance(cached, str):  # .../snapshots/<commit>/config.json
            return Path(cached).parent.name
    return "unknown"


def hash_weights(folder: Path) -> str:
    """Hash the files of weights in a folder, several GB."""
    digest = hashlib.sha256()
    files = (path for path in folder.iterdir() if path.suffix in (".safetensors", ".h5"))
    for path in sorted(files):
        with open(path, "rb") as file:
            while block := file.read(2**24):
                digest.update(block)
    return digest.hexdigest()[:10]


def locate_model(weights: str) -> str:
    """Find a model's folder, here or attached; else download it from Hugging Face.

    Returns:
        str, a path, or an address of another hub, which keras-hub downloads from.

    Raises:
        FileNotFoundError, OSError: as `load_backbone`.
    """
    folder, address = find_folder(weights), find_address(weights)
    if folder:
        return str(folder)
    if address.startswith("hf://"):
        names = [name for name, known in FOUNDATION.items() if known == address]
        return download_model(address.removeprefix("hf://"), *names)
    if "://" in address:
        return address
    raise FileNotFoundError(
        "weights: expected the name of a foundation model, hf://OWNER/NAME, a folder that exists "
        "here, or the name of one in a dataset or model attached to the kernel. "
        f"Received: {unknown('model', weights, FOUNDATION)}"
    )


def find_folder(name: str) -> Path | None:
    """Find a model's folder by its path, else among the kernel's inputs.

    An attached folder is known by its own name, or by that of the dataset that `build.py weights`
    makes of it.
    """
    if "://" in name:
        return None
    if Path(name).is_dir():
        return Path(name)
    root = Path(os.environ.get("PCAM_INPUT") or "/kaggle/input")
    for place, files in walk_mounts(root):
        is_it = place.name == name or place.name.startswith(WEIGHTS_SLUG.format(name))
        if is_it and "config.json" in files:
            return place
    return None
