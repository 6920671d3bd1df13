"""The command line: it checks, calls and prints."""

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path

from kernel.bundle import ROOT, bundle_kernel
from kernel.header import make_slug
from kernel.metadata import PLACEHOLDER, fill_metadata, write_kernel
from pcam_kaggle.config import ARCHITECTURES, parse_overrides
from pcam_kaggle.paths import find_data, open_output, write_beside
from pcam_kaggle.recipes import RECIPES, get_config

RUNS = ROOT / "runs"


def main(words=None):
    """Run one command: 0 it did its work, 1 it failed, 2 wrong usage."""
    parser = make_parser()
    args, rest = parser.parse_known_args(words)
    if hasattr(args, "overrides"):  # they may also follow --data and --out
        args.overrides += [word for word in rest if not word.startswith("-")]
        rest = [word for word in rest if word.startswith("-")]
        if getattr(args, "folds", None):
            args.overrides.append(f"folds={args.folds}")
        if args.command == "tune":
            args.overrides += list_study(args)
        try:
            args.overrides = parse_overrides(args.overrides)
            config = get_config(args.recipe, args.overrides)
            if config.trials and args.command in ("run", "demo"):
                raise ValueError(
                    "trials: a study submits nothing; use push, status and output. "
                    f"Received: {args.command} {args.recipe}, trials={config.trials}"
                )
        except ValueError as error:
            parser.error(str(error))
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        return args.call(args)
    except (ValueError, OSError) as error:
        print(f"build.py: error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(
            "build.py: interrupted; nothing is lost, the same command goes on",
            file=sys.stderr,
        )
    return 1


