"""The command line: parse, check, run."""

import sys

if not (3, 11) <= sys.version_info < (3, 14):  # as in pyproject.toml
    sys.exit(
        "build.py: error: expected Python 3.11 to 3.13. Received: "
        f"{'.'.join(map(str, sys.version_info[:3]))}. Try: python3.12 -m venv .venv (Windows: "
        "py -3.12 -m venv .venv), and that environment's python"
    )

INSTALL = (
    "Try: activate the environment (. .venv/bin/activate; Windows: .venv\\Scripts\\activate), or "
    "python -m pip install -e ."
)
try:
    import argparse
    import importlib
    import os
    import signal

    from kernel.arguments import make_parser
    from kernel.folders import RUNS
    from kernel.terminal import safe_output, say_interrupted
    from kernel.usage import explain_command, explain_option
except KeyboardInterrupt:
    print("build.py: interrupted; nothing was changed", file=sys.stderr)
    sys.exit(130)
except ModuleNotFoundError as error:
    sys.exit(f"build.py: error: {error}. {INSTALL}")

CLOSED_PIPE = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1


@safe_output()
def main(words: list[str] | None = None) -> int:
    """Run one command.

    Returns 0 on success, 1 on failure, 2 on wrong usage, 75 where it is not known whether a
    push or a submission was carried out, 130 after Ctrl-C.
    """
    words = sys.argv[1:] if words is None else words
    kept = ""
    try:
        try:
            args = parse(words)
            kept = args.kept
            module, function = args.call
            getattr(importlib.import_module(f"kernel.{module}"), function)(args, RUNS)
        finally:
            if sys.stdout:  # None where it was closed before the start
                sys.stdout.flush()
        return 0
    except BrokenPipeError:  # such as of `build.py list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (ValueError, OSError) as error:
        print(f"build.py: error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("kernel", "pcam_kaggle"):
            raise
        print(f"build.py: error: {error}. {INSTALL}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C changes nothing
        told = "; ".join(filter(None, ("interrupted", str(error) or kept)))
        return say_interrupted("build.py", told, ["python", "build.py", *words])


def parse(words: list[str]) -> argparse.Namespace:
    """What the words of a command mean, checked as far as no run and no account is needed.

    Raises:
        SystemExit: wrong usage, after saying what was probably meant; or --help.
    """
    parser, commands = make_parser()
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if words[0] == "help":
        words = [*words[1:], "--help"]
    if words[0] not in (*commands, "-h", "--help"):
        parser.error(explain_command(words[0], list(commands)))
    args, rest = parser.parse_known_args(words)
    command = commands[args.command]
    try:
        if options := [word for word in rest if word.startswith("-")]:
            command.error(explain_option(options[0], words, args, commands))
        if hasattr(args, "overrides"):  # they may also follow --data and --out
            args.overrides = [*args.overrides, *rest]
        elif rest:
            command.error(f"unknown arguments: {' '.join(rest)}")
        if hasattr(args, "recipe"):
            args.sources = []
            args.overrides = check_settings(args)
        if not getattr(args, "wait", True) and args.queue_timeout:
            raise ValueError("--queue-timeout: expected with --wait. Try: add --wait")
    except ValueError as error:
        command.error(str(error))
    return args


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
    if args.command in ("run", "demo") and not recipe.submits:
        raise ValueError(
            f"{args.recipe} submits nothing. Expected: a recipe that writes "
            f"submission.csv. Received: {args.command} {args.recipe}. Try: push "
            f"{args.recipe}, then status and output"
        )
    overrides = parse_words(recipe, args.overrides)
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


if __name__ == "__main__":
    sys.exit(main())
