"""Models from Hugging Face, gated ones with a token from Kaggle's secrets."""

import os

MODEL_FILES = ("*.json", "model*.safetensors", "*.weights.h5")


def download_model(repository: str) -> str:
    """Download a model from Hugging Face; Kaggle's secret HF_TOKEN is used only if it is gated.

    Returns:
        str, the folder in Hugging Face's cache.

    Raises:
        ValueError: it cannot be reached, is not there, or is gated and the token is missing or
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
        raise ValueError(
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
    raise ValueError(
        f"weights: hf://{repository} is gated. Expected: access to it. Received: "
        f"{problem or refused}. Try: accept the terms on {page}, then (1) save a token that may "
        "read gated models as the secret HF_TOKEN, attach it to this kernel in Kaggle's editor "
        "(Add-ons, Secrets) and run it from there (at home: hf auth login), or (2) download the "
        "model's folder and make a private dataset of it: python build.py weights NAME FOLDER"
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
