"""Recipes: short programs, each with its settings and the steps of a run.

Each recipe module has a docstring, `SETTINGS`, `parts()` and `main(run)`.
"""

import importlib
import pkgutil
from pathlib import Path

from ..system.files import read_json, short_hash
from ..system.settings import unknown


def run_recipe(
    name: str,
    overrides: dict | None = None,
    data: Path | str | None = None,
    output: Path | str | None = None,
) -> dict:
    """Run a recipe in this process, from the package.

    Args:
        name: the recipe's name, such as "fast".
        overrides: dict of settings, such as {"epochs": 3, "folds": (0, 1)}.
        data, output: folders to use instead of PCAM_INPUT and PCAM_WORKING, or None.

    Returns:
        dict, as written to run.json.

    Raises:
        FileNotFoundError, OSError, ValueError: there is no such recipe, or the input is wrong.
    """
    from ..data.run import open_run

    names = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in names:
        raise ValueError(unknown("recipe", name, names))
    recipe = importlib.import_module(f".{name}", __name__)
    package = Path(__file__).parents[1]
    sources = [path.read_text("utf-8") for path in sorted(package.rglob("*.py"))]
    run = open_run(
        name,
        recipe.parts(),
        recipe.SETTINGS,
        overrides,
        code_id=short_hash("\n".join(sources)),
        data=data,
        output=output,
    )
    recipe.main(run)
    return read_json(run.output / "run.json")
