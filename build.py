"""The command line: demo, list, build, train. It checks, calls and prints."""

import argparse
import os
import subprocess
import sys
import time
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
        try:
            args.overrides = parse_overrides(args.overrides)
            get_config(args.recipe, args.overrides)
        except ValueError as error:
            parser.error(str(error))
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"build.py: error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("build.py: interrupted, finished folds are kept", file=sys.stderr)
    return 1


def make_parser():
    """The parser; the function of each command is its default for `run`."""
    parser = argparse.ArgumentParser(
        prog="build.py", description="Build, train and try a PCam kernel."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, name, text in [
        (run_demo, "demo", "train on the shipped patches and score the submission"),
        (run_list, "list", "show the recipes and the architectures"),
        (run_build, "build", "write a recipe's kernel under kernel/dist"),
        (run_train, "train", "build a recipe's kernel and run it here"),
    ]:
        command = commands.add_parser(name, help=text, description=text.capitalize())
        command.set_defaults(run=run)
        if name == "demo":
            command.set_defaults(recipe="demo")
        if name in ("build", "train"):
            command.add_argument("recipe", metavar="RECIPE", help="a name from list")
        if name in ("demo", "build", "train"):
            command.add_argument(
                "overrides",
                nargs="*",
                metavar="name=value",
                help="settings to replace, such as epochs=3 folds=0,1",
            )
        if name == "train":
            command.add_argument("--data", type=Path, help="the competition's folder")
            command.add_argument(
                "--out", type=Path, help="for the files, else runs/..."
            )
    return parser


def run_list(args):
    """Print what can be built, without a framework."""
    for name, recipe in RECIPES.items():
        print(f"{name}\n    {recipe.text}\n    {recipe.describe_result()}")
    print(f"\n{'architecture':<14} {'parameters':>11} {'trainable':>11}")
    for name, known in ARCHITECTURES.items():
        counts = f"{known.num_parameters:>11,} {known.num_trainable:>11,}"
        print(f"{name:<14} {counts}  {known.text}")
    return 0


def run_build(args):
    """Write the kernel and say what is in it."""
    script, bundle = write_kernel(args.recipe, args.overrides)
    kernel_id = fill_metadata(args.recipe)["id"]
    print(f"wrote     {script}")
    print(f"kernel    {kernel_id}")
    if kernel_id.startswith(PLACEHOLDER):
        print("          no Kaggle credentials found: put your name there yourself, in")
        print(f"          {script.with_name('kernel-metadata.json')}")
    print(f"build id  {bundle.build_id}")
    print(f"size      {script.stat().st_size:,} bytes")
    for line, name, sentence in bundle.contents:
        print(f"{line:>6}  {name:<14} {sentence}")
    print(f"push it   kaggle kernels push -p {script.parent}")
    return 0


def run_train(args):
    """Build the kernel and run that very file on a folder of data."""
    data = args.data or os.environ.get("PCAM_INPUT")
    found = find_data(data)
    out = run_kernel(args.recipe, args.overrides, Path(data or found), args.out)
    print(f"results   {out}")
    return 0


def run_demo(args):
    """The whole loop on the shipped patches: build, train, submit, score."""
    from kernel.demo import lay_out_demo, score_submission  # pandas and scikit-learn

    started = time.perf_counter()
    solution = lay_out_demo(RUNS / "demo")
    out = run_kernel(args.recipe, args.overrides, solution.parent / "input")
    auc = score_submission(out / "submission.csv", solution)
    print(f"results   {out}")
    print(f"whole demo in {time.perf_counter() - started:.0f} s")
    print(f"AUC of submission.csv on the 400 shipped test patches: {auc:.4f}")
    return 0


def run_kernel(recipe, overrides, data, out=None):
    """Build a kernel and run it as Kaggle does, with two folders for Kaggle's two.

    The script is kept beside its results; what `build` left to push stays as it is.

    Returns:
        Path of the results: `out`, else runs/<slug>-<build id>.

    Raises:
        OSError: a folder that cannot be written.
        ValueError: the kernel failed; its own traceback was printed before.
    """
    bundle = bundle_kernel(recipe, overrides)
    name = f"{make_slug(recipe)}-{bundle.build_id}"
    out = open_output(out or RUNS / name).absolute()
    script = out / f"{name}.py"
    with write_beside(script) as partial:
        partial.write_text(bundle.source, "utf-8", newline="\n")
    folders = {"PCAM_INPUT": str(data.absolute()), "PCAM_WORKING": str(out)}
    environment = {**os.environ, **folders, "PYTHONUNBUFFERED": "1"}
    result = subprocess.run([sys.executable, str(script)], env=environment)
    if result.returncode:
        raise ValueError(f"the kernel {script} failed, exit code {result.returncode}")
    return out


if __name__ == "__main__":
    sys.exit(main())
