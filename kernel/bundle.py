"""header + package + driver -> one readable script with a build id.

The package's own imports are dropped, an import that stands above already is not
repeated, all else is verbatim. `flatten` refuses what one flat file would change.
"""

import dataclasses
from pathlib import Path

from pcam_kaggle.config import compute_build_id

from .flatten import BundleError, ModuleSource
from .header import HEADER_NAMES, render_header

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pcam_kaggle"
DRIVER = ROOT / "kernel" / "driver.py"
MODULES = (  # a module may import only those above it
    "config",
    "recipes",
    "paths",
    "stages",
    "device",
    "data",
    "cache",
    "batches",
    "quality",
    "folds",
    "augment",
    "jitter",
    "dihedral",
    "networks",
    "pretrained",
    "models",
    "checkpoint",
    "budget",
    "forecast",
    "train",
    "prediction",
    "gradcam",
    "foundation",
    "validation",
    "evaluation",
    "ensemble",
    "submission",
    "exploration",
    "figures",
    "pictures",
    "results",
    "workers",
    "jobs",
    "experiment",
    "tuning",
)
MAX_BYTES = 700_000  # Kaggle refuses 1 MB


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A kernel: its text, its id and its contents as (line, section, sentence)."""

    source: str
    build_id: str
    contents: list


def bundle_kernel(recipe, overrides=None, package=PACKAGE, driver=DRIVER):
    """Bundle the package for a recipe.

    Args:
        recipe: str, its name.
        overrides: dict of typed settings, as `parse_overrides` returns them.
        package: Path of the package's folder.
        driver: Path of the kernel's last section.

    Returns:
        Bundle. The same sources and settings give the same bytes on any machine.

    Raises:
        ValueError: unknown recipe or wrong setting.
        BundleError: a source that breaks a rule, or a text that does not compile or
            is over 700,000 bytes.
    """
    sections = read_sections(package, driver)
    bodies = [f"# %% {name}\n{body}" for name, _, body in sections]

    def render(contents, build_id=""):
        header = render_header(recipe, overrides or {}, contents, build_id)
        return "\n\n".join([header, *bodies])

    # The header's length does not depend on the numbers in it.
    lines = render([(0, name, sentence) for name, sentence, _ in sections]).split("\n")
    contents = [
        (lines.index(f"# %% {name}") + 1, name, sentence)
        for name, sentence, _ in sections
    ]
    build_id = compute_build_id(render(contents))
    source = render(contents, build_id)
    check_source(source, recipe)
    return Bundle(source, build_id, contents)


def read_sections(package, driver):
    """The modules and the driver in order, flat: (name, sentence, text)."""
    found = {path.stem for path in package.glob("*.py")} - {"__init__"}
    if found != set(MODULES):
        differing = ", ".join(sorted(found ^ set(MODULES)))
        raise BundleError(
            f"{package}: the modules differ from MODULES in kernel/bundle.py by "
            f"{differing}; list a new module there, in its place."
        )
    names = dict.fromkeys(HEADER_NAMES, "the header")
    imports = {"logging": "import logging", "os": "import os"}  # by the header
    sections = []
    for path in [*(package / f"{module}.py" for module in MODULES), driver]:
        module = ModuleSource(path, package.name)
        sections.append((path.name, module.sentence, module.flatten(names, imports)))
    return sections


def check_source(source, recipe):
    """Compile the kernel and measure it."""
    try:
        compile(source, f"{recipe} kernel", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = source.split("\n")[error.lineno - 1]
        raise BundleError(
            f"the kernel does not compile: {error.msg} in {line!r}; mend its source."
        ) from error
    size = len(source.encode("utf-8"))
    if size > MAX_BYTES:
        raise BundleError(
            f"the kernel has {size:,} bytes, Kaggle refuses 1 MB and we {MAX_BYTES:,}; "
            "move what need not run on Kaggle into kernel/."
        )
