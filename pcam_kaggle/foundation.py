"""A pathology foundation model: its features once, frozen, then heads in seconds.

A vision transformer that saw millions of patches of other tissue (Midnight: DINOv2
ViT-g/14 on TCGA, Karasikov et al. 2025) describes a patch better than a network trained
on this competition alone can. It is too large to tune here, and need not be: it passes
over all patches once, and its description of each is kept, from which a linear model
learns the label.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers, ops
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from .augment import test_time_views
from .batches import Batches
from .data import IMAGE_SHAPE
from .device import choose_jit_compile
from .gradcam import differentiate, weigh_maps
from .models import resize_centre
from .paths import find_attached, find_folder, write_beside
from .train import EpochLog, make_callbacks, make_optimizer, split_fold

MODEL_TYPES = ("dinov2", "dinov2_with_registers", "vit")
PIXEL_SCALE = (0.5, 0.5)  # mean and deviation of RGB from 0 to 1: Midnight's
IMAGES_PER_PART = 4_096  # features are written in parts: what a crash costs at most
VIEWS_PER_STEP = 64
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # 1 / L2 penalty, chosen within training
HIDDEN_UNITS = 256


def load_backbone(weights, input_size=224, crop_size=96, dtype="float32"):
    """The frozen transformer, with its preprocessing and pooling.

    Args:
        weights: str, "hf://owner/name", or a folder in the format of transformers
            (config.json and model.safetensors) or of keras-hub: a path, or the name of
            one attached to the kernel. Its model type is one of MODEL_TYPES.
        input_size: int, side in pixels to which the patch is resized; position
            embeddings of DINOv2 are interpolated to it, a ViT takes its own size only.
        crop_size: int, even, side in pixels of the centre that is seen at all.
        dtype: str, of weights and arithmetic: "float32", "float16" or "bfloat16".

    Returns:
        keras.Model: uint8 (b, 96, 96, 3) -> float32 (b, 2 * dim): the class token
        beside the mean of the patch tokens.

    Raises:
        ImportError: keras-hub is not installed.
        FileNotFoundError: no such folder.
        ValueError: another kind of model, or an input_size that it cannot take.
    """
    preset = weights if "://" in weights else str(find_folder(weights))
    try:
        import keras_hub
        from safetensors import SafetensorError
    except ImportError as error:
        raise ImportError(
            "foundation models need keras-hub: python -m pip install -e "
            f'".[foundation]" (Kaggle has it). Received: {error}'
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
    backbone.trainable = False
    inputs = keras.Input(IMAGE_SHAPE, dtype="uint8")
    pixels = resize_centre(ops.cast(inputs, "float32"), crop_size, input_size)
    mean, deviation = read_pixel_scale(preset)
    tokens = ops.cast(backbone((pixels / 255.0 - mean) / deviation), "float32")
    first_patch = 1 + getattr(backbone, "num_register_tokens", 0)
    patches = ops.mean(tokens[:, first_patch:], axis=1)
    return keras.Model(inputs, ops.concatenate([tokens[:, 0], patches], axis=-1))


def read_pixel_scale(preset):
    """Mean and deviation of the pixels (RGB from 0 to 1) that a model was trained on.

    From the preprocessor_config.json beside its weights; Midnight's if there is none.

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


