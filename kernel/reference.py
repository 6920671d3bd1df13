"""The reference: recipes, settings, networks and commands as Markdown, from the code."""

import argparse
import dataclasses
import math
import re
import textwrap

from pcam_kaggle.system.settings import KINDS, Part

from .arguments import make_parser
from .bundle.recipes import (
    REMOVED,
    RENAMED,
    RENAMED_VALUES,
    compose_settings,
    list_recipes,
    read_recipe,
)
from .facts.measurements import find_gpu_hours
from .facts.networks import load_networks
from .usage import MOVED, SETTINGS


def render_recipes() -> str:
    """A table of all recipes: what each is, and its estimated hours on Kaggle's GPUs."""
    rows = []
    for name in list_recipes():
        hours = find_gpu_hours(name)
        rows.append((f"`{name}`", read_recipe(name).text, f"{hours:g}" if hours else "none"))
    return render_table(("recipe", "what it is", "GPU hours (estimated)"), rows)


def render_networks() -> str:
    """A table of all networks with their numbers of parameters."""
    header = ("network", "of", "parameters", "trained", "what it is")
    rows = [
        (
            f"`{name}`",
            network.family,
            f"{network.num_parameters:,}",
            f"{network.num_trainable:,}",
            network.text,
        )
        for name, network in load_networks().items()
    ]
    return render_table(header, rows)


def render_settings() -> str:
    """A table of settings for each kind of part: values, defaults, recipes and meaning."""
    kinds = {}  # the class that others extend: part and class of each recipe
    for recipe in list_recipes():
        for part, kind in read_recipe(recipe).parts.items():
            root = kind.__mro__[kind.__mro__.index(Part) - 1]
            kinds.setdefault(root, []).append((recipe, part, kind))
    return "\n\n".join(
        f"**{root.__doc__.splitlines()[0].rstrip('.')}**\n\n{render_part(users)}"
        for root, users in sorted(kinds.items(), key=lambda item: -len(item[1]))
    )


def render_part(users: list[tuple[str, str, type]]) -> str:
    """The table of the settings of some parts; those that differ by recipe have several rows."""
    rows = {}  # name, values and meaning: the recipes with their values
    for recipe, part, kind in users:
        settings = compose_settings(read_recipe(recipe))
        for field in dataclasses.fields(kind):
            row = (f"`{field.name}`", describe_values(field.metadata), field.metadata["text"])
            label = f"best ({part})" if recipe == "best" else recipe
            value = getattr(getattr(settings, part), field.name)
            rows.setdefault(row, []).append((recipe, label, value, field.default))
    header = ("setting", "values", "default", "recipes", "meaning")
    cells = [
        (name, values, describe_defaults(owners), name_recipes({r for r, *_ in owners}), text)
        for (name, values, text), owners in rows.items()
    ]
    return render_table(header, cells)


def name_recipes(names: set[str]) -> str:
    """Recipes as text; `fast*` stands for all whose names start like this."""
    known = list_recipes()
    others = [name for name in known if name not in names]
    if not others:
        return "all"
    if len(others) < 4:
        return f"all but {', '.join(shorten(set(others), known))}"
    return ", ".join(shorten(names, known))


def describe_values(rule: dict) -> str:
    """What a setting may be: `none`, `flip` or a range."""
    if rule["choices"]:
        together = " (one or more)" if rule["kind"] == "names" else ""
        return ", ".join(f"`{choice}`" for choice in rule["choices"]) + together
    if rule["kind"] == "ints":
        return "whole numbers, such as `0,1`"
    low, high, text = rule["low"], rule["high"], KINDS[rule["kind"]]
    if high < math.inf:
        return f"{text} from {low:g} to {high:,}"
    return f"{text} of at least {low:g}" if low > -math.inf else text