def make_parser():
    """The parser; the function of each command is its default for `call`."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description="Build, push, score and try a PCam kernel.",
        epilog="RUN is a folder of runs/, a build id or a kernel's slug; the latest if "
        "left out. Settings are written name=value, such as epochs=3 folds=0,1.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, text, call=None):
        command = commands.add_parser(name, help=text, description=text.capitalize())
        command.set_defaults(call=call or run_remote, command=name)
        return command

    command = add("demo", "the whole loop on the shipped patches, at home")
    add_overrides(command)
    command.set_defaults(recipe="demo", resume=False, timeout=None)
    command.set_defaults(message=None, queue_timeout=60)
    add("list", "show the recipes and the architectures", run_list)
    command = add("build", "write a recipe's kernel under kernel/dist", run_build)
    add_recipe(command)
    command = add("train", "build a recipe's kernel and run it here", run_train)
    add_recipe(command)
    command.add_argument("--data", type=Path, help="the competition's folder")
    command.add_argument("--out", type=Path, help="for the files, else runs/...")
    command.add_argument(
        "--resume",
        action="store_true",
        help="only where something is finished or begun already",
    )

    command = add("eda", "explore the training patches: tables and pictures", run_eda)
    command.add_argument("--data", type=Path, help="the competition's folder")
    command.add_argument("--out", type=Path, help="for the files, else runs/eda")
    command.add_argument("--slides", type=Path, metavar="CSV", help="id,slide")
    command = add("tune", "try sets of a recipe's settings, by Optuna", run_tune)
    add_recipe(command)
    command.add_argument(
        "--trials", type=parse_count, metavar="N", help="20, or all choices"
    )
    command.add_argument("--hours", type=float, help="no trial is begun after so many")
    command.add_argument("--data", type=Path, help="the competition's folder")
    command.add_argument("--out", type=Path, help="for the files, else runs/...-study")

    command = add("run", "push, wait, output, submit, score, leaderboard")
    add_recipe(command)
    add_push(command)
    add_message(command)
    add_queue(command)
    command = add("push", "push a recipe's kernel, which runs on Kaggle's GPU")
    add_recipe(command)
    add_push(command)
    add_wait(command)
    command = add("status", "the state of a pushed run, and its log")
    add_run(command)
    add_wait(command)
    command = add("output", "download a finished run's output, checked")
    add_run(command)
    command = add("submit", "submit a run's predictions, once, and wait for the score")
    add_run(command)
    add_message(command)
    command = add("leaderboard", "a run's scores, its rank and the picture of it")
    add_run(command)
    add("runs", "what was pushed, with states and scores")
    command = add("blend", "several runs as one submission, and what each adds")
    command.add_argument("names", nargs="+", metavar="RUN", help="two or more")
    command.add_argument(
        "--method",
        choices=("mean", "rank", "logit", "fitted"),
        default="mean",
        help="fitted: weights fitted on out-of-fold predictions",
    )
    command = add("report", "a run as a notebook and a page to hand in", run_report)
    command.add_argument("names", nargs="+", metavar="RUN", help="others are compared")
    command.add_argument("--repository", metavar="URL", help="else git's origin")
    command = add("weights", "pretrained weights as a private dataset of yours")
    command.add_argument("architecture", metavar="ARCHITECTURE", help="from list")
    command.add_argument("file", nargs="?", type=Path, help="else Keras's cache")
    command = add("sandbox", "Kaggle on localhost: a board of your own")
    add_sandbox(command)
    return parser


def add_recipe(command):
    """RECIPE [name=value ...]"""
    command.add_argument("recipe", metavar="RECIPE", help="a name from list")
    add_overrides(command)


def add_overrides(command):
    """[name=value ...]"""
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="name=value",
        help="settings to replace, such as epochs=3 folds=0,1",
    )


def add_run(command):
    """[RUN]"""
    command.add_argument("name", nargs="?", metavar="RUN", help="else the latest")


def add_push(command):
    """[--folds N,N] [--resume] [--timeout HOURS]"""
    command.add_argument(
        "--folds",
        metavar="N,N",
        help="only these, as a kernel of their own; blend puts all together",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="take over the finished folds of the kernel's earlier output",
    )
    command.add_argument(
        "--timeout",
        type=parse_hours,
        metavar="HOURS",
        help="when Kaggle stops the session; else four times what is expected",
    )


def add_wait(command):
    """[--wait] [--queue-timeout MINUTES]"""
    command.add_argument("--wait", action="store_true", help="until the run has ended")
    add_queue(command)


def add_queue(command):
    """[--queue-timeout MINUTES]"""
    command.add_argument(
        "--queue-timeout",
        type=float,
        default=60,
        metavar="MINUTES",
        help="how long the run may stand in the queue while we wait (60)",
    )


def add_message(command):
    """[--message TEXT]"""
    command.add_argument("--message", help="the submission's text; the build is added")


def add_sandbox(command):
    """--data DIR --solution CSV [...]"""
    path = {"type": Path, "metavar": "CSV"}
    command.add_argument("--data", type=Path, required=True, help="the competition")
    command.add_argument("--solution", required=True, help="id,label,Usage", **path)
    command.add_argument("--teams", help="earlier teams: team,public,private", **path)
    command.add_argument("--folder", type=Path, help="its state, else runs/sandbox")
    command.add_argument("--port", type=int, default=0, help="else a free one")
    command.add_argument(
        "--deadline",
        type=datetime.datetime.fromisoformat,
        metavar="DATE",
        help="YYYY-MM-DD, UTC: later submissions are late; else the board stays open",
    )


def parse_hours(text):
    """A session's time-out."""
    hours = float(text)
    if not 0.1 <= hours <= 12:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 12 hours. Received: {text}")
    return hours


def list_study(args):
    """The words of --trials and --hours, as settings."""
    has_own = "trials" in getattr(RECIPES.get(args.recipe), "settings", {})
    words = [] if has_own and args.trials is None else [f"trials={args.trials or 20}"]
    return words + [f"study_hours={args.hours}"] * (args.hours is not None)


