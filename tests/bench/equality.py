"""Compare our features with those of transformers' own models, on random weights.

    python -m pip install -e ".[foundation]" torch transformers
    python tests/bench/equality.py

For each type of model: the largest difference of the class token and of the mean of the
patch tokens, beside their spread, at the size that the model was made for and, where it
takes another, at that.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import torch  # noqa: E402
import transformers  # noqa: E402

from pcam_kaggle.models.transformer import load_backbone  # noqa: E402

SHARED = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": 14,
    "image_size": 224,
}
MODELS = {
    "dinov2 with SwiGLU (Midnight's kind)": (
        transformers.Dinov2Model,
        transformers.Dinov2Config(**SHARED, use_swiglu_ffn=True),
        (224, 112),
    ),
    "dinov2": (transformers.Dinov2Model, transformers.Dinov2Config(**SHARED), (224,)),
    "dinov2_with_registers": (
        transformers.Dinov2WithRegistersModel,
        transformers.Dinov2WithRegistersConfig(**SHARED, num_register_tokens=4),
        (224, 112),
    ),
    "vit": (
        transformers.ViTForImageClassification,
        transformers.ViTConfig(**{**SHARED, "patch_size": 16, "intermediate_size": 96}),
        (224,),
    ),
}


def main():
    images = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)
    print("| model | pixels | largest difference | deviation of the features |")
    print("|---|---|---|---|")
    for name, (kind, config, sizes) in MODELS.items():
        torch.manual_seed(0)
        model = kind(config).eval()
        base = getattr(model, "vit", model)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            for size in sizes:
                ours = np.asarray(load_backbone(folder, size)(images))
                theirs = describe(base, images, size)
                difference = np.abs(ours - theirs).max()
                print(f"| {name} | {size} | {difference:.1e} | {theirs.std():.2f} |")


def describe(model, images, size):
    """Class token and mean of the patch tokens, by transformers: float32 (n, 2 dim)."""
    pixels = torch.tensor(images).permute(0, 3, 1, 2).float()
    pixels = torch.nn.functional.interpolate(
        pixels, (size, size), mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        tokens = model(pixel_values=(pixels / 255 - 0.5) / 0.5).last_hidden_state
    first_patch = 1 + getattr(model.config, "num_register_tokens", 0)
    return np.concatenate(
        [tokens[:, 0].numpy(), tokens[:, first_patch:].mean(dim=1).numpy()], axis=1
    )


if __name__ == "__main__":
    main()