def extract_features(
    backbone,
    images,
    tta,
    name,
    folder,
    fingerprint="",
    attached=None,
    budget=None,
    share=(0, 1),
):
    """The features of every image, averaged over its views.

    For a linear head the average of the features is the average of the log-odds, so
    that one row per image serves all views. Written in parts as they are made; parts
    that are there already, or attached to the kernel, are taken.

    Args:
        backbone: keras.Model, as `load_backbone` returns it.
        images: uint8 array (n, 96, 96, 3).
        tta: "none" (1 view), "flip" (4) or "dihedral" (8).
        name: str, of the set of images.
        folder: Path, for the parts.
        fingerprint: str, of the run; with `name` it begins the parts' names.
        attached: folder that stands in for PCAM_INPUT, or None.
        budget: Budget, or None for all the time there is.
        share: (number, count): of every `count` parts the one of that number.

    Returns:
        float16 array (n, dim), of the parts of the share.

    Raises:
        ValueError: there is no time for all; after the first part, which is kept.
        FloatingPointError: features that are not finite in this precision.
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
                    "the features are not finite numbers. Expected: precision=float32 "
                    f"or mixed_bfloat16. Received: {name}, images from {start} on"
                )
            with write_beside(path) as partial, open(partial, "wb") as file:
                np.save(file, part)
            num_left = (len(images) - positions[-1] - 1) / len(positions) / share[1]
            needed = num_left * (time.monotonic() - started)
            if budget and needed > budget.left():
                raise budget.refuse(f"the features of {name}", needed)
        parts.append(np.load(found[0] if found else path))
    return np.concatenate(parts) if parts else np.zeros((0, 0), "float16")


def train_head(config, features, labels, folds, fold, seed):
    """Train one head on the features of all folds but one.

    Args and history as for `train_fold`, with float16 features (n, dim) for images.
    head="logistic" is logistic regression with the L2 penalty chosen by 3-fold
    cross-validation within the training folds; head="mlp" one hidden layer, trained
    as the settings say.

    Returns:
        The head, for `apply_head`, and its history.
    """
    train, valid = split_fold(folds, fold)
    fit = fit_logistic if config.head == "logistic" else fit_mlp
    head, history = fit(config, features, labels, train, valid, seed)
    history.insert(0, "seed", seed)
    history.insert(0, "fold", fold)
    return head, history


def apply_head(head, features, positions=None):
    """The probability of tumour: float32 array (m,)."""
    chosen = features if positions is None else features[positions]
    if isinstance(head, keras.Model):
        return head.predict(chosen, batch_size=4096, verbose=0)[:, 0]
    return head.predict_proba(chosen.astype("float32"))[:, 1].astype("float32")


def explain_tokens(backbone, slopes, images, predictions, crop_size=96):
    """Where each patch's answer came from, as `explain`, by the tokens of its places.

    Args:
        backbone: keras.Model, as `load_backbone` returns it.
        slopes: float array (n, dim), as `differentiate_head` returns it.
        images: uint8 array (n, 96, 96, 3).
        predictions: float array (n,), of the head.
        crop_size: int, side of the centre that the backbone sees.

    Returns:
        float16 array (n, 96, 96), 0 to 1.
    """
    tokens = [op.output for op in backbone.operations if op.output.ndim == 3][-1]
    tokens = ops.convert_to_numpy(keras.Model(backbone.inputs[0], tokens)(images))
    side = int(np.sqrt(tokens.shape[1] - 1))  # after the class and register tokens
    patches = tokens[:, -(side**2) :].reshape(len(images), side, side, -1)
    of_mean = slopes[:, None, None, -patches.shape[-1] :]
    return weigh_maps(patches, of_mean, predictions, crop_size)


def differentiate_head(head, features):
    """How the log-odds rise with each feature (n, dim): float32 array (n, dim)."""
    features = features.astype("float32")
    if not isinstance(head, keras.Model):
        scaler, regression = head[0], head[-1]
        slopes = (regression.coef_ / scaler.scale_).astype("float32")
        return np.tile(slopes, (len(features), 1))
    before, last = keras.Model(head.inputs[0], head.layers[-1].input), head.layers[-1]
    return differentiate(lambda x: ops.matmul(before(x), last.kernel), features)


def fit_logistic(config, features, labels, train, valid, seed):
    """Logistic regression on standardised features, and its one row of history."""
    regression = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=StratifiedKFold(3, shuffle=True, random_state=seed),
        scoring="roc_auc",
        max_iter=1000,
    )
    head = make_pipeline(StandardScaler(), regression)
    head.fit(features[train].astype("float32"), labels[train])
    row = {"epoch": 1}
    for prefix, positions in (("", train), ("val_", valid)):
        predictions, truth = apply_head(head, features, positions), labels[positions]
        row[f"{prefix}accuracy"] = accuracy_score(truth, predictions > 0.5)
        row[f"{prefix}auc"] = roc_auc_score(truth, predictions)
        row[f"{prefix}loss"] = log_loss(truth, predictions, labels=[0, 1])
    return head, pd.DataFrame([row])


def fit_mlp(config, features, labels, train, valid, seed):
    """One hidden layer on standardised features, trained by the settings."""
    keras.utils.set_random_seed(seed)
    scale = layers.Normalization()
    scale.adapt(features[train].astype("float32"))
    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            scale,
            layers.Dropout(config.dropout_rate),
            layers.Dense(HIDDEN_UNITS, activation="relu"),
            layers.Dropout(config.dropout_rate),
            layers.Dense(1, activation="sigmoid", dtype="float32"),
        ]
    )
    batches = Batches(features, train, config.batch_size, labels, shuffle_seed=seed)
    head.compile(
        optimizer=make_optimizer(config, num_steps=config.epochs * len(batches)),
        loss=keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing),
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
        jit_compile=choose_jit_compile(),
    )
    log = EpochLog(f"head seed {seed}", config.epochs)
    head.fit(
        batches,
        validation_data=Batches(features, valid, 4096, labels),
        epochs=config.epochs,
        callbacks=[log, *make_callbacks(config)],
        verbose=0,
    )
    return head, pd.DataFrame(log.rows)
