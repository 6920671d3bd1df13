"""The table of a run's settings."""

import dataclasses
import pprint

from pcam_kaggle.system.settings import SESSION_SETTINGS, name_settings

from ..bundle.recipes import RENAMED, read_recipe
from .names import name_setting
from .reading import ReportRun
from .story import Story

USERS = {  # the parts of `best` that serve some of its methods
    **{name: {name} for name in ("midnight", "vit", "efficientnet", "densenet")},
    "head": {"midnight"},
    "tuning": {"vit"},
    "training": {"midnight", "efficientnet", "densenet"},
}

TABLE = """\
def name_value(value):
    if type(value) is not list:
        return str(value)
    return ", ".join(f"fold {one}" if type(one) is int else str(one) for one in value)

values = pd.Series({text: run["settings"][name] for name, text in names.items()}, dtype=object)
table = pd.DataFrame({"value": values.map(name_value)})"""


def tell_settings(story: Story, run: ReportRun) -> None:
    """The table of the settings that differ from the defaults, or of all settings."""
    parts = find_parts(run.recipe)
    if not parts:
        source = f'names = {{name: name.replace("_", " ") for name in run["settings"]}}\n{TABLE}'
        story.table("settings", source, "The settings of the run.")
        return
    unused = list_unused(run)
    names = {
        name: name_setting(name)
        for name, (part, field) in parts.items()
        if name in run.settings and name not in SESSION_SETTINGS and part not in unused
        if run.settings[name] != (list(field.default) if is_list(field) else field.default)
    }
    if not names:
        story.text("All settings that affect predictions are the defaults.")
        return
    text = pprint.pformat(names, width=90, sort_dicts=False)
    story.table(
        "settings",
        f"names = {text}\n{TABLE}",
        "The settings that affect predictions and differ from the defaults.",
    )


def is_list(field: dataclasses.Field) -> bool:
    """Whether a setting has several values, which JSON has as a list."""
    return isinstance(field.default, tuple)


def list_unused(run: ReportRun) -> set:
    """The parts of a run of several that serve only methods that it does not have."""
    if not run.members:
        return set()
    return {part for part, users in USERS.items() if not users & set(run.members)}


def find_parts(recipe: str) -> dict:
    """The part and the field of each of a recipe's settings by name; {} if it is unknown."""
    try:
        parts = read_recipe(RENAMED.get(recipe, recipe).split()[0]).parts
    except (ValueError, IndexError):  # a recipe of another version, or no name
        return {}
    return name_settings(parts)
