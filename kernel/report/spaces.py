"""The search space of a study: what its trials share, and in what they differ."""

import ast
import json
from pathlib import Path

from .checks import SETTINGS, check_content, each, wrong


def parse_space(text: str, path: Path) -> dict[str, dict]:
    """The search space of a study, which run.json has as Python text.

    Returns:
        The choices of each setting: by name, the settings that a choice stands for. {} for a
        range.

    Raises:
        ValueError: no such text; names the file.
    """
    space = {}
    try:
        tree = ast.parse(text, mode="eval").body
        for key, value in zip(tree.keys, tree.values):
            name = str(ast.literal_eval(key))
            choices = {} if isinstance(value, ast.Call) else ast.literal_eval(value)
            if not isinstance(choices, dict):
                choices = {str(choice): {name: choice} for choice in choices}
            space[name] = json.loads(json.dumps(choices))  # a tuple becomes a list
    except (AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        raise wrong(path, "study.space", "choices by setting", "another text") from None
    return check_content(space, each(each({"type": "object", "patternProperties": SETTINGS})), path)


def share_settings(settings: dict, space: dict) -> dict:
    """The settings that all trials of a study share: those of one value in its space, too."""
    shared = {name: settings[name] for name in settings if space.get(name) != {}}
    for choices in space.values():
        for name in {name for own in choices.values() for name in own}:
            first, *others = (own.get(name, settings.get(name)) for own in choices.values())
            shared[name] = first
            if any(other != first for other in others):
                del shared[name]
    return shared


def list_searched(space: dict) -> list[str]:
    """The settings that a study searches: those of more than one choice."""
    return [name for name, choices in space.items() if len(choices) != 1]


def list_networks(settings: dict, space: dict) -> dict[str, dict]:
    """The settings of each network that a study compares, by its name in the space; {} for one."""
    shared = share_settings(settings, space)
    if "architecture" in shared:
        return {}
    for choices in space.values():
        if any("architecture" in own for own in choices.values()):
            base = {**shared, "architecture": settings.get("architecture", "")}
            return {name: {**base, **own} for name, own in choices.items()}
    return {}
