"""The recipes and networks that there are: a table, or all that is known of one."""

import argparse
import shutil
import sys
import textwrap
from pathlib import Path

from pcam_kaggle.system.settings import unknown

from .bundle.recipes import list_recipes, read_recipe
from .facts.foundation import list_foundation
from .facts.measurements import describe_result, find_auc, find_gpu_hours
from .facts.networks import Network, load_networks

LEAST_WIDTH = 72  # of a terminal for tables; a narrower one shows paragraphs
FULL_WIDTH = 100  # where there is no terminal


def show_catalog(args: argparse.Namespace, runs: Path) -> None:
    """Print what can be built and trained, without a framework.

    Raises:
        ValueError: no recipe and no network of that name.
    """
    networks, width = load_networks(), FULL_WIDTH
    if sys.stdout and sys.stdout.isatty():  # None where it was closed before the start
        width = max(20, min(FULL_WIDTH, shutil.get_terminal_size().columns))
    if args.name is None:
        rows = [("recipe", "AUC", "GPU h", "what it is")]
        rows += [list_recipe(name) for name in list_recipes()]
        print_table(rows, width)
        print(
            textwrap.fill(
                "AUC: on test patches, the best measured at home. GPU h: hours on Kaggle's GPUs, "
                "estimated. More about a recipe: python build.py list RECIPE",
                width,
            )
        )
        rows = [("network", "of", "parameters", "what it is")]
        rows += [
            (n, row.family, f"{row.num_parameters:,}", row.text) for n, row in networks.items()
        ]
        print()
        print_table(rows, width)
        print(f"\n{'foundation model':<17} {'access':<11} {'license':<11} {'parameters':>11}")
        print(*list_foundation(), sep="\n")
        print("choose one by held-out slides, not by a published score on PCam's test part")
    elif args.name in list_recipes():
        print_paragraphs(describe_recipe(args.name), width)
    elif args.name in networks:
        print_paragraphs(describe_network(networks[args.name]), width)
    else:
        raise ValueError(unknown("recipe or network", args.name, [*list_recipes(), *networks]))


def list_recipe(name: str) -> tuple:
    """A recipe's row."""
    hours = find_gpu_hours(name)
    return name, find_auc(name) or "-", f"{hours:g}" if hours else "-", read_recipe(name).text


def list_network(network: Network) -> tuple:
    """A network's row."""
    return network.name, network.family, f"{network.num_parameters:,}", network.text


def describe_recipe(name: str) -> list[str]:
    """What a recipe is, how it works, its own settings, and what was measured."""
    recipe = read_recipe(name)
    changes = [f"{key}={write(value)}" for key, value in recipe.changes.items()]
    return [
        f"{name}: {recipe.text}",
        *recipe.method.split("\n\n"),
        f"Its own settings: {' '.join(changes) or 'none'}.",
        describe_result(name),
    ]


def write(value: object) -> str:
    """A setting's value as it is written in a command."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def describe_network(network: Network) -> list[str]:
    """What a network is, its size, its strengths and weaknesses."""
    return [
        f"{network.name}: {network.text}",
        f"{network.num_parameters:,} parameters, {network.num_trainable:,} of them trained.",
        " ".join(filter(None, (network.about, network.imagenet))),
    ]


def print_paragraphs(paragraphs: list[str], width: int) -> None:
    """Print paragraphs, refilled, with empty lines between them."""
    print("\n\n".join(textwrap.fill(" ".join(text.split()), width) for text in paragraphs))


def print_table(rows: list[tuple], width: int) -> None:
    """Print rows whose last cell is a text: filled beside the other cells, or below them."""
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    for *cells, text in rows:
        line = "  ".join(cell.ljust(size) for cell, size in zip(cells, widths))
        if width < LEAST_WIDTH:
            print(line.rstrip())
            print(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  "))
        else:
            indent = " " * (len(line) + 2)
            print(textwrap.fill(f"{line}  {text}", width, subsequent_indent=indent))
