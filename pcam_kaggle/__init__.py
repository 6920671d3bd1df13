"""Trains the kernel: what runs on Kaggle, and nothing else.

The public names are loaded on first use, so that settings can be read, listed and
checked at home without a deep-learning framework.
"""

import importlib

_PUBLIC = {
    "Config": "config",
    "get_config": "recipes",
    "list_architectures": "config",
    "list_recipes": "recipes",
    "find_data": "paths",
    "load_labels": "data",
    "load_sample": "data",
    "load_images": "data",
    "make_folds": "folds",
    "explore": "exploration",
    "build_model": "models",
    "train_fold": "train",
    "predict": "prediction",
    "ensemble_predictions": "ensemble",
    "check_submission": "submission",
    "write_submission": "submission",
    "run_experiment": "experiment",
    "run_study": "tuning",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__():
    return sorted(__all__)
