"""A vision transformer of type DINOv2, all of it trained."""

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from .build import build_network
from .transformer import find_pixel_scale, load_backbone, locate_model
from .vit_settings import VitSettings

BACKBONE = "dinov2"  # the name of the transformer within the network


def build_vit(settings: VitSettings) -> keras.Model:
    """A DINOv2 with its weights and a new last layer, as `build_network` returns it.

    Raises:
        ImportError, OSError, ValueError: as `load_backbone`, or the model is of
            another type.
    """
    return build_network("vit", vit_body, settings, has_base=True)


def vit_body(inputs: KerasTensor, settings: VitSettings) -> KerasTensor:
    """The transformer up to the last layer: class token and mean of the patch tokens, dropout.

    Args:
        inputs: float32 (b, side, side, 3), 0 to 255.
        settings: weights, sizes and dropout rate.
    """
    policy = keras.config.dtype_policy().name
    source = load_backbone(settings.weights, settings.input_size, settings.crop_size, policy)
    source = next(layer for layer in source.layers if hasattr(layer, "patch_size"))
    if not hasattr(source, "num_register_tokens"):
        raise ValueError(
            "weights: only transformers of type dinov2 or dinov2_with_registers can be tuned. "
            f"Received: weights={settings.weights!r}, a {type(source).__name__}. "
            "Try: weights=dinov2-small"
        )
    backbone = copy_backbone(source)
    scales = find_pixel_scale(locate_model(settings.weights))
    center, deviation = (np.broadcast_to(values, 3) for values in scales)
    scale, offset = (1 / (255 * deviation)).tolist(), (-center / deviation).tolist()
    pixels = layers.Rescaling(scale, offset, dtype="float32")(inputs)
    tokens = backbone({"images": pixels})
    patches = tokens[:, 1 + backbone.num_register_tokens :]
    mean = layers.GlobalAveragePooling1D(dtype="float32")(patches)
    features = layers.Concatenate(dtype="float32")([tokens[:, 0], mean])
    return layers.Dropout(settings.dropout_rate, dtype="float32")(features)


def copy_backbone(source: keras.Model) -> keras.Model:
    """Copy a DINOV2Backbone so that each of its weights is trained, and saved as trained.

    keras-hub trains position embeddings of the size of the input, but saves those of the size of
    pretraining, which it resizes in both directions. Both are of the size of the input here; see
    `keep_positions`. The copy lacks the mask token, which only pretraining uses, and stochastic
    depth: keras-hub's scales paths by random factors and drops none.
    """
    changes = {"use_mask_token": False, "drop_path_rate": 0.0, "trainable": True}
    changes |= {"position_embedding_shape": source.image_shape[:2], "name": BACKBONE}
    backbone = type(source).from_config({**source.get_config(), **changes})
    for part in ("encoder", "layernorm"):
        getattr(backbone, part).set_weights(getattr(source, part).get_weights())
    ours, theirs = backbone.embeddings, source.embeddings
    ours.patch_embeddings.set_weights(theirs.patch_embeddings.get_weights())
    ours.cls_token.assign(theirs.cls_token)
    if backbone.num_register_tokens:
        ours.register_tokens.assign(theirs.register_tokens)
    ours.interpolated_position_embeddings.assign(theirs.interpolated_position_embeddings)
    keep_positions(backbone)
    return backbone


def keep_positions(backbone: keras.Model) -> None:
    """Copy the trained position embeddings to those that keras-hub saves and loads."""
    embeddings = backbone.embeddings
    # A copy: JAX refuses to train with two variables in one buffer.
    embeddings.position_embeddings.assign(ops.copy(embeddings.interpolated_position_embeddings))
