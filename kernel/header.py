"""The kernel's first screen: what it is, its result, how to fork it, its settings."""

import dataclasses
import json
import pathlib
import string
import textwrap

from pcam_kaggle.config import ARCHITECTURES, Config
from pcam_kaggle.recipes import RECIPES, get_config

HEADER_NAMES = ("BUILD_ID", "CONFIG", "OVERRIDES")
SCREEN = string.Template(
    """\
# %% [markdown]
# # $title
#
$what
#
$method
#
$result
#
# **To fork:** Copy & Edit, change a line of OVERRIDES below, Save Version (GPU T4 x2,
# the competition as input). CONFIG holds every setting of the recipe and its meaning;
# both are checked before anything runs. This file was built from the package
# pcam_kaggle, whose modules stand below as they are, in the order the data flows. It
# runs at home too: PCAM_INPUT and PCAM_WORKING stand in for Kaggle's two folders.
#
# **Contents** (line, section)
#
$contents

# %% Settings
import logging
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow's errors reach us as exceptions
os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # GPUs are shared with the workers
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
logging.getLogger("tensorflow").setLevel("ERROR")  # not its advice on retracing

BUILD_ID = "$build_id"  # sha256 over this text, ten digits; run.json repeats it

CONFIG = $config

# For example {"folds": (0,), "epochs": 3}
OVERRIDES = $overrides
"""
)


def render_header(recipe, overrides, contents, build_id=""):
    """The header's text.

    Args:
        recipe: str, the name of a recipe.
        overrides: dict of typed settings.
        contents: list of (line number, section, sentence).
        build_id: str, or "" for the text over which the id is computed.
    """
    config = get_config(recipe, overrides)
    return SCREEN.substitute(
        title=make_title(recipe, overrides),
        what=comment(RECIPES[recipe].text),
        method=comment("**Method.** " + describe_method(config)),
        result=comment("**Result.** " + RECIPES[recipe].describe_result()),
        contents="\n".join(f"#     {n:>5}  {name:<14} {s}" for n, name, s in contents),
        build_id=build_id,
        config=render_config(get_config(recipe)),
        overrides=render_overrides(overrides),
    )


def make_title(recipe, overrides=None):
    """The kernel's title: some folds of a recipe, a study of it, are kernels apart."""
    folds = (overrides or {}).get("folds", ())
    words = ["PCam", *recipe.split("_"), *["folds"] * bool(folds), *map(str, folds)]
    if (overrides or {}).get("trials") and "study" not in words:
        words.append("study")
    return " ".join(words)


def make_slug(recipe, overrides=None):
    """What Kaggle makes of the title; the script's name."""
    return make_title(recipe, overrides).lower().replace(" ", "-")


def describe_method(config):
    """What a run of these settings does, in a paragraph."""
    architecture = ARCHITECTURES[config.architecture]
    weights = {"none": "random weights", "imagenet": "ImageNet weights"}
    file_name = pathlib.PurePath(config.weights).name
    folds = (
        f"{len(config.folds)} of {config.num_folds}"
        if config.folds
        else config.num_folds
    )
    images = f"{config.num_images:,} images" if config.num_images else "all images"
    views = {"none": "as it is", "flip": "in 4 flipped views", "dihedral": "in 8 views"}
    networks = (
        "one network" if config.num_seeds == 1 else f"{config.num_seeds} networks"
    )
    output = {"probability": "probabilities", "hard": "hard labels (above 0.5)"}
    return (
        f"{config.architecture} ({architecture.text}; {architecture.num_parameters:,} "
        f"parameters) starts from {weights.get(config.weights, file_name)}. "
        f"Stratified folds of {images}; {networks} for each of {folds} folds, trained "
        f"for {config.epochs} epochs with {config.optimizer} "
        f"(learning rate {config.learning_rate:g}, {config.schedule}), batches of "
        f"{config.batch_size} and {config.augmentation} augmentation. Each predicts "
        f"its own fold and every test patch {views[config.tta]}; the {config.ensemble} "
        f"over networks is submitted as {output[config.labels]}."
    )


def render_config(config):
    """CONFIG as a dict literal, one setting a line, each with its meaning."""
    lines = ["{"]
    for field in dataclasses.fields(Config):
        choices = field.metadata["choices"]
        text = field.metadata["text"] + (f": {', '.join(choices)}" if choices else "")
        value = render_value(getattr(config, field.name))
        lines.append(f'    "{field.name}": {value},  # {text}')
    return "\n".join([*lines, "}"])


def render_overrides(overrides):
    """OVERRIDES as a dict literal."""
    items = [f'"{name}": {render_value(value)}' for name, value in overrides.items()]
    return "{" + ", ".join(items) + "}"


def render_value(value):
    """A setting as a Python literal, text in double quotes as in the package."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def comment(text):
    """Text as lines of comment."""
    return textwrap.fill(text, 88, initial_indent="# ", subsequent_indent="# ")
