"""The commands of build.py and their help, in the order of the loop."""

import argparse
import functools
import shutil
import textwrap
from collections.abc import Callable

from .options import (
    add_card,
    add_explain,
    add_folders,
    add_json,
    add_message,
    add_notebook,
    add_out,
    add_overrides,
    add_predict,
    add_push,
    add_queue,
    add_recipe,
    add_record,
    add_report,
    add_run,
    add_send_anyway,
    add_wait,
    add_weights,
    parse_name,
)

SENT = "what was sent is kept, and a pushed kernel runs on"
SHOWN = "nothing was changed"


def make_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of the commands by name.

    A command's parser sets `call`, its module and function, and `kept`, what is said of it after
    Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="build.py")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    overview = argparse.ArgumentParser(
        prog="build.py",
        usage="build.py COMMAND ...",
        description="Build, run and submit PCam kernels. Options and an example of a command: "
        "build.py COMMAND --help",
        epilog="RUN is a folder, its name in runs/, a build id or a kernel's slug; where a usage "
        "line has it as [RUN], the latest if omitted. Settings are written name=value, such as "
        "epochs=3 folds=0,1.",
        add_help=False,
    )
    parser.format_help = overview.format_help  # argparse cannot group commands
    for heading, add_commands in GROUPS.items():
        group = overview.add_argument_group(heading)
        add_commands(functools.partial(add_command, commands, group))
    return parser, commands.choices


def add_command(
    commands: object,
    group: object,
    name: str,
    text: str,
    example: str,
    module: str = "commands",
    function: str | None = None,
    kept: str = "what is finished is kept",
) -> argparse.ArgumentParser:
    """Add a command, and its line to a group of the overview."""
    group.add_argument(name, help=text)
    width = max(20, shutil.get_terminal_size().columns - 2)
    command = commands.add_parser(
        name,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.fill(text[0].upper() + text[1:], width),
        epilog=f"example:\n  python build.py {example}",  # on one line, to be copied
    )
    command.set_defaults(call=(module, function or name), kept=kept)
    return command


def add_making(add: Callable) -> None:
    """The commands that build and train here, without an account."""
    text = "show the recipes and the networks, or what is known of one"
    command = add("list", text, "list fast", "catalog", "show_catalog", SHOWN)
    command.add_argument("name", nargs="?", metavar="NAME", help="a recipe or a network")
    command = add("build", "write a recipe's kernel under kernel/dist", "build fast", "home")
    add_recipe(command)
    add_notebook(command)
    text = "build a recipe's kernel and run it here; repeat the command to resume it"
    command = add("train", text, "train fast folds=0,1 --data DIR", "home")
    add_recipe(command)
    add_folders(command)
    command = add("demo", "run the whole loop at home, on the shipped patches", "demo")
    add_overrides(command)
    loop = argparse.ArgumentParser()
    add_loop(loop)
    command.set_defaults(**vars(loop.parse_args(["demo"])))  # `demo` is `run demo`


def add_loop(command: argparse.ArgumentParser) -> None:
    """The arguments of `run`."""
    add_recipe(command)
    add_push(command)
    add_message(command)
    add_queue(command)
    add_record(command)


def add_running(add: Callable) -> None:
    """The commands that talk to Kaggle or to what stands in for it."""
    text = "check what a run on Kaggle needs; sends and changes nothing"
    command = add("doctor", text, "doctor fast", kept=SHOWN)
    command.add_argument(
        "recipe", nargs="?", default="fast", metavar="RECIPE", help="fast if omitted"
    )
    add_overrides(command)
    add_json(command)
    text = "download the competition's data, resumed and verified"
    add_out(add("download", text, "download"), "folder for the data (default: runs/data)")
    text = "upload pretrained weights as a private dataset"
    add_weights(add("weights", text, "weights densenet121"))
    text = "push, wait, output, submit, score, leaderboard"
    add_loop(add("run", text, "run fast", kept=SENT))
    text = "push a recipe's kernel, which runs on Kaggle"
    command = add("push", text, "push smoke --wait", kept=SENT)
    add_recipe(command)
    add_push(command)
    add_wait(command)
    add_record(command)
    text = "the state of a pushed run, and its log"
    command = add("status", text, "status --wait", kept=SENT)
    add_run(command)
    add_wait(command)
    add_json(command)
    command = add("output", "download what a run has left, checked", 'output --only "*.csv"')
    add_run(command)
    command.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="GLOB",
        help='only files that match, such as "*.csv", and run.json; may be repeated',
    )
    text = "submit a run's predictions, once, and wait for the score"
    command = add("submit", text, 'submit --message "two folds"', kept=SENT)
    add_run(command)
    add_message(command)
    add_send_anyway(command)
    add_record(command)
    text = "a run's scores, its rank and a picture of both"
    add_run(add("leaderboard", text, "leaderboard", kept=SHOWN))


def add_looking(add: Callable) -> None:
    """The commands that show, compare and use finished runs."""
    text = "all runs, made here or pushed, with their states and scores"
    add_json(add("runs", text, "runs", "listing", "show_runs", SHOWN))
    text = "a run as a notebook and a page"
    add_report(add("report", text, "report pcam-fast explore", "home"))
    text = "predict patches or a larger image with a run's networks"
    add_predict(add("predict", text, "predict pcam-fast patches/", "predict"))
    text = "draw Grad-CAM maps of patches by a run's networks"
    add_explain(add("explain", text, "explain pcam-fast patch.png", "explain"))
    text = "combine several runs into one submission"
    command = add("blend", text, "blend pcam-fast pcam-scratch")
    command.add_argument("names", nargs="+", type=parse_name, metavar="RUN", help="two or more")
    command.add_argument(
        "--method",
        choices=("mean", "rank", "logit", "fitted"),
        default="mean",
        help="fitted: weights fitted on out-of-fold predictions",
    )
    command.add_argument(
        "--anyway",
        action="store_true",
        help="blend although the AUC is below that of the best run, or few predictions are common",
    )


def add_handing_in(add: Callable) -> None:
    """The commands whose folders are handed in or published."""
    text = "all that is handed in, as one folder with a checklist"
    command = add("handin", text, "handin pcam-fast explore", "home", "hand_in")
    add_report(command, "if omitted, those of the earlier hand-in, else the latest finished run")
    add_out(command, "the folder (default: runs/handin)")
    text = "a run's model card, and its networks as a Kaggle model"
    add_card(add("card", text, "card pcam-fast", "card.write"))


GROUPS = {
    "make": add_making,
    "run on Kaggle": add_running,
    "look": add_looking,
    "hand in": add_handing_in,
}
