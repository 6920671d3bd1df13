"""kernel/dist/<slug>/: the script and the metadata that Kaggle's client pushes."""

import json
import os
from pathlib import Path

from pcam_kaggle.paths import write_beside
from pcam_kaggle.recipes import get_config, list_variants

from .bundle import ROOT, bundle_kernel
from .header import make_slug, make_title

TEMPLATE = ROOT / "kernel-metadata.json"
DIST = ROOT / "kernel" / "dist"
PLACEHOLDER = "your-kaggle-username"  # the owner in the template


def write_kernel(recipe, overrides=None, dist=DIST, **inputs):
    """Build a recipe's kernel as a folder that `kaggle kernels push -p` takes.

    Args:
        recipe: str, its name.
        overrides: dict of typed settings.
        dist: Path under which the folder <slug>/ is made.
        inputs: what `fill_metadata` takes: owner, dataset_sources, resume.

    Returns:
        Path of the script, and its Bundle.

    Raises:
        ValueError: wrong settings, or credentials that cannot be read.
        BundleError: a source that cannot be bundled.
    """
    bundle = bundle_kernel(recipe, overrides)
    metadata = fill_metadata(recipe, overrides, **inputs)
    slug = metadata["id"].split("/")[1]
    folder = dist / slug
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / metadata["code_file"]
    metadata_text = json.dumps(metadata, indent=2) + "\n"
    for path, text in [
        (script, bundle.source),
        (folder / TEMPLATE.name, metadata_text),
    ]:
        with write_beside(path) as partial:
            partial.write_text(text, "utf-8", newline="\n")
    return script, bundle


def fill_metadata(recipe, overrides=None, owner=None, dataset_sources=(), resume=False):
    """kernel-metadata.json of a recipe: the template with its id, title and inputs.

    Args:
        recipe: str, its name.
        overrides: dict of typed settings.
        owner: str, else the name in the credentials, else the template's placeholder.
        dataset_sources: datasets ("owner/slug") that hold the weights. Without one,
            the internet is on where Keras may have to download them.
        resume: bool, attach the kernel's own earlier output.
    """
    metadata = json.loads(TEMPLATE.read_text("utf-8"))
    slug = make_slug(recipe, overrides)
    kernel_id = f"{owner or find_owner() or PLACEHOLDER}/{slug}"
    needed = {
        (variant.weights, variant.architecture)
        for variant in list_variants(get_config(recipe, overrides))
        if variant.weights == "imagenet" or "://" in variant.weights
    }
    return {
        **metadata,
        "id": kernel_id,
        "title": make_title(recipe, overrides),
        "code_file": f"{slug}.py",
        "enable_internet": len(dataset_sources) < len(needed),
        "dataset_sources": [*metadata["dataset_sources"], *dataset_sources],
        "kernel_sources": [*metadata["kernel_sources"], *[kernel_id] * resume],
    }


def find_owner():
    """The Kaggle user name of the credentials at hand, or None.

    Reads KAGGLE_USERNAME, else kaggle.json where Kaggle's client looks for it, else
    the credentials.json of `kaggle auth login`; nothing but the name is kept.

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
                    "username. Download it anew from kaggle.com/settings."
                ) from None
            if owner:
                return owner
    return None


def find_credentials_folder():
    """Where Kaggle's client looks for kaggle.json."""
    home = Path.home() / ".kaggle"
    xdg = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folder = os.environ.get("KAGGLE_CONFIG_DIR")
    return Path(folder) if folder else home if home.is_dir() else xdg / "kaggle"
