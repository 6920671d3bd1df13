"""Named experiments: small differences from the default settings, and results."""

import dataclasses

from .config import Config, unknown


@dataclasses.dataclass(frozen=True)
class Range:
    """The values of a setting from `low` to `high`, in equal steps of its logarithm
    where `log` says so."""

    low: float
    high: float
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A named experiment: its difference from Config's defaults, and what it gives.

    `gpu_hours` is about what a run takes on Kaggle's GPU: an estimate, not measured.
    `space` is what a study tries: of each setting a Range, a tuple of choices, or a
    dict of named choices, each of several settings.
    """

    text: str
    expected: str
    time: str
    hardware: str
    command: str
    gpu_hours: float
    settings: dict
    space: dict

    def describe_result(self):
        """What was measured, how long it took, on what, and with which command."""
        return (
            f"{self.expected} Time: {self.time}. Hardware: {self.hardware}. "
            f"Command: {self.command}"
        )


SEED_SETTINGS = {
    "num_images": 12_000,
    "num_folds": 5,
    "folds": (0,),
    "augmentation": "affine",
    "epochs": 20,
    "batch_size": 96,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "early_stopping_patience": 5,
    "plateau_patience": 3,
    "tta": "none",
}

# What made networks from ImageNet better on unseen slides, for three seeds of three; on
# a laboratory that was not trained on they cost, in one seed of one.
OTHER_STAINS = {"stain_jitter": 0.1, "brightness": 0.1, "contrast": 0.1}

SCRATCH_SPACE = {
    "learning_rate": Range(3e-4, 1e-2, log=True),
    "batch_size": (32, 64, 128),
    "weight_decay": Range(1e-4, 0.1, log=True),
    "dropout_rate": Range(0.0, 0.5),
    "label_smoothing": Range(0.0, 0.1),
    "stain_jitter": Range(0.0, 0.15),
}

TUNED_SPACE = {
    "learning_rate": Range(5e-5, 1e-3, log=True),
    "batch_size": (32, 64, 128),
    "weight_decay": Range(1e-4, 0.1, log=True),
    "dropout_rate": Range(0.0, 0.6),
    "label_smoothing": Range(0.0, 0.1),
    "stain_jitter": Range(0.0, 0.2),
    "brightness": Range(0.0, 0.2),
    "contrast": Range(0.0, 0.2),
}

# The seed's own questions: "batchsize -> 96 -> 128 -> 196", "epoch -> 10 -> 20".
SEED_SPACE = {"batch_size": (96, 128, 196), "epochs": (10, 20)}

RECIPES = {
    "demo": Recipe(
        text="A small network on the shipped patches: the whole path in two minutes, "
        "without a GPU, an account or a download.",
        expected="AUC 0.92 public and 0.92 private in the sandbox, on 200 shipped test "
        "patches each, 0.90 out of fold; not measured on Kaggle yet.",
        time="75 to 145 s",
        hardware="2 CPU cores",
        command="python build.py demo",
        gpu_hours=0.1,
        settings={
            "architecture": "small_cnn",
            "num_folds": 3,
            "epochs": 25,
            "batch_size": 32,
            "learning_rate": 4e-3,
            "steps_per_execution": 8,
            "tta": "flip",
        },
        space=SCRATCH_SPACE,
    ),
    "seed_my_vgg16": Recipe(
        text="The seed's first system as published: its VGG16 from scratch on 9,600 "
        "images, validated on 2,400. Add labels=hard for its very submission.",
        expected="The seed's leaderboard with hard labels: 0.7226 private, 0.7717 "
        "public. Not measured on Kaggle yet.",
        time="75 s an epoch in the seed",
        hardware="one GPU, which the seed does not name",
        command="python build.py train seed_my_vgg16",
        gpu_hours=0.4,
        settings={
            **SEED_SETTINGS,
            "architecture": "my_vgg16",
            "learning_rate": 1e-3,
        },
        space=SEED_SPACE,
    ),
    "seed_resnet34": Recipe(
        text="The seed's second system as published: the network it calls ResNet34, on "
        "9,600 images, validated on 2,400. Add labels=hard for its very submission.",
        expected="The seed's leaderboard with hard labels: 0.7827 private, 0.8122 "
        "public. At home, on 12,000 PCam patches, AUC on 2,907 of other slides: 0.896 "
        "with probabilities, 0.753 with hard labels; not measured on Kaggle yet.",
        time="61 minutes, 19 epochs",
        hardware="2 CPU cores, busy",
        command="python build.py train seed_resnet34",
        gpu_hours=0.3,
        settings={
            **SEED_SETTINGS,
            "architecture": "resnet34_seed",
            "learning_rate": 1e-2,
        },
        space=SEED_SPACE,
    ),
    "seed_vgg16": Recipe(
        text="The seed's third system as published: ImageNet's VGG16 trained from "
        "block5_conv1 on, on 9,600 images, validated on 2,400. Add labels=hard for its "
        "very submission.",
        expected="The seed's leaderboard with hard labels: 0.8210 private, 0.8284 "
        "public, the best of six. Not measured on Kaggle yet.",
        time="45 s an epoch in the seed",
        hardware="one GPU, which the seed does not name",
        command="python build.py train seed_vgg16",
        gpu_hours=0.4,
        settings={
            **SEED_SETTINGS,
            "architecture": "vgg16",
            "weights": "imagenet",
            "learning_rate": 1e-3,
        },
        space=SEED_SPACE,
    ),
    "seed_study": Recipe(
        text="The seed's questions as a study: its three networks, batches of 96, 128 "
        "and 196, 10 and 20 epochs, each on the same 9,600 images, validated on the "
        "same 2,400.",
        expected="Not measured yet. At home, the study of seed_resnet34 alone on 2,400 "
        "patches of 48 pixels: AUC 0.64 to 0.74, without an order.",
        time="62 minutes for those six trials",
        hardware="1 of 2 CPU cores, busy",
        command="python build.py tune seed_study",
        gpu_hours=6.0,
        settings={
            **SEED_SETTINGS,
            "architecture": "my_vgg16",
            "learning_rate": 1e-3,
            "trials": 18,
        },
        space={
            "network": {
                "my_vgg16": {"architecture": "my_vgg16", "learning_rate": 1e-3},
                "resnet34": {"architecture": "resnet34_seed", "learning_rate": 1e-2},
                "vgg16": {
                    "architecture": "vgg16",
                    "weights": "imagenet",
                    "learning_rate": 1e-3,
                },
            },
            **SEED_SPACE,
        },
    ),
    "resnet34": Recipe(
        text="The true ResNet-34 from scratch on all images: the network that the seed "
        "meant, with a modern recipe.",
        expected="Not measured yet.",
        time="not measured",
        hardware="a GPU",
        command="python build.py train resnet34",
        gpu_hours=2.0,
        settings={"architecture": "resnet34", "learning_rate": 1e-3, "epochs": 8},
        space=SCRATCH_SPACE,
    ),
    "scratch": Recipe(
        text="A D4-equivariant DenseNet of 192,465 parameters from random weights on "
        "all images: no download, one view at test time.",
        expected="At home, one fold, 8 epochs of the centres (64 pixels) of 15,987 "
        "PCam patches: AUC 0.916 on 2,907 of other slides, 0.942 out of fold; not "
        "measured on Kaggle yet.",
        time="29 minutes",
        hardware="2 CPU cores, shared with other work",
        command="python build.py train scratch num_folds=10 folds=0 crop_size=64 "
        "input_size=64 stain_jitter=0.05",
        gpu_hours=6.0,
        settings={
            "architecture": "p4m_densenet",
            "learning_rate": 2e-3,
            "epochs": 8,
            "augmentation": "none",
            "tta": "none",
        },
        space=SCRATCH_SPACE,
    ),
    "densenet121": Recipe(
        text="ImageNet's DenseNet-121 with all layers tuned on all images: the one to "
        "start from.",
        expected="At home, one fold, 3 epochs, 17,253 PCam patches, 4 views: AUC 0.954 "
        "on 2,907 of other slides, 0.982 out of fold; not measured on Kaggle yet.",
        time="36 minutes",
        hardware="2 CPU cores, shared with other work",
        command="python build.py train densenet121 num_folds=10 folds=0 tta=flip "
        "weights=FILE",
        gpu_hours=3.0,
        settings={
            "architecture": "densenet121",
            "weights": "imagenet",
            **OTHER_STAINS,
            "epochs": 3,
        },
        space=TUNED_SPACE,
    ),
    "fast": Recipe(
        text="One DenseNet-121 on one fold, all layers tuned, in float16 where the GPU "
        "has it: a score within the hour.",
        expected="At home in float32, 3 epochs, 17,253 PCam patches, 4 views: AUC "
        "0.954 on 2,907 of other slides, 0.982 out of fold; not measured on Kaggle "
        "yet. About half an hour on a T4, estimated.",
        time="36 minutes",
        hardware="2 CPU cores, shared with other work",
        command="python build.py train fast num_folds=10 epochs=3 tta=flip "
        "weights=FILE",
        gpu_hours=0.5,
        settings={
            "architecture": "densenet121",
            "weights": "imagenet",
            **OTHER_STAINS,
            "precision": "auto",
            "folds": (0,),
            "epochs": 4,
        },
        space=TUNED_SPACE,
    ),
    "best": Recipe(
        text="DenseNet-121 at 160 pixels on five folds, with a stain check: one "
        "session of a GPU. Blend it with other networks for more.",
        expected="Not measured yet: at 96 pixels one fold is `fast`. About 5 hours on "
        "a T4, estimated.",
        time="not measured",
        hardware="a GPU",
        command="python build.py train best",
        gpu_hours=5.0,
        settings={
            "architecture": "densenet121",
            "weights": "imagenet",
            **OTHER_STAINS,
            "input_size": 160,
            "precision": "auto",
            "epochs": 4,
            "stain_check": True,
        },
        space=TUNED_SPACE,
    ),
    "midnight": Recipe(
        text="A frozen pathology transformer of 1.1 billion parameters, which never "
        "saw a Camelyon slide, describes each patch once; a linear head learns from "
        "that. Needs the internet or attached weights.",
        expected="Not measured yet. Published: 0.929 balanced accuracy on PCam's test "
        "part with a linear head (kaiko-ai/eva).",
        time="not measured",
        hardware="a GPU",
        command="python build.py train midnight",
        gpu_hours=3.0,
        settings={
            "architecture": "midnight",
            "weights": "hf://kaiko-ai/midnight",
            "input_size": 224,
            "precision": "auto",
            "augmentation": "none",
            "tta": "none",
        },
        space={
            "head": ("logistic", "mlp"),
            "learning_rate": Range(1e-4, 1e-2, log=True),
            "dropout_rate": Range(0.0, 0.6),
        },
    ),
}


def get_config(settings, overrides=None):
    """The Config of a recipe, or of a mapping of settings, with overrides on top.

    Args:
        settings: str, the name of a recipe, or a dict of settings.
        overrides: dict of settings that replace those, or None.

    Raises:
        ValueError: unknown recipe or setting (with the nearest name), wrong type.
    """
    if isinstance(settings, str):
        if settings not in RECIPES:
            raise ValueError(unknown("recipe", settings, RECIPES))
        settings = {"recipe": settings, **RECIPES[settings].settings}
    merged = {**settings, **(overrides or {})}
    names = [field.name for field in dataclasses.fields(Config)]
    for name in merged:
        if name not in names:
            raise ValueError(unknown("setting", name, names))
    return Config(**merged)


def list_variants(config):
    """The Configs that differ in their network: a run's own; those of a study's space.

    Args:
        config: Config.

    Returns:
        List of Config, the run's own first.
    """
    variants = [config]
    if config.trials and config.recipe in RECIPES:
        settings = dataclasses.asdict(config)
        for choices in RECIPES[config.recipe].space.values():
            named = choices.values() if isinstance(choices, dict) else ()
            variants += [get_config(settings, overrides) for overrides in named]
    return variants


def list_recipes():
    """Names of the recipes that `get_config` takes."""
    return list(RECIPES)
