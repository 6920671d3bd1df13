"""A random vision transformer in the format of transformers, which loads within a second."""

import json

import numpy as np

DIM, PATCH, NATIVE = 16, 14, 28


def write_model(folder, num_registers=0, swiglu=True, model_type="dinov2"):
    """Write a random transformer of two blocks in the format of transformers."""
    random = np.random.default_rng(0)
    config = {
        "model_type": model_type,
        "image_size": NATIVE,
        "patch_size": PATCH,
        "hidden_size": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_ratio": 4,
        "layerscale_value": 1.0,
        "use_swiglu_ffn": swiglu,
        "hidden_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "num_register_tokens": num_registers,
    }
    hidden = (int(DIM * 4 * 2 / 3) + 7) // 8 * 8
    mlp = {"fc1": (DIM * 4, DIM), "fc2": (DIM, DIM * 4)}
    if swiglu:
        mlp = {"weights_in": (2 * hidden, DIM), "weights_out": (DIM, hidden)}
    shapes = {
        "embeddings.cls_token": (1, 1, DIM),
        "embeddings.mask_token": (1, DIM),
        "embeddings.position_embeddings": (1, 1 + (NATIVE // PATCH) ** 2, DIM),
        "embeddings.patch_embeddings.projection.weight": (DIM, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (DIM,),
        "layernorm.weight": (DIM,),
        "layernorm.bias": (DIM,),
    }
    if num_registers:
        shapes["embeddings.register_tokens"] = (1, num_registers, DIM)
    dense = {f"attention.attention.{n}": (DIM, DIM) for n in ("query", "key", "value")}
    dense["attention.output.dense"] = (DIM, DIM)
    dense.update({f"mlp.{name}": shape for name, shape in mlp.items()})
    for block in range(2):
        prefix = f"encoder.layer.{block}."
        for name, shape in dense.items():
            shapes[f"{prefix}{name}.weight"] = shape
            shapes[f"{prefix}{name}.bias"] = shape[:1]
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[prefix + name] = (DIM,)
        for scale in ("layer_scale1", "layer_scale2"):
            shapes[f"{prefix}{scale}.lambda1"] = (DIM,)
    from safetensors.numpy import save_file

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    weights = {
        name: random.normal(0, 0.3, shape).astype("float32") for name, shape in shapes.items()
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder
