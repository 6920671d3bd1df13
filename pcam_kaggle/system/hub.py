"""Models in the format of transformers, and their download from Hugging Face."""

import math
import os
from pathlib import Path

from .files import read_json

SCALE_FILE = "preprocessor_config.json"  # has the mean and deviation of the pixels
MODEL_FILES = ("*.json", "model*.safetensors", "*.weights.h5")


def download_model(repository: str, name: str = "") -> str:
    """Download a model from Hugging Face; Kaggle's secret HF_TOKEN is used only if it is gated.

    Args:
        repository: str, "owner/name".
        name: str, by which `weights` and `build.py weights` know the model, or "".

    Returns:
        str, the folder in Hugging Face's cache.

    Raises:
        OSError: it cannot be reached, is not there, or is gated and the token is missing or
            refused. Neither token nor address of a file is quoted.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    page = f"https://huggingface.co/{repository}"
    try:
        return snapshot_download(repository, allow_patterns=MODEL_FILES)
    except GatedRepoError as error:
        refused = f"{describe_refusal(error)} without a token that has access"
    except Exception as error:  # of requests or httpx, depending on the version
        raise OSError(
            f"weights: hf://{repository} cannot be downloaded. Expected: a model on {page}, and "
            f"the internet. Received: {describe_refusal(error)}. Try: check the name; turn on "
            "the kernel's internet; or attach a dataset that holds the model's folder"
        ) from None
    token, problem = read_token()
    if token:
        try:
            return snapshot_download(repository, allow_patterns=MODEL_FILES, token=token)
        except Exception as error:  # as above
            problem = f"{describe_refusal(error)} with the token of the secret HF_TOKEN"
    attach = "upload it as a private dataset of Kaggle, add that to dataset_sources in "
    attach += "kernel-metadata.json, then weights=NAME, the name of that dataset"
    if name:
        attach = f"make a private dataset of it: python build.py weights {name} FOLDER, then "
        attach += f"weights={name}"
    raise OSError(
        f"weights: hf://{repository} is gated. Expected: access to it. Received: "
        f"{problem or refused}. Try: accept the terms on {page}, then (1) save a token that may "
        "read gated models as the secret HF_TOKEN, attach it to this kernel in Kaggle's editor "
        "(Add-ons, Secrets) and run it from there (at home: hf auth login), or (2) download the "
        f"model's folder and {attach}"
    )


def describe_refusal(error: Exception) -> str:
    """The status of a failed request, or the kind of error; never its text."""
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else f"HTTP {response.status_code}"


def read_token() -> tuple[str, str]:
    """Read the secret HF_TOKEN that is attached to a kernel on Kaggle.

    Returns:
        Its text, or "" and what is wrong, which is "" at home.
    """
    if "KAGGLE_KERNEL_RUN_TYPE" not in os.environ:
        return "", ""
    try:
        from kaggle_secrets import UserSecretsClient

        token = (UserSecretsClient().get_secret("HF_TOKEN") or "").strip()
    except Exception as error:  # kaggle_secrets has no narrower class
        return "", f"no secret HF_TOKEN is attached ({type(error).__name__})"
    if not token or not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        return "", "the secret HF_TOKEN is empty or no token"  # an error of HTTP would quote it
    return token, ""


def read_pixel_scale(path: Path) -> tuple:
    """Read the mean and deviation of a model's training pixels, RGB from 0 to 1.

    Args:
        path: Path of the model's preprocessor_config.json.

    Returns:
        Two lists of three numbers.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        settings = read_json(path)
        scale = tuple([float(x) for x in settings[key]] for key in ("image_mean", "image_std"))
        is_scale = all(len(values) == 3 and all(map(math.isfinite, values)) for values in scale)
    except (ValueError, KeyError, TypeError):
        is_scale = False
    if not is_scale or min(scale[1]) <= 0:
        raise ValueError(
            f"{path}: expected a JSON object with image_mean and image_std, three numbers each, "
            "those of image_std above 0. Received: something else. Try: download the file again "
            "from the model's page"
        )
    return scale
