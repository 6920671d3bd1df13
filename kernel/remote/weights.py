"""Pretrained weights as a private Kaggle dataset, for kernels without internet or access."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from pcam_kaggle.models.course_settings import VGG16_FILE
from pcam_kaggle.models.pretrained_settings import PRETRAINED
from pcam_kaggle.models.transformer_settings import (
    FOUNDATION,
    MODEL_TYPES,
    WEIGHTS_SLUG,
    TransformerSettings,
)
from pcam_kaggle.system.files import hash_file, read_json, short_hash, write_json
from pcam_kaggle.system.hub import SCALE_FILE, read_pixel_scale
from pcam_kaggle.system.settings import unknown

from ..bundle.metadata import TEMPLATE
from ..bundle.recipes import Recipe, list_networks
from ..facts.foundation import read_foundation
from ..folders import RUNS
from ..locks import locked
from .client import Client
from .datasets import publish_files

REGISTRY = "datasets.json"  # in runs/weights/: service -> weights file or model -> dataset
PRETRAINED_FILES = {**PRETRAINED, "vgg16": VGG16_FILE}  # network: Keras's name of the file
HDF5 = b"\x89HDF\r\n\x1a\n"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"  # lists the files where there are several


def publish_weights(
    client: Client,
    architecture: str,
    path: Path | None = None,
    runs: Path = RUNS,
    say: Callable[[str], None] = print,
) -> str:
    """Make a private dataset of a weights file or of a model's folder, unless it is there.

    Later pushes of that architecture or model list the dataset among their inputs, and need no
    internet.

    Args:
        client: Client.
        architecture: str, one with pretrained weights, or the name of a foundation model.
        path: Path of the file, None for the one in Keras's cache; of a foundation model, of its
            folder.
        runs: Path of the folder of runs, where the dataset is recorded.
        say: function that prints a line.

    Returns:
        str, the dataset, as owner/slug.

    Raises:
        ValueError: an architecture without weights, no such file or folder, one that is not
            whole or of another kind.
        KaggleError: what Kaggle refused.
    """
    check_architecture(architecture)
    if architecture in FOUNDATION:
        key, paths = architecture, check_model(architecture, path)
        hashes = {path.name: hash_file(path) for path in paths}
        digest = short_hash(json.dumps(hashes, sort_keys=True))[:8]
        if SCALE_FILE not in hashes:
            say(f"no {SCALE_FILE}: pixels are scaled to -1..1, as for midnight-12k")
    else:
        paths = [find_weights(architecture, path)]
        key, digest = paths[0].name, short_hash(paths[0].read_bytes())[:8]
    slug = WEIGHTS_SLUG.format(architecture.replace("_", "-")) + digest
    title = f"PCam {architecture.replace('_', ' ')} weights {digest}"
    with locked(runs, slug, say):
        dataset = publish_files(client, paths, slug, title, say)
    with locked(runs, REGISTRY, say):
        registry = read_registry(runs)
        known = registry.get(client.service, {})
        registry[client.service] = {**known, key: dataset}
        (runs / "weights").mkdir(parents=True, exist_ok=True)
        write_json(runs / "weights" / REGISTRY, registry)
    return dataset


def read_registry(runs: Path) -> dict[str, dict[str, str]]:
    """The datasets that were made: service, then weights file or model, to dataset."""
    path = runs / "weights" / REGISTRY
    return read_json(path) if path.exists() else {}


def find_datasets(
    recipe: Recipe, overrides: dict | None, service: str, runs: Path = RUNS
) -> list[str]:
    """The datasets that a run takes its weights from, in most cases none or one.

    Args:
        recipe: Recipe.
        overrides: dict of typed settings, or None.
        service: str, "Kaggle" or "sandbox".
        runs: Path of the folder of runs, where datasets are recorded.

    Raises:
        ValueError: a file or folder of this machine, which no dataset holds, or an unknown model.
    """
    known, found = read_registry(runs).get(service, {}), []
    has_transformer = any(issubclass(kind, TransformerSettings) for kind in recipe.parts.values())
    for architecture, weights in list_networks(recipe, overrides):
        found.append(find_dataset(architecture, weights, known))
        if found[-1] is None and not architecture and has_transformer:
            check_name(weights)
    return list(dict.fromkeys(dataset for dataset in found if dataset))


def find_dataset(architecture: str, weights: str, known: dict[str, str]) -> str | None:
    """The dataset that holds the weights of one network, or None."""
    if "://" in weights:
        return None
    name = Path(weights).name
    if weights == "imagenet":
        name = PRETRAINED_FILES.get(architecture)
    dataset = known.get(name)
    if dataset is None and Path(weights).is_file():
        raise ValueError(
            f"weights: {weights} is a file of this machine, which the kernel does not "
            f"see. Try: python build.py weights {architecture} {weights}"
        )
    if dataset is None and Path(weights).is_dir():
        raise ValueError(
            f"weights: {weights} is a folder of this machine, which the kernel does "
            f"not see. Try: python build.py weights NAME {weights}, then weights=NAME, with one of "
            f"{', '.join(FOUNDATION)}; or make a Kaggle model or dataset of it, list that in "
            "kernel-metadata.json (model_sources or dataset_sources), and give the "
            "folder's name from another place; or use weights=hf://OWNER/NAME"
        )
    return dataset


def check_name(weights: str) -> None:
    """Refuse a model that is neither known nor, as far as kernel-metadata.json says, attached.

    Raises:
        ValueError: names the closest one.
    """
    template = read_json(TEMPLATE)
    is_attached = template["dataset_sources"] or template["model_sources"]
    if "://" not in weights and weights not in FOUNDATION and not is_attached:
        text = unknown("foundation model", weights, FOUNDATION)
        raise ValueError(f"weights: {text} Try: python build.py list, which describes them")


def check_model(name: str, folder: Path | None) -> list[Path]:
    """The files of a foundation model in a folder, in the format of transformers.

    Raises:
        ValueError: no folder, another model, a file that is missing, damaged or not whole.
    """
    place = FOUNDATION[name].removeprefix("hf://")
    expected = f"the folder of {name} from https://huggingface.co/{place}: {CONFIG} with a "
    expected += f"model_type among {', '.join(MODEL_TYPES)}, {WEIGHTS} or {INDEX} with its files, "
    expected += f"and {SCALE_FILE}"
    try:
        if folder is None:
            raise ValueError("no folder")
        check_config(name, folder / CONFIG)
        names = list_weights(folder)
        for file in names:
            if not is_whole(folder / file):
                raise ValueError(f"{folder / file}, which is not whole")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"weights: expected {expected}. Received: {error}. Try: hf download {place} "
            f"--local-dir FOLDER, then python build.py weights {name} FOLDER"
        ) from error
    if (folder / SCALE_FILE).exists():
        read_pixel_scale(folder / SCALE_FILE)
    others = [file for file in (CONFIG, SCALE_FILE, INDEX) if (folder / file).is_file()]
    return [folder / file for file in (*others, *names)]


def check_config(name: str, path: Path) -> None:
    """Refuse the config.json of a model that cannot be the one of that name.

    Raises:
        OSError: it is not there.
        ValueError: it is no JSON object, or of another type or size; says what is there.
    """
    config = read_object(path)
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise ValueError(f"{path} with model_type {kind!r}")
    (row,) = [row for row in read_foundation() if row.name == name]
    known = {"hidden_size": row.hidden_size, "num_hidden_layers": row.num_layers}
    for key, value in known.items():
        if value and config.get(key) != int(value):
            raise ValueError(f"{path} of another model: {key} {config.get(key)!r}, not {value}")


def list_weights(folder: Path) -> list[str]:
    """The names of a model's files of weights: one, or those of its index.

    Raises:
        ValueError: an index that names no files in the folder.
    """
    if not (folder / INDEX).exists():
        return [WEIGHTS]
    files = read_object(folder / INDEX).get("weight_map")
    names = set(files.values()) if isinstance(files, dict) else set()
    if not names or not all(isinstance(n, str) and n == Path(n).name for n in names):
        raise ValueError(f"{folder / INDEX} without a weight_map that names files beside it")
    return sorted(names)


def read_object(path: Path) -> dict:
    """Read a JSON object; a ValueError says only that it is none."""
    try:
        return read_json(path)
    except ValueError:
        raise ValueError(f"{path}, which is no JSON object in UTF-8") from None


def is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says.

    Raises:
        OSError: it is not there.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length < size else {}
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key[:2] != "__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return bool(ends) and size == 8 + length + max(ends)


def check_architecture(name: str) -> None:
    """Refuse a name that is neither a network with pretrained weights nor a foundation model.

    Raises:
        ValueError: names the closest one.
    """
    known = (*PRETRAINED_FILES, *FOUNDATION)
    if name not in known:
        raise ValueError(unknown("architecture with weights", name, known))


def find_weights(architecture: str, path: Path | None) -> Path:
    """The weights file named, else the one in Keras's cache.

    Raises:
        ValueError: no such file, no HDF5 file.
    """
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    cached = home / "models" / PRETRAINED_FILES[architecture]
    remedy = f"python build.py weights {architecture} FILE, or let Keras download it to {cached}"
    if path:
        remedy = f"the path of a copy of {cached.name}, as Keras downloads it"
    path = path or cached
    if not path.is_file():
        raise ValueError(
            f"weights: expected a file of {architecture}'s weights. Received: {path}, "
            f"which is not there. Try: {remedy}"
        )
    with open(path, "rb") as file:
        if file.read(len(HDF5)) != HDF5:
            raise ValueError(f"weights: expected an HDF5 file. Received: {path}")
    return path
