"""The commands that need no account: list, build, train, tune, explore, report, handin."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pcam_kaggle.system.paths import find_data, open_output

from .bundle.header import make_slug
from .bundle.metadata import PLACEHOLDER, fill_metadata, write_kernel
from .bundle.page import bundle_kernel
from .files import write_text
from .folders import find_downloaded


def show_recipes(args: argparse.Namespace, runs: Path) -> None:
    """Print what can be built, without a framework."""
    from .bundle.recipes import list_recipes, read_recipe
    from .facts.foundation import list_foundation
    from .facts.measurements import describe_result
    from .facts.networks import load_networks

    for name in list_recipes():
        print(f"{name}\n    {read_recipe(name).text}\n    {describe_result(name)}")
    print(f"\n{'network':<17} {'family':<11} {'parameters':>11} {'trainable':>11}")
    for name, network in load_networks().items():
        counts = f"{network.num_parameters:>11,} {network.num_trainable:>11,}"
        print(f"{name:<17} {network.family:<11} {counts}  {network.text}")
    print(f"\n{'foundation model':<17} {'access':<11} {'license':<11} {'parameters':>11}")
    print(*list_foundation(), sep="\n")
    print("choose one by held-out slides, not by a published score on PCam's test part")


def build(args: argparse.Namespace, runs: Path) -> None:
    """Write the kernel and print what is in it."""
    metadata = fill_metadata(args.recipe, args.overrides, notebook=args.notebook)
    path, bundle = write_kernel(args.recipe, args.overrides, metadata=metadata)
    kernel_id = metadata["id"]
    print(f"wrote     {path}")
    print(f"kernel    {kernel_id}")
    if kernel_id.startswith(PLACEHOLDER):
        print("          no Kaggle credentials found: enter your user name in")
        print(f"          {path.with_name('kernel-metadata.json')}")
    print(f"build id  {bundle.build_id}")
    print(f"size      {path.stat().st_size:,} bytes")
    for section in bundle.contents:
        line = "" if args.notebook else section.line  # a notebook has cells
        print(f"{line:>6}  {section.name:<28} {section.sentence}".rstrip())
    option = " --notebook" * args.notebook
    print(f"push it   python build.py push {args.recipe}{option}")
    print(f"by hand   kaggle kernels push -p {path.parent}")


def train(args: argparse.Namespace, runs: Path) -> None:
    """Build the kernel and run the built file on a folder of data."""
    from .card.write import write_own_card  # pandas: a second to import

    slug = make_slug(args.recipe, args.overrides)
    write_own_card(run_here(args, f"{slug}-{{}}-home", runs), runs)


def tune(args: argparse.Namespace, runs: Path) -> None:
    """Run a study here; the trials of an earlier run of it are kept."""
    run_here(args, f"{make_slug(args.recipe, args.overrides)}-home", runs)


def explore(args: argparse.Namespace, runs: Path) -> None:
    """Build the recipe `explore` and run it on a folder of data, over an earlier exploration."""
    from .records import read_result  # filelock: 12 ms, which `build` can save

    out = args.out or runs / "eda"
    if read_result(out)["recipe"] == "explore":
        (out / "run.json").unlink()
    run_here(args, "eda", runs)


def report(args: argparse.Namespace, runs: Path) -> None:
    """Write the report of a run."""
    from .report.writer import write_report  # nbconvert, pandas
    from .runs import find_folder

    folders = [find_folder(name, runs) for name in args.names]
    write_report(folders, args.repository, author=args.author)


def hand_in(args: argparse.Namespace, runs: Path) -> None:
    """Write the folder that is handed in."""
    from .report import handin
    from .runs import find_folder

    folders = [find_folder(name, runs) for name in args.names]
    handin.hand_in(folders, args.out or runs / "handin", args.repository, author=args.author)


def run_here(args: argparse.Namespace, folder: str, runs: Path) -> Path:
    """Build a kernel, run it as Kaggle does, and print where its results are: the folder.

    Args:
        args: with recipe, overrides, sources, data, out and, for `train`, resume. Without
            data or PCAM_INPUT, what `download` has left in runs/ is used.
        folder: str, where the results go in `runs` without args.out; {} is replaced by
            the build id.
        runs: Path of the folder of runs.

    Raises:
        FileNotFoundError: no competition in the folder of data.
        OSError: a folder that cannot be written.
        ValueError: nothing to resume, or a kernel that failed.
    """
    given = args.data or os.environ.get("PCAM_INPUT") or find_downloaded(runs)
    try:
        found = find_data(given)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; or python build.py download") from None
    bundle = bundle_kernel(args.recipe, args.overrides)
    out = open_output(args.out or runs / folder.format(bundle.build_id)).absolute()
    if getattr(args, "resume", False):
        check_resume(out)
    script = out / f"{make_slug(args.recipe, args.overrides)}-{bundle.build_id}.py"
    write_text(script, bundle.source)
    run_script(script, Path(given or found), out, args.sources)
    print(f"results   {out}")
    return out


def check_resume(out: Path) -> None:
    """Refuse to resume where nothing is finished.

    Raises:
        ValueError: no network of an earlier run.
    """
    if not list((out / "folds").glob("*.npz")):
        raise ValueError(
            f"--resume: expected networks of an earlier run in {out / 'folds'}. "
            "Received: none. Try: train without --resume, with the settings of the run "
            "to resume"
        )


def run_script(script: Path, data: Path, out: Path, sources: Sequence = ()) -> None:
    """Run a kernel's script with two folders for Kaggle's two.

    The kernel ends with this process, however it ends: it waits for a lock held here. Its lines
    are printed as `LiveLine` prints them.

    Args:
        script: Path of the script.
        data: Path of the folder that stands for /kaggle/input.
        out: Path of the folder that stands for /kaggle/working.
        sources: the finished runs (Source) whose networks it uses.

    Raises:
        ValueError: it failed, after printing its own traceback.
    """
    import filelock  # 12 ms, which `build` can save

    from pcam_kaggle.system.locks import PARENT

    from .live import LiveLine, follow, started

    folders = {"PCAM_INPUT": str(data.absolute()), "PCAM_WORKING": str(out)}
    if sources:
        from .reuse import point_at

        folders |= point_at(sources)
    with tempfile.TemporaryDirectory(prefix="pcam-", ignore_cleanup_errors=True) as scratch:
        lock = Path(scratch) / "parent.lock"
        environment = {**os.environ, **folders, PARENT: str(lock)}
        command = [sys.executable, str(script)]
        with (
            filelock.FileLock(lock),
            LiveLine() as live,
            started(command, environment, live) as process,
        ):
            for line, stream in follow(process, live):
                live.take(line, stream=stream)
    if process.returncode:
        raise ValueError(f"the kernel {script} failed, exit code {process.returncode}")
