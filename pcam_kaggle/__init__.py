"""What runs on Kaggle: the recipes and the library they are built on.

The public names are loaded on first use, so that settings can be read and checked at home
without a deep-learning framework.
"""

import importlib

_PUBLIC = {
    "run_recipe": "recipes",
    "open_run": "data.run",
    "load_patches": "data.run",
    "find_data": "system.paths",
    "load_labels": "data.competition",
    "load_sample": "data.competition",
    "load_images": "data.decode",
    "make_folds": "data.folds",
    "explore": "analysis.exploration",
    "build_model": "models.by_name",
    "Finetune": "methods.finetune",
    "LinearProbe": "methods.linear_probe",
    "predict": "inference.predict",
    "ensemble_predictions": "inference.ensemble",
    "check_submission": "inference.submission",
    "write_submission": "inference.submission",
    "run_study": "training.study",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__():
    return sorted(__all__)