def parse_count(text):
    """A number of trials."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more. Received: {text}")
    return int(text)


def run_list(args):
    """Print what can be built, without a framework."""
    for name, recipe in RECIPES.items():
        print(f"{name}\n    {recipe.text}\n    {recipe.describe_result()}")
    print(f"\n{'architecture':<17} {'parameters':>11} {'trainable':>11}")
    for name, known in ARCHITECTURES.items():
        counts = f"{known.num_parameters:>11,} {known.num_trainable:>11,}"
        print(f"{name:<17} {counts}  {known.text}")
    return 0


def run_build(args):
    """Write the kernel and say what is in it."""
    script, bundle = write_kernel(args.recipe, args.overrides)
    kernel_id = fill_metadata(args.recipe, args.overrides)["id"]
    print(f"wrote     {script}")
    print(f"kernel    {kernel_id}")
    if kernel_id.startswith(PLACEHOLDER):
        print("          no Kaggle credentials found: put your name there yourself, in")
        print(f"          {script.with_name('kernel-metadata.json')}")
    print(f"build id  {bundle.build_id}")
    print(f"size      {script.stat().st_size:,} bytes")
    for line, name, sentence in bundle.contents:
        print(f"{line:>6}  {name:<14} {sentence}")
    print(f"push it   python build.py push {args.recipe}")
    print(f"by hand   kaggle kernels push -p {script.parent}")
    return 0


def run_train(args):
    """Build the kernel and run that very file on a folder of data."""
    data = args.data or os.environ.get("PCAM_INPUT")
    found = find_data(data)
    folder = Path(data or found)
    out = run_kernel(args.recipe, args.overrides, folder, args.out, args.resume)
    print(f"results   {out}")
    return 0


def run_eda(args):
    """Explore a folder of data."""
    from kernel.explore import explore_folder  # pandas, matplotlib, scikit-learn

    explore_folder(args.data, args.out or RUNS / "eda", args.slides)
    return 0


def run_report(args):
    """Write the report of a run."""
    from kernel.report import write_report  # nbconvert, pandas
    from kernel.runs import find_folder

    folders = [find_folder(name, RUNS) for name in args.names]
    write_report(folders, args.repository)
    return 0


def run_tune(args):
    """Run a study here; what a study of the same recipe has tried already is kept."""
    data = args.data or os.environ.get("PCAM_INPUT")
    folder = Path(data or find_data(data))
    out = args.out or RUNS / f"{make_slug(args.recipe, args.overrides)}-home"
    print(f"results   {run_kernel(args.recipe, args.overrides, folder, out)}")
    return 0


def run_kernel(recipe, overrides, data, out=None, resume=False):
    """Build a kernel and run it as Kaggle does, with two folders for Kaggle's two.

    The script is kept beside its results; what `build` left to push stays as it is.

    Returns:
        Path of the results: `out`, else runs/<slug>-<build id>-home.

    Raises:
        OSError: a folder that cannot be written.
        ValueError: nothing to resume; the kernel failed; its own traceback was printed
            before.
    """
    bundle = bundle_kernel(recipe, overrides)
    name = f"{make_slug(recipe, overrides)}-{bundle.build_id}"
    out = open_output(out or RUNS / f"{name}-home").absolute()
    if resume and not list((out / "folds").glob("*.npz")):
        raise ValueError(
            f"--resume: expected networks of an earlier run in {out / 'folds'}; train "
            "without --resume, with the settings of the run to go on with. "
            "Received: none"
        )
    script = out / f"{name}.py"
    with write_beside(script) as partial:
        partial.write_text(bundle.source, "utf-8", newline="\n")
    folders = {"PCAM_INPUT": str(data.absolute()), "PCAM_WORKING": str(out)}
    environment = {**os.environ, **folders, "PYTHONUNBUFFERED": "1"}
    result = subprocess.run([sys.executable, str(script)], env=environment)
    if result.returncode:
        raise ValueError(f"the kernel {script} failed, exit code {result.returncode}")
    return out


def run_remote(args):
    """A command that speaks to Kaggle or to the sandbox."""
    from kernel import commands  # imports kaggle, pandas, matplotlib

    getattr(commands, args.command)(args, RUNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