def describe_defaults(owners: list[tuple]) -> str:
    """The default of a setting, and the recipes that have another value.

    Args:
        owners: tuples of a recipe, what to call it, its value, and the part's default.
    """
    labels = {}
    for _, label, value, _ in owners:
        labels.setdefault(value, set()).add(label)
    default = owners[0][3] if owners[0][3] in labels else next(iter(labels))
    texts = [write_value(default)]
    for value in labels.keys() - {default}:
        names = ", ".join(shorten(labels[value], list_recipes()))
        texts.append(f"{write_value(value)} in {names}")
    return "; ".join([texts[0], *sorted(texts[1:])])


def shorten(names: set[str], known: list[str]) -> list[str]:
    """Names as code, with `fast*` in the place of all names that start with "fast"."""
    texts = {}
    for name in sorted(names):
        family = name.partition("_")[0]
        whole = [other for other in known if other.partition("_")[0] == family]
        text = f"{family}*" if len(whole) > 1 and set(whole) <= names else name
        word, _, part = text.partition(" ")
        texts[f"`{word}` {part}".rstrip()] = None
    return list(texts)


def write_value(value: object) -> str:
    """A value as it is written in a command, as code; "empty" of an empty one."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`" if value else "empty"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{textwrap.shorten(text, 60, placeholder=' ...')}`" if text else "empty"


def render_old_names() -> str:
    """A table of what was renamed or removed."""
    rows = [(f"recipe `{old}`", f"`{new}`") for old, new in RENAMED.items()]
    for setting, values in RENAMED_VALUES.items():
        rows += [(f"`{setting}={old}`", f"`{setting}={new}`") for old, new in values.items()]
    rows += [(f"setting `{name}`", f"removed: {text}") for name, text in REMOVED.items()]
    rows += [(f"command `{old}`", f"`{new}`") for old, new in MOVED.items()]
    rows += [
        (f"`train RECIPE --{old} X`", f"`train RECIPE {new}=X`") for old, new in SETTINGS.items()
    ]
    rows.append(("`push RECIPE --folds X`", "`push RECIPE folds=X`"))
    return render_table(("old", "now"), rows)


def render_commands() -> str:
    """A section for each command: what it does, how it is written, its options."""
    _, commands = make_parser()
    return "\n\n".join(render_command(*item) for item in commands.items())


def render_command(name: str, parser: argparse.ArgumentParser) -> str:
    """A command's section."""
    shown = [a for a in parser._actions if a.help != argparse.SUPPRESS and a.dest != "help"]
    words = " ".join(["python build.py", name, *map(write_argument, shown)])
    description = " ".join(parser.description.split())
    lines = [f"### {name}", "", f"{description}.", "", "```", *wrap_usage(words), "```", ""]
    options = [f"- `{name_argument(a)}`: {a.help}" for a in shown if a.help]
    example = parser.epilog.partition("python")[2]
    return "\n".join([*lines, *options, *[""] * bool(options), f"Example: `python{example}`"])


def name_argument(action: argparse.Action) -> str:
    """An argument in the list of options: without the brackets of what may be left out."""
    text = write_argument(action)
    return text[1:-1] if text.startswith("[") else text


def write_argument(action: argparse.Action) -> str:
    """An argument as it is written in a usage line, such as [--data DIR]."""
    name = action.metavar or action.dest.upper()
    if action.choices and not action.metavar:
        name = "|".join(map(str, action.choices))
    if not action.option_strings:
        many = {"*": f"[{name} ...]", "+": f"{name} [{name} ...]", "?": f"[{name}]"}
        return many.get(action.nargs, name)
    option = action.option_strings[-1] + ("" if action.nargs == 0 else f" {name}")
    return option if action.required else f"[{option}]"


def wrap_usage(words: str) -> list[str]:
    """A usage line in lines of 100 columns."""
    parts = re.findall(r"\[.*?\]|\S+", words)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) > 98:
            lines.append("   ")
        lines[-1] += f" {part}"
    return lines


def render_table(header: tuple, rows: list[tuple]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines)
