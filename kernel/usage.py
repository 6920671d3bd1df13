"""What wrong words on the command line probably mean."""

import argparse
import difflib
import re

MOVED = {  # an earlier command: what to write instead
    "eda": "train explore",
    "tune": "train STUDY trials=N study_hours=H",
    "sandbox": "python -m kernel.sandbox",
}
SETTINGS = {"hours": "study_hours", "slides": "slide_map"}  # of options of earlier commands


def explain_command(word: str, known: list[str]) -> str:
    """The message for a command that there is not."""
    if word in MOVED:
        return f"{word} is now: {MOVED[word]}"
    nearest = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown command {word!r}.{hint} Known: {', '.join(known)}. Try: --help"


def explain_option(word: str, words: list[str], args: argparse.Namespace, parsers: dict) -> str:
    """The message for an option that a command does not take.

    Args:
        word: str, the option, perhaps with its value.
        words: list of str, all that was typed.
        args: what the other words mean.
        parsers: dict of the names of commands and their parsers.

    Raises:
        ValueError: there is no such recipe, or the option is a setting of other recipes only.
    """
    option, equals, value = word.partition("=")
    if hasattr(args, "recipe") and (setting := find_setting(option, args.recipe)):
        after = words[words.index(word) + 1 :]
        if not equals:
            value = after[0] if after and not after[0].startswith("-") else "VALUE"
        return f"{option} is a setting, not an option. Try: {setting}={value}"
    options = {name: list_options(parser) for name, parser in parsers.items()}
    known = options[args.command]
    nearest = difflib.get_close_matches(option, known, n=1)
    owners = [name for name in options if option in options[name]]
    hint = f" Commands that have it: {', '.join(owners)}." if owners else ""
    hint = f" Did you mean {nearest[0]!r}?" if nearest else hint
    return f"unknown option {option!r}.{hint} Known: {', '.join(known) or 'none'}"


def find_setting(option: str, recipe_name: str) -> str | None:
    """The setting of a recipe that an option stands for, or None.

    Raises:
        ValueError: there is no such recipe, or other recipes have that setting.
    """
    from .bundle.recipes import check_owners, list_recipes, name_settings, read_recipe

    name = option.lstrip("-").replace("-", "_")
    name = SETTINGS.get(name, name)
    known = list_recipes()
    if recipe_name not in known and any(name in name_settings(read_recipe(n).parts) for n in known):
        return name  # the recipe stands behind the option
    recipe = read_recipe(recipe_name)
    if name in name_settings(recipe.parts):
        return name
    check_owners(recipe, name)
    return None


def list_options(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a command."""
    return re.findall(r"--[\w-]+", parser.format_usage())
