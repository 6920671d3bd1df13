"""The command line: parse, check, run."""

import argparse
import difflib
import importlib
import os
import sys

if not (3, 11) <= sys.version_info < (3, 14):  # as in pyproject.toml
    sys.exit(
        "build.py: error: expected Python 3.11 to 3.13. Received: "
        f"{'.'.join(map(str, sys.version_info[:3]))}. Try: python3.12 -m venv .venv (Windows: "
        "py -3.12 -m venv .venv), and that environment's python"
    )

from kernel.arguments import make_parser
from kernel.folders import RUNS
from kernel.terminal import safe_output


@safe_output()
def main(words: list[str] | None = None) -> int:
    """Run one command.

    Returns 0 on success, 1 on failure, 2 on wrong usage, 75 where it is not known whether a
    push or a submission was carried out.
    """
    parser = make_parser()
    args, rest = parser.parse_known_args(words)
    if hasattr(args, "overrides"):  # they may also follow --data and --out
        args.overrides += [word for word in rest if not word.startswith("-")]
        rest = [word for word in rest if word.startswith("-")]
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if hasattr(args, "recipe"):
        args.sources = []
        try:
            args.overrides = check_settings(args)
        except ValueError as error:
            parser.error(str(error))
    module, function = args.call
    try:
        getattr(importlib.import_module(f"kernel.{module}"), function)(args, RUNS)
        return 0
    except BrokenPipeError:  # such as of `build.py list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"build.py: error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print("build.py: interrupted; repeat the command to continue", file=sys.stderr)
    return 1


def check_settings(args: argparse.Namespace) -> dict:
    """The settings of a command that builds a recipe, typed and checked.

    Raises:
        ValueError: no such recipe, a setting or a value that it does not take, a
            command that is not for this recipe.
    """
    from kernel.bundle.recipes import parse_words, read_recipe
    from pcam_kaggle.system.settings import name_settings

    recipe = read_recipe(args.recipe)
    if "networks" in name_settings(recipe.parts):
        recipe = find_sources(args)
    if args.command == "tune" and not recipe.is_study:
        raise ValueError(refuse_study(args.recipe))
    if args.command in ("run", "demo") and not recipe.submits:
        raise ValueError(
            f"{args.recipe} submits nothing. Expected: a recipe that writes "
            f"submission.csv. Received: {args.command} {args.recipe}. Try: push "
            f"{args.recipe}, then status and output"
        )
    options = {
        "folds": getattr(args, "folds", None),
        "trials": getattr(args, "trials", None),
        "study_hours": getattr(args, "hours", None),
        "slide_map": getattr(args, "slides", None),
    }
    words = [f"{name}={value}" for name, value in options.items() if value is not None]
    overrides = parse_words(recipe, [*args.overrides, *words])
    if "weights" in overrides and not args.sources:
        from kernel.first_stage import find_first_stage

        args.sources = find_first_stage(recipe, overrides, RUNS)
        for source in args.sources:
            overrides["weights"] = source.build_id
    return overrides


def find_sources(args: argparse.Namespace) -> object:
    """Replace the names of finished runs in networks=RUN,RUN, and keep the runs in `sources`.

    Returns:
        The recipe for the kind of these runs.

    Raises:
        ValueError: as `name_sources`.
    """
    from kernel.bundle.recipes import read_recipe
    from kernel.reuse import name_sources  # pandas: 0.3 s

    is_given = any(word.startswith("networks=") for word in args.overrides)
    if is_given or args.command not in ("build", "doctor"):  # a page to be filled in on Kaggle
        found = name_sources(args.recipe, args.overrides, RUNS)
        args.recipe, args.overrides, args.sources = found
    return read_recipe(args.recipe)


def refuse_study(name: str) -> str:
    """The message for a recipe that is not a study, with the nearest study."""
    from kernel.bundle.recipes import list_recipes, read_recipe

    known = [other for other in list_recipes() if read_recipe(other).is_study]
    nearest = difflib.get_close_matches(f"{name}_study", known, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"{name} is not a study.{hint} Known: {', '.join(known)}"


if __name__ == "__main__":
    sys.exit(main())
