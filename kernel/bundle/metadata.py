"""kernel/dist/<slug>/: the script or notebook and the metadata that Kaggle's client pushes."""

import json
from pathlib import Path

from pcam_kaggle.system.files import write_json

from ..credentials import find_owner
from ..files import write_text
from ..folders import DIST, ROOT
from .header import make_slug, make_title
from .notebook import make_notebook
from .page import Bundle, bundle_kernel
from .recipes import is_download, list_networks, needs_gpu, read_recipe

TEMPLATE = ROOT / "kernel-metadata.json"
PLACEHOLDER = "your-kaggle-username"  # the owner in the template


def write_kernel(
    recipe: str, overrides: dict | None = None, dist: Path = DIST, metadata: dict | None = None
) -> tuple[Path, Bundle]:
    """Write a recipe's kernel as a folder that `kaggle kernels push -p` takes.

    Args:
        recipe: its name.
        overrides: dict of typed settings.
        dist: Path under which the folder <slug>/ is made.
        metadata: dict of kernel-metadata.json; None for what `fill_metadata` returns.
            Its kernel_type says whether a script or a notebook is written.

    Returns:
        Path of the script or notebook, and its Bundle.

    Raises:
        ValueError: wrong settings, or credentials that cannot be read.
        BundleError: a source that cannot be bundled.
    """
    bundle = bundle_kernel(recipe, overrides)
    metadata = metadata or fill_metadata(recipe, overrides)
    folder = dist / metadata["id"].split("/")[1]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / metadata["code_file"]
    is_notebook = metadata["kernel_type"] == "notebook"
    write_text(path, make_notebook(bundle.source) if is_notebook else bundle.source)
    write_json(folder / TEMPLATE.name, metadata)
    return path, bundle


def fill_metadata(
    recipe: str,
    overrides: dict | None = None,
    owner: str | None = None,
    dataset_sources: tuple = (),
    slides: str | None = None,
    notebook: bool = False,
) -> dict:
    """kernel-metadata.json of a recipe: the template with its id, title and inputs.

    Args:
        recipe: its name.
        overrides: dict of typed settings.
        owner: Kaggle's user name; None for that of the credentials, else the
            template's placeholder.
        dataset_sources: datasets ("owner/slug") that hold the weights. The internet
            is on only where there are fewer of them than weights to download.
        slides: the dataset ("owner/slug") that holds the map of slides, or None.
        notebook: whether the kernel is a notebook, under an id of its own.

    Returns:
        dict. The GPU is that of the template, or none where the recipe needs none.
    """
    found = read_recipe(recipe)
    metadata = json.loads(TEMPLATE.read_text("utf-8"))
    slug = make_slug(recipe, overrides, notebook)
    kernel_id = f"{owner or find_owner() or PLACEHOLDER}/{slug}"
    downloads = [pair for pair in list_networks(found, overrides) if is_download(pair[1])]
    if not needs_gpu(found, overrides):
        metadata["enable_gpu"] = False
        del metadata["machine_shape"]
    return {
        **metadata,
        "id": kernel_id,
        "title": make_title(recipe, overrides, notebook),
        "code_file": f"{slug}.ipynb" if notebook else f"{slug}.py",
        "kernel_type": "notebook" if notebook else "script",
        "enable_internet": len(dataset_sources) < len(downloads),
        "dataset_sources": [
            *metadata["dataset_sources"],
            *dataset_sources,
            *([slides] if slides else []),
        ],
    }


def check_title(metadata: dict) -> None:
    """Refuse a title for which Kaggle would choose another slug.

    Raises:
        ValueError: names both.
    """
    from slugify import slugify  # 7 ms, which `build` can save

    slug, title = metadata["id"].split("/")[1], metadata["title"]
    if slugify(title) != slug:
        raise ValueError(
            f"kernel-metadata.json: expected a title whose slug is {slug!r}. Received: {title!r}, "
            f"whose slug is {slugify(title)!r}"
        )
