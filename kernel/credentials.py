"""Kaggle's credentials at home: where they are, and whose."""

import json
import os
from pathlib import Path


def find_owner() -> str | None:
    """The Kaggle user name of the credentials at hand, or None.

    Reads KAGGLE_USERNAME, else kaggle.json where Kaggle's client looks for it, else
    the credentials.json of `kaggle auth login`; keeps nothing but the name.

    Raises:
        ValueError: a credentials file that is not JSON; names the file only.
    """
    if os.environ.get("KAGGLE_USERNAME"):
        return os.environ["KAGGLE_USERNAME"]
    oauth = Path.home() / ".kaggle" / "credentials.json"
    for path in (find_credentials_folder() / "kaggle.json", oauth):
        if path.is_file():
            try:
                owner = json.loads(path.read_text("utf-8"))["username"]
            except (ValueError, KeyError, TypeError):
                # Without the cause: its text would quote the file.
                raise ValueError(
                    f"{path}: expected the JSON of a Kaggle credential with a "
                    "username. Try: download it again from kaggle.com/settings."
                ) from None
            if owner:
                return owner
    return None


def find_credentials_folder() -> Path:
    """Where Kaggle's client looks for kaggle.json."""
    home = Path.home() / ".kaggle"
    xdg = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folder = os.environ.get("KAGGLE_CONFIG_DIR")
    return Path(folder) if folder else home if home.is_dir() else xdg / "kaggle"
