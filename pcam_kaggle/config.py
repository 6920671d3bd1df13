"""Settings: a frozen Config, the architectures by name, strict typed overrides."""

import dataclasses
import difflib
import hashlib
import math
import re

# They decide no prediction.
SESSION_SETTINGS = ("max_hours", "num_workers", "figures", "trials", "study_hours")
BUILD_ID_LINE = re.compile(r'^BUILD_ID = "[0-9a-f]*"', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What is known of a network without building it.

    `num_parameters` and `num_trainable` count the whole network as `build_model`
    returns it. `pretrained_file` is the name Keras gives to the ImageNet weights of
    its base, "" where there are none. `has_dropout_rate` says that `dropout_rate`
    sets the dropout of its head; the seed's networks keep their published one.
    `sizes` are the smallest and largest side in pixels that it takes, and the step
    between them. `is_foundation` marks a frozen transformer, of which only the head
    on its features is counted and trained.
    """

    text: str
    num_parameters: int
    num_trainable: int
    pretrained_file: str = ""
    has_dropout_rate: bool = False
    sizes: tuple[int, int, int] = (32, 224, 1)
    is_foundation: bool = False


ARCHITECTURES = {
    "my_vgg16": Architecture(
        "the seed's VGG16 from scratch: 13 convolutions with batch normalisation, "
        "dropout 0.5, two heads of 256",
        15_979_585,
        15_970_113,
        sizes=(96, 96, 1),
    ),
    "resnet34_seed": Architecture(
        'the seed\'s "ResNet34": its zip() stops at stages of 64, 64, 128, 128 '
        "channels with 3, 4, 6, 3 blocks",
        3_131_265,
        3_124_481,
    ),
    "vgg16": Architecture(
        "the seed's transfer: VGG16 trained from block5_conv1 on, two heads of 4096",
        50_403_137,
        42_751_489,
        pretrained_file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        sizes=(96, 96, 1),
    ),
    "resnet34": Architecture(
        "the true ResNet-34 (He et al. 2015), from scratch",
        21_302_209,
        21_285_185,
        has_dropout_rate=True,
    ),
    "densenet121": Architecture(
        "DenseNet-121 (Huang et al. 2017), all layers trained, both poolings",
        7_039_553,
        6_955_905,
        pretrained_file="densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        has_dropout_rate=True,
    ),
    "densenet169": Architecture(
        "DenseNet-169 (Huang et al. 2017), all layers trained, both poolings",
        12_646_209,
        12_487_809,
        pretrained_file="densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5",
        has_dropout_rate=True,
    ),
    "resnet50v2": Architecture(
        "ResNet-50 V2 (He et al. 2016), all layers trained, both poolings",
        23_568_897,
        23_523_457,
        pretrained_file="resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        has_dropout_rate=True,
    ),
    "efficientnetv2b0": Architecture(
        "EfficientNetV2-B0 (Tan & Le 2021), all layers trained, both poolings",
        5_921_873,
        5_861_265,
        pretrained_file="efficientnetv2-b0_notop.h5",
        has_dropout_rate=True,
    ),
    "efficientnetv2s": Architecture(
        "EfficientNetV2-S (Tan & Le 2021), all layers trained, both poolings",
        20_333_921,
        20_180_049,
        pretrained_file="efficientnetv2-s_notop.h5",
        has_dropout_rate=True,
    ),
    "convnext_tiny": Architecture(
        "ConvNeXt-Tiny (Liu et al. 2022), all layers trained, both poolings",
        27_821_665,
        27_821_665,
        pretrained_file="convnext_tiny_notop.h5",
        has_dropout_rate=True,
    ),
    "nasnetmobile": Architecture(
        "NASNet-A mobile (Zoph et al. 2018), all layers trained, both poolings",
        4_271_829,
        4_235_091,
        pretrained_file="nasnet_mobile_no_top.h5",
        has_dropout_rate=True,
    ),
    "xception": Architecture(
        "Xception (Chollet 2017), all layers trained, both poolings",
        20_865_577,
        20_811_049,
        pretrained_file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        has_dropout_rate=True,
        sizes=(72, 224, 1),
    ),
    "p4m_densenet": Architecture(
        "a D4-equivariant DenseNet (Veeling et al. 2018): one view is all it needs",
        192_465,
        191_705,
        has_dropout_rate=True,
        sizes=(32, 224, 16),
    ),
    "midnight": Architecture(
        "a frozen pathology transformer, Midnight (DINOv2 ViT-g/14 of 1.1 billion "
        "parameters, Karasikov et al. 2025) or any other of type dinov2 or vit, under "
        "a linear head",
        3_073,
        3_073,
        has_dropout_rate=True,
        sizes=(56, 224, 14),
        is_foundation=True,
    ),
    "small_cnn": Architecture(
        "five convolutions for the demo and for tests: seconds on a laptop",
        34_745,
        34_441,
        has_dropout_rate=True,
    ),
}


def setting(default, text, choices=(), low=-math.inf, high=math.inf):
    """A Config field with its one-line text, its choices, or its closed range."""
    metadata = {"text": text, "choices": tuple(choices), "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides a run. Each field carries its text, range and choices.

    Raises ValueError, naming the setting, what is allowed and what was received.
    """

    recipe: str = setting("custom", "the recipe these settings started from")
    # The network
    architecture: str = setting("densenet121", "the network", ARCHITECTURES)
    weights: str = setting(
        "none",
        "first weights: imagenet, none, a file; of a transformer hf://NAME or a folder",
    )
    dropout_rate: float = setting(0.3, "dropout before the last layer", low=0, high=0.9)
    crop_size: int = setting(
        96, "side of the centre that the network sees, in pixels", low=32, high=96
    )
    input_size: int = setting(
        96, "side to which that is resized on the device", low=32, high=224
    )
    head: str = setting(
        "logistic", "what learns from a transformer's features", ("logistic", "mlp")
    )
    # The data
    num_images: int = setting(0, "training images drawn at random; 0 takes all", low=0)
    verify_ids: bool = setting(False, "check that every id is the sha1 of its pixels")
    slide_map: str = setting("", "CSV (id,slide): folds never share a slide")
    clean: tuple[str, ...] = setting(
        (), "training patches left out", ("blank", "duplicates")
    )
    split: str = setting(
        "stratified",
        "stain holds out each of two colours of stain in turn",
        ("stratified", "stain"),
    )
    num_folds: int = setting(5, "stratified folds", low=2, high=100)
    folds: tuple[int, ...] = setting((), "the folds to train, as 0,1; empty for all")
    # The training
    seed: int = setting(0, "seed of the draw, the folds and the first network", low=0)
    num_seeds: int = setting(
        1, "networks trained per fold, each from its own seed", low=1
    )
    augmentation: str = setting(
        "dihedral",
        "random views of each training image",
        ("none", "flip", "dihedral", "affine"),
    )
    stain_check: bool = setting(
        False, "also train on one colour of stain, test on the other: warns"
    )
    stain_jitter: float = setting(
        0.0, "stains scaled and shifted by so much in HED space", low=0, high=0.5
    )
    brightness: float = setting(0.0, "share of 255 added or taken", low=0, high=0.5)
    contrast: float = setting(0.0, "contrast scaled by 1 more or less", low=0, high=0.5)
    translation: int = setting(0, "pixels moved to either side", low=0, high=24)
    epochs: int = setting(6, "passes over the training images", low=1)
    batch_size: int = setting(64, "images per step", low=1)
    steps_per_execution: int = setting(
        1, "steps between two looks of Python: more for small networks", low=1, high=64
    )
    optimizer: str = setting("adamw", "the optimiser", ("adam", "adamw", "sgd"))
    learning_rate: float = setting(3e-4, "its highest value", low=1e-8, high=10)
    weight_decay: float = setting(0.01, "decoupled weight decay", low=0, high=1)
    schedule: str = setting(
        "cosine", "learning rate over the run", ("cosine", "constant")
    )
    warmup: float = setting(0.1, "cosine: share of steps rising", low=0, high=0.9)
    gradient_clip: float = setting(
        0.0, "largest norm of all gradients; 0 clips none", low=0, high=1000
    )
    ema_momentum: float = setting(
        0.0, "moving average of the weights, per step; 0 takes none", low=0, high=0.9999
    )
    label_smoothing: float = setting(0.05, "labels pulled to 0.5", low=0, high=0.5)
    early_stopping_patience: int = setting(
        0, "epochs without a better val_loss before stopping; 0 never stops", low=0
    )
    plateau_patience: int = setting(
        0, "epochs without a better val_loss before the rate falls; 0 never", low=0
    )
    plateau_factor: float = setting(0.1, "how far it falls then", low=0.001, high=0.999)
    precision: str = setting(
        "float32",
        "auto takes bfloat16 or float16 where the GPU has the hardware",
        ("float32", "auto", "mixed_float16", "mixed_bfloat16"),
    )
    # The session
    max_hours: float = setting(
        11.0, "what cannot end in so many hours is not begun", low=0.05, high=1000
    )
    num_workers: int = setting(
        0, "networks trained at once, a process each; 0: one per GPU", low=0, high=64
    )
    figures: bool = setting(True, "explore the patches, explain, draw the pictures")
    trials: int = setting(
        0, "a study instead: so many sets of settings tried on one fold", low=0
    )
    study_hours: float = setting(
        0.0, "no trial is begun after so many; 0 for max_hours", low=0, high=1000
    )
    # The prediction
    tta: str = setting(
        "dihedral", "test-time views that are averaged", ("none", "flip", "dihedral")
    )
    ensemble: str = setting(
        "mean", "how networks are averaged", ("mean", "rank", "logit")
    )
    calibration: str = setting(
        "none",
        "map of the log-odds fitted out of fold; keeps the order",
        ("none", "platt"),
    )
    labels: str = setting(
        "probability", "what is submitted; hard costs AUC", ("probability", "hard")
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = check_setting(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        check_combination(self)


def parse_overrides(pairs):
    """Typed overrides from the command line's words, e.g. ["epochs=3", "folds=0,1"].

    Raises:
        ValueError: a word without "=", an unknown or repeated name, a wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(Config)}
    overrides = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"overrides are written name=value. Received: {pair!r}")
        if name not in fields or name == "recipe":
            raise ValueError(
                unknown("setting", name, [n for n in fields if n != "recipe"])
            )
        if name in overrides:
            raise ValueError(f"{name} is given twice. Received: {' '.join(pairs)}")
        overrides[name] = check_setting(fields[name], parse_value(fields[name], text))
    return overrides


def list_architectures():
    """Names of the architectures that `build_model` takes."""
    return list(ARCHITECTURES)


def compute_build_id(source):
    """First 10 hex digits of sha256 over a kernel's text with its id slot blank."""
    blank = BUILD_ID_LINE.sub('BUILD_ID = ""', source, count=1)
    return hashlib.sha256(blank.encode("utf-8")).hexdigest()[:10]


def compute_code_id(source):
    """First 10 hex digits of sha256 over a kernel's sections below its settings.

    What a session's settings alone change is the same code.
    """
    _, _, code = source.partition("\n# %% config.py\n")
    return hashlib.sha256(code.encode("utf-8")).hexdigest()[:10]


def unknown(kind, name, known):
    """The message for a name that is not among the known ones, with the nearest."""
    nearest = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(known)}."


def parse_value(field, text):
    """The Python value that a command-line word means; unparsable words stay text."""
    parsers = {
        bool: lambda word: {"true": True, "false": False}[word.lower()],
        int: int,
        float: float,
        str: str,
        tuple[int, ...]: lambda word: tuple(int(n) for n in word.split(",") if n),
        tuple[str, ...]: lambda word: tuple(name for name in word.split(",") if name),
    }
    try:
        return parsers[field.type](text)
    except (KeyError, ValueError):
        return text


def check_setting(field, value):
    """The value in its field's type, or a ValueError that says what is allowed."""
    rule = field.metadata
    kind = field.type
    if kind is float and type(value) is int:
        value = float(value)
    if kind == tuple[int, ...]:
        valid = isinstance(value, (tuple, list)) and all(type(n) is int for n in value)
        value = tuple(value) if valid else value
        allowed = "whole numbers such as 0,1"
    elif kind == tuple[str, ...]:
        valid = isinstance(value, (tuple, list)) and set(value) <= set(rule["choices"])
        value = tuple(value) if valid else value
        allowed = f"words among {','.join(rule['choices'])}"
    else:
        valid = type(value) is kind
        allowed = {bool: "true or false", int: "a whole number", float: "a number"}
        allowed = allowed.get(kind, "text")
    if kind in (int, float):
        valid = valid and rule["low"] <= value <= rule["high"]
        if rule["high"] < math.inf:
            allowed += f" from {rule['low']} to {rule['high']}"
        elif rule["low"] > -math.inf:
            allowed += f" of at least {rule['low']}"
    if rule["choices"] and kind is str:
        valid = valid and value in rule["choices"]
        allowed = "one of " + ", ".join(rule["choices"])
        nearest = difflib.get_close_matches(str(value), rule["choices"], n=1)
        allowed += f" (did you mean {nearest[0]!r}?)" if nearest and not valid else ""
    if not valid:
        name = field.name
        raise ValueError(f"{name}: expected {allowed}. Received: {name}={value!r}")
    return value


def check_combination(config):
    """Refuse settings that contradict one another."""
    architecture = ARCHITECTURES[config.architecture]
    if architecture.is_foundation:
        check_foundation(config)
    elif config.weights == "imagenet" and not architecture.pretrained_file:
        raise ValueError(
            f"weights: {config.architecture} has no ImageNet weights; use weights=none "
            "or a file. Received: weights='imagenet'"
        )
    default_rate = Config.__dataclass_fields__["dropout_rate"].default
    if not architecture.has_dropout_rate and config.dropout_rate != default_rate:
        raise ValueError(
            f"dropout_rate: {config.architecture} keeps its published dropout. "
            f"Received: dropout_rate={config.dropout_rate}"
        )
    if config.crop_size % 2:
        raise ValueError(
            "crop_size: expected an even number, so that the centre stays the centre. "
            f"Received: crop_size={config.crop_size}"
        )
    smallest, largest, step = architecture.sizes
    if config.input_size not in range(smallest, largest + 1, step):
        raise ValueError(
            f"input_size: {config.architecture} takes {smallest} to {largest} pixels"
            f"{f' in steps of {step}' if step > 1 else ''}. "
            f"Received: input_size={config.input_size}"
        )
    wrong = [fold for fold in config.folds if not 0 <= fold < config.num_folds]
    if wrong or len(set(config.folds)) < len(config.folds):
        raise ValueError(
            f"folds: expected different numbers from 0 to {config.num_folds - 1}. "
            f"Received: folds={config.folds}"
        )
    if config.split == "stain" and config.num_folds != 2:
        raise ValueError(
            "split: there are two colours of stain; use num_folds=2. "
            f"Received: split='stain', num_folds={config.num_folds}"
        )
    if config.split == "stain" and config.stain_check:
        raise ValueError(
            "stain_check: the folds of split=stain are that check. "
            "Received: split='stain', stain_check=True"
        )
    if config.plateau_patience and config.schedule != "constant":
        raise ValueError(
            "plateau_patience: needs schedule=constant, a schedule sets its own rate. "
            f"Received: schedule={config.schedule!r}"
        )
    if config.ema_momentum and config.early_stopping_patience:
        raise ValueError(
            "ema_momentum: averaged weights are those of the end; use "
            "early_stopping_patience=0. Received: "
            f"early_stopping_patience={config.early_stopping_patience}"
        )
    if config.calibration == "platt" and config.ensemble == "rank":
        raise ValueError(
            "calibration: ranks are no probabilities; use ensemble=mean or logit. "
            "Received: calibration='platt', ensemble='rank'"
        )
    if config.labels == "hard" and config.ensemble == "rank":
        raise ValueError(
            "labels: hard labels are probabilities over 0.5, ranks are none; use "
            "ensemble=mean. Received: labels='hard', ensemble='rank'"
        )


def check_foundation(config):
    """Refuse what a frozen transformer cannot heed."""
    if config.weights in ("none", "imagenet"):
        raise ValueError(
            f"weights: {config.architecture} needs those of a transformer, as "
            "weights=hf://kaiko-ai/midnight or a folder. "
            f"Received: weights={config.weights!r}"
        )
    changes = ("stain_jitter", "brightness", "contrast", "translation")
    given = [name for name in changes if getattr(config, name)]
    given += ["augmentation"] if config.augmentation != "none" else []
    if given:
        raise ValueError(
            f"{given[0]}: a frozen network sees each image once; use augmentation=none "
            f"and tta for views. Received: {given[0]}={getattr(config, given[0])!r}"
        )
