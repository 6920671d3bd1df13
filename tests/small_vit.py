"""Fine-tuning of a small random vision transformer on the small task."""

import dataclasses

from small_task import make_settings
from small_transformer import write_model

from pcam_kaggle.augmentation.flips import augment_patches
from pcam_kaggle.methods.finetune_vit import FinetuneVit
from pcam_kaggle.models.vit import build_vit
from pcam_kaggle.models.vit_settings import VitSettings

SIZE = 42  # nine patches; the position embeddings are those of four


def make_weights(folder, **options):
    """A transformer of two blocks in the format of transformers, and how its pixels are scaled."""
    write_model(folder, **{"swiglu": False, "num_registers": 2, **options})
    scale = '{"image_mean": [0.5, 0.4, 0.6], "image_std": [0.2, 0.25, 0.3]}'
    (folder / "preprocessor_config.json").write_text(scale, "utf-8")
    return folder


def make_network_settings(folder, **changes):
    """The settings of the network."""
    return VitSettings(weights=str(folder), **{"input_size": SIZE, **changes})


def make_method(folder, network=None, **overrides):
    """All that has a state: averaged weights, clipping, warm-up, dropout, jitter."""
    everything = {"learning_rate": 2e-3, "ema_momentum": 0.8, "gradient_clip": 1.0}
    settings = make_settings(**{**everything, "stain_jitter": 0.05, **overrides})
    return FinetuneVit(
        build_vit,
        augment_patches,
        network=make_network_settings(folder, **(network or {})),
        augmentation=settings.augmentation,
        training=dataclasses.replace(settings.training, weight_decay=0.05),
    )
