"""Recipes as data: read with `ast`, never imported, since they import Keras."""

import ast
import dataclasses
import functools
from pathlib import Path

from pcam_kaggle.models.transformer_settings import find_address
from pcam_kaggle.system.settings import Settings, compose, name_settings, unknown

from ..facts.measurements import describe_costs
from ..folders import PACKAGE
from .closure import find_closure
from .recipe_file import find_function, find_settings, read_changes, read_choices, read_parts
from .source import BundleError, Module, list_external, read_module
from .words import parse_overrides

FRAMEWORKS = {"keras", "keras_hub", "tensorflow", "jax"}
SUBMISSION = "inference/submission.py"
RENAMED = {  # an earlier name of a recipe: the words that reproduce it now
    "densenet121": "fast folds=0,1,2,3,4 epochs=3 precision=float32",
    "resnet34": "scratch architecture=resnet34 learning_rate=1e-3 stain_jitter=0",
    "seed_my_vgg16": "course_my_vgg16",
    "seed_resnet34": "course_resnet34",
    "seed_vgg16": "course_vgg16",
    "seed_study": "course_study",
}
RENAMED_NETWORKS = {"resnet34_seed": "course_resnet34"}
RENAMED_VALUES = {  # of settings: the earlier value, the present one
    "architecture": RENAMED_NETWORKS,
    "split": {"stain": "hue", "stratified": "auto"},
}
REMOVED = {  # an earlier setting: what serves instead
    "stain_check": "split=hue holds out groups of hue in all networks of a run",
    "steps_per_execution": "it changed no prediction, and 5 % of the demo's time",
    "figures": "the report draws the pictures: python build.py report RUN",
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is known of a recipe without importing it.

    Attributes:
        name: its name, that of its file.
        package: Path of the package's folder.
        path: Path of its file.
        text: what it is, in one line.
        method: how it works, in paragraphs; may be "".
        changes: dict of the settings that differ from the defaults.
        parts: dict of part names and the classes of their settings.
        main_module: the module that defines its `main`, such as "recipes/fast.py".
        choices: the settings of each named choice of a study's search space, as dicts.
        is_study: whether it searches for settings rather than submits predictions.
    """

    name: str
    package: Path
    path: Path
    text: str
    method: str
    changes: dict
    parts: dict
    main_module: str
    choices: list[dict]
    is_study: bool

    @functools.cached_property
    def closure(self) -> dict[str, Module]:
        """The modules of its page, by name."""
        return find_closure(self.package, f"recipes/{self.name}.py")

    @property
    def modules(self) -> list[Path]:
        """The paths of the modules of its page."""
        return [module.path for module in self.closure.values()]

    @property
    def uses_framework(self) -> bool:
        """Whether a module of its page imports a framework."""
        return any(
            name.partition(".")[0] in FRAMEWORKS
            for module in self.closure.values()
            for node in module.tree.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in list_external(node)
        )

    @property
    def submits(self) -> bool:
        """Whether a run of it writes a submission."""
        return SUBMISSION in self.closure


def list_recipes(package: Path = PACKAGE) -> list[str]:
    """The names of the recipes, in alphabetical order."""
    paths = (package / "recipes").glob("*.py")
    return sorted(path.stem for path in paths if not path.stem.startswith("_"))


def read_recipe(name: str, package: Path = PACKAGE) -> Recipe:
    """Read a recipe.

    Args:
        name: its name.
        package: Path of the package's folder, which can be imported by its name.

    Raises:
        ValueError: no recipe of that name; says the nearest or the present name.
        BundleError: a file that is not a recipe; names file:line and the remedy.
    """
    known = list_recipes(package)
    if name not in known:
        if name in RENAMED:
            raise ValueError(f"recipe: {name} is now called {RENAMED[name]}. Received: {name!r}")
        raise ValueError(unknown("recipe", name, known))
    module = read_module(package, f"recipes/{name}.py")
    if not module.docstring:
        module.refuse(1, "no docstring", "say in the first line what the recipe is")
    text, _, method = module.docstring.partition("\n")
    changes = read_changes(module)
    if "costs" in changes:
        changes["costs"] = describe_costs()
    main_module, _ = find_function(module, "main")
    home, space = find_function(module, "space", required=False)
    return Recipe(
        name=name,
        package=package,
        path=module.path,
        text=text,
        method=method.strip("\n"),
        changes=changes,
        parts=read_parts(*find_function(module, "parts")),
        main_module=main_module.name,
        choices=read_choices(space) if home else [],
        is_study=home is not None,
    )


def needs_gpu(recipe: Recipe, overrides: dict | None = None) -> bool:
    """Whether a run asks for a GPU: one that trains, or whose settings require it."""
    if not recipe.uses_framework:
        return False
    settings = compose_settings(recipe, overrides).flat()
    return settings.get("require_gpu", False) or any(name.endswith("epochs") for name in settings)


def compose_settings(recipe: Recipe, overrides: dict | None = None) -> Settings:
    """The checked settings of a recipe with overrides.

    Raises:
        BundleError: SETTINGS of the recipe are wrong; names file:line.
        ValueError: the overrides are wrong.
    """
    try:
        settings = compose(recipe.parts, recipe.changes)
    except ValueError as error:
        module = read_module(recipe.package, f"recipes/{recipe.name}.py")
        line = find_settings(module).lineno
        raise BundleError(f"{recipe.path}:{line}: SETTINGS: {error}") from error
    return compose(recipe.parts, recipe.changes, overrides) if overrides else settings


def list_networks(recipe: Recipe, overrides: dict | None = None) -> list[tuple]:
    """The networks that a run may build, as pairs of architecture and first weights.

    Args:
        recipe: Recipe.
        overrides: dict of typed settings.

    Returns:
        List of pairs of str, each once: of each part with `weights`, or of those among
        `members`, then of each choice of a study's search space. The architecture is "" where
        there is none.
    """
    flat = compose_settings(recipe, overrides).flat()
    networks, members = [], flat.get("members")
    for values in [flat, *({**flat, **choice} for choice in recipe.choices)]:
        for name in values:
            part, dot, field = name.rpartition(".")
            if field == "weights" and (members is None or part in members):
                architecture = values.get(f"{part}{dot}architecture", "")
                networks.append((architecture, values[name]))
    return list(dict.fromkeys(networks))


def is_download(weights: str) -> bool:
    """Whether the first weights of a network are downloaded unless they are attached."""
    return weights == "imagenet" or "://" in find_address(weights)


def parse_words(recipe: Recipe, words: list[str]) -> dict:
    """Typed overrides from the command line's words, such as ["epochs=3", "folds=0"].

    Args:
        recipe: Recipe.
        words: list of str.

    Returns:
        dict of typed settings, checked together with those of the recipe.

    Raises:
        ValueError: a word without "=", a setting that no recipe has, one that others
            have, one given twice, or a value that is not allowed.
    """
    known = name_settings(recipe.parts)
    for word in words:
        name, equals, value = word.partition("=")
        if name in REMOVED:
            raise ValueError(f"{name}: this setting was removed; {REMOVED[name]}")
        renamed = RENAMED_VALUES.get(name.split(".")[-1], {})
        if value in renamed:
            raise ValueError(f"{name}: {value} is now called {renamed[value]}. Received: {word}")
        if equals and not any(f".{full}".endswith(f".{name}") for full in known):
            check_owners(recipe, name)
    overrides = parse_overrides(recipe.parts, words)
    compose_settings(recipe, overrides)
    return dict(sorted(overrides.items()))


def check_owners(recipe: Recipe, name: str) -> None:
    """Raise for a setting that this recipe lacks and others have."""
    others = [read_recipe(other, recipe.package) for other in list_recipes(recipe.package)]
    owners = [other.name for other in others if name in name_settings(other.parts)]
    if owners:
        raise ValueError(
            f"{name}: {recipe.name} has no such setting. Expected: a recipe that has "
            f"it: {', '.join(owners)}. Received: {name} for recipe {recipe.name}"
        )
