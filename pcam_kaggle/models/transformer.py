"""A frozen pathology transformer as a Keras model.

The default is Midnight, a DINOv2 ViT-g/14 that was trained on the slides of TCGA (Karasikov et
al. 2025). It is too large to fine-tune here.
"""

import hashlib
import json
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..data.decode import IMAGE_SHAPE
from ..system.paths import walk_mounts
from .build import resize_center
from .transformer_settings import TransformerSettings

MODEL_TYPES = ("dinov2", "dinov2_with_registers", "vit")
PIXEL_SCALE = (0.5, 0.5)  # mean and deviation of RGB from 0 to 1: Midnight's


def build_transformer(settings: TransformerSettings, dtype: str = "float32") -> keras.Model:
    """The frozen transformer of the settings, as `load_backbone` returns it."""
    return load_backbone(settings.weights, settings.input_size, settings.crop_size, dtype)


def load_backbone(
    weights: str, input_size: int = 224, crop_size: int = 96, dtype: str = "float32"
) -> keras.Model:
    """Load the frozen transformer, with its preprocessing and pooling.

    Args:
        weights: str, "hf://owner/name", or a folder in the format of transformers (config.json
            and model.safetensors) or of keras-hub: a path, or the name of one attached to the
            kernel. Its model type is one of MODEL_TYPES.
        input_size: int, side in pixels to which the patch is resized; position embeddings of
            DINOv2 are interpolated to it; a ViT accepts only its own size.
        crop_size: int, even, side in pixels of the center crop that is resized.
        dtype: str, of weights and arithmetic: "float32", "float16" or "bfloat16".

    Returns:
        keras.Model: uint8 (b, 96, 96, 3) -> float32 (b, 2 * dim): the class token and the
        mean of the patch tokens, concatenated.

    Raises:
        ImportError: keras-hub is not installed.
        FileNotFoundError: there is no such folder.
        ValueError: the model is of another type or does not accept the input_size.
    """
    preset = weights if "://" in weights else str(find_folder(weights))
    try:
        import keras_hub
        from safetensors import SafetensorError
    except ImportError as error:
        raise ImportError(
            f"foundation models need keras-hub (Kaggle has it). Received: {error}. "
            'Try: python -m pip install -e ".[foundation]"'
        ) from error
    try:
        backbone = keras_hub.models.Backbone.from_preset(
            preset, image_shape=(input_size, input_size, 3), dtype=dtype
        )
    except (ValueError, TypeError, OSError, KeyError, SafetensorError) as error:
        raise ValueError(
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
    mean, deviation = read_pixel_scale(preset)
    tokens = ops.cast(backbone((pixels / 255.0 - mean) / deviation), "float32")
    first_patch = 1 + getattr(backbone, "num_register_tokens", 0)
    patches = ops.mean(tokens[:, first_patch:], axis=1)
    return keras.Model(
        inputs, ops.concatenate([tokens[:, 0], patches], axis=-1), name=Path(weights).name
    )


def read_pixel_scale(preset: str) -> tuple:
    """Read the mean and deviation of a model's training pixels (RGB from 0 to 1).

    They are in preprocessor_config.json beside its weights; Midnight's if there is none.

    Returns:
        Two float32 arrays (3,) or numbers.
    """
    name = "preprocessor_config.json"
    path = Path(preset) / name
    if preset.startswith("hf://"):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = Path(hf_hub_download(preset.removeprefix("hf://"), name))
        except EntryNotFoundError:
            return PIXEL_SCALE
    if not path.is_file():
        return PIXEL_SCALE
    settings = json.loads(path.read_text("utf-8"))
    scale = (settings["image_mean"], settings["image_std"])
    return tuple(np.array(values, "float32") for values in scale)


def find_transformer_revision(settings: TransformerSettings) -> str:
    """Say which version of its weights `build_transformer` has loaded.

    Returns:
        str, the commit of a snapshot in Hugging Face's cache, or the first ten hex digits of the
        sha256 of a folder's files of weights; "unknown" for another place or without a snapshot.
    """
    weights = settings.weights
    if "://" not in weights:
        return hash_weights(find_folder(weights))
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


def find_folder(name: str) -> Path:
    """Find a folder by its path, or by its name among the kernel's inputs.

    Raises:
        FileNotFoundError: there is neither; names the searched folder.
    """
    root = Path(os.environ.get("PCAM_INPUT") or "/kaggle/input")
    attached = [place for place, _ in walk_mounts(root) if place.name == name]
    found = [Path(name)] * Path(name).is_dir() + attached
    if not found:
        raise FileNotFoundError(
            "expected a folder that exists here, or one of that name in a dataset or "
            f"model attached to the kernel under {root}. Received: {name!r}"
        )
    return found[0]
