"""The folder that Kaggle's client uploads as a model: metadata, card, networks, an example."""

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from slugify import slugify

from pcam_kaggle.system.files import write_json
from pcam_kaggle.system.paths import open_output
from pcam_kaggle.system.results import write_folder

from ..credentials import find_owner
from ..files import write_text
from ..folders import ROOT
from ..report.data_sections import is_competition
from ..report.reading import ReportRun
from .bases import Base, describe_licenses, find_license
from .sentences import IMPORTS

TEMPLATES = Path(__file__).with_name("templates")
SHIPPED = ROOT / "kernel" / "sandbox" / "patches" / "train_1.zip"  # its first patch is the example
NO_OWNER = "INSERT_OWNER_SLUG_HERE"  # which Kaggle's client refuses by name
SOURCES = [
    "https://www.kaggle.com/c/histopathologic-cancer-detection",
    "https://github.com/basveeling/pcam",
]
VARIATION = "networks"
MAX_SLUG = 50
OVERVIEW = (
    "Keras networks that estimate whether the center of a patch of tissue contains tumor. "
    "Research use only, not for diagnosis."
)
USAGE = """\
Research use only, not for diagnosis: see MODEL_CARD.md.

```
python ${PATH}/example.py PATCH
```

predicts patches of 96x96 pixels (TIFF, PNG, JPEG). The networks are the files `*.keras`, in \
Keras's own format."""


def write_model(
    out: Path, run: ReportRun, files: list[Path], needs: str, bases: list[Base], text: str
) -> Iterator[str]:
    """Lay out the folder of a model, whole or not at all; the caller has locked it.

    All files lie in the folder itself: Kaggle's client leaves folders in it out. `infer` takes it
    as it takes a run.

    Args:
        out: the folder, new or empty.
        run: ReportRun.
        files: its run.json, networks and oof.csv, checked.
        needs: the package besides Keras that has the networks' layers, "" for none.
        bases: what they started from.
        text: the card.

    Returns:
        The lines that say what was written and what to do next.

    Raises:
        OSError: it cannot be written.
        ValueError: there is something else.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(
            f"{out} is there already. Expected: a new or empty folder. Received: one with files, "
            "which may be yours. Try: --out DIR, or delete it"
        )
    owner = find_owner() or NO_OWNER
    license_name, sources = find_license(bases), SOURCES if is_competition(run) else []
    open_output(out.parent)
    with write_folder(out) as draft:
        slug = make_slug(run.name)
        write_json(draft / "model-metadata.json", describe_model(owner, slug, text, sources))
        variation = describe_variation(owner, slug, license_name, bases, sources)
        write_json(draft / "model-instance-metadata.json", variation)
        write_text(draft / "MODEL_CARD.md", text)
        for path in files:
            shutil.copyfile(path, draft / path.name)
        write_example(draft, needs)
    sizes = [path.stat().st_size for path in out.iterdir()]
    yield f"model     {out} ({len(sizes)} files, {sum(sizes) / 1e6:.1f} MB), private"
    if owner == NO_OWNER:
        yield "owner     no Kaggle credentials found: enter your user name in both metadata files"
    if not license_name:
        found = describe_licenses(bases)
        yield f"license   {found}: enter licenseName in model-instance-metadata.json"
    if not sources:
        yield "data      not known to be the competition's: no provenanceSources, no trainingData"
    yield f"upload    kaggle models create -p {out}"
    yield f"then      kaggle models instances create -p {out}"


def make_slug(name: str) -> str:
    """A run's name as the slug of a model; "pcam" where nothing of it can be in one."""
    return slugify(name, max_length=MAX_SLUG) or "pcam"


def describe_model(owner: str, slug: str, text: str, sources: list[str]) -> dict:
    """model-metadata.json."""
    return {
        "ownerSlug": owner.lower() if owner != NO_OWNER else owner,
        "title": re.sub("^pcam", "PCam", slug.replace("-", " ")),
        "slug": slug,
        "subtitle": "Tumor in the center of patches of tissue; research use only",
        "isPrivate": True,
        "description": text,
        "publishTime": "",
        "provenanceSources": "\n".join(sources),
    }


def describe_variation(
    owner: str, slug: str, license_name: str, bases: list[Base], sources: list[str]
) -> dict:
    """model-instance-metadata.json."""
    addresses = list(filter(None, (base.address for base in bases)))
    is_variant = len(bases) == len(addresses) == 1
    return {
        "ownerSlug": owner.lower() if owner != NO_OWNER else owner,
        "modelSlug": slug,
        "instanceSlug": VARIATION,
        "framework": "keras",
        "overview": OVERVIEW,
        "usage": USAGE,
        "licenseName": license_name,
        "fineTunable": True,
        "trainingData": sources,
        "modelInstanceType": "ExternalVariant" if is_variant else "Unspecified",
        "baseModelInstance": "",
        "externalBaseModelUrl": addresses[0] if is_variant else "",
    }


def write_example(draft: Path, needs: str) -> None:
    """Write the example, and the patch that it predicts."""
    template = "example_package.py.txt" if needs == "pcam_kaggle" else "example.py.txt"
    text = (TEMPLATES / template).read_text("utf-8")
    if needs == "keras_hub":
        text = text.replace("import keras\n", f"{IMPORTS[needs]}\n", 1)
    write_text(draft / "example.py", text)
    with zipfile.ZipFile(SHIPPED) as archive:
        content = archive.read(min(archive.namelist()))
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").save(draft / "patch.tif")
