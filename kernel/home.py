"""The commands that need no account: build, train, report, handin."""

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pcam_kaggle.system.paths import find_data, open_output

from .bundle.header import make_slug
from .bundle.metadata import PLACEHOLDER, fill_metadata, write_kernel
from .bundle.page import bundle_kernel
from .bundle.recipes import read_recipe
from .files import write_text
from .folders import DATA, DRAFT, find_downloaded
from .records import read_result
from .runs import count_networks, find_folder
from .terminal import join_words

EXPLORED = re.compile(r"run\.json|exploration\.json|patches\.csv|data_\w+\.png")  # its files


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
    by_hand = join_words(["kaggle", "kernels", "push", "-p", str(path.parent)])
    print(f"by hand   {by_hand}")


def train(args: argparse.Namespace, runs: Path) -> None:
    """Build a recipe's kernel, run it as Kaggle does, and print where its results are.

    Repeated, the command resumes what it has left; an exploration is made again.

    Raises:
        FileNotFoundError: no competition in the folder of data.
        KeyboardInterrupt: Ctrl-C, with what is kept.
        OSError: a folder that cannot be written.
        ValueError: nothing to resume, runs of other patches, or a kernel that failed.
    """
    given = args.data or os.environ.get("PCAM_INPUT") or find_downloaded(runs)
    try:
        found = find_data(given)
    except FileNotFoundError as error:
        if given:
            raise FileNotFoundError(f"{error}; or python build.py download") from None
        raise FileNotFoundError(
            f"no data. Expected: the competition's folder. Received: no --data, no PCAM_INPUT, and "
            f"nothing in {runs / DATA}. Try: --data DIR; python build.py download; or, after a "
            f"demo, --data {runs / 'demo' / 'data' / 'input'}"
        ) from error
    places = {}
    if args.sources:
        from .first_stage import check_patches  # pandas
        from .reuse import point_at

        places = point_at(args.sources)
        check_patches(args.recipe, args.overrides, args.sources, found, given or found)
    bundle = bundle_kernel(args.recipe, args.overrides)
    out = (args.out or runs / name_folder(args, bundle.build_id)).absolute()
    if args.resume:
        check_resume(out)
    is_new = not out.exists()
    open_output(out)
    script = out / f"{make_slug(args.recipe, args.overrides)}-{bundle.build_id}.py"
    draft = drafted(out, runs) if args.recipe == "explore" else contextlib.nullcontext(out)
    try:
        with draft as folder:
            write_text(script, bundle.source)
            run_script(script, Path(given or found), folder, places)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(describe_kept(out)) from None
    except (ValueError, OSError):
        if is_new:
            remove_empty(out, script)
        raise
    print(f"results   {out}")
    from .card.write import write_own_card  # pandas: a second, which the start can save

    write_own_card(out, runs)


def remove_empty(out: Path, script: Path) -> None:
    """Remove the folder of a run that computed nothing, unless another command's kernel uses it."""
    from .locks import is_held  # as in drafted

    left = {path.name for path in out.rglob("*")} - {script.name, ".lock", "folds"}
    if not left and not is_held(out / ".lock"):
        shutil.rmtree(out, ignore_errors=True)


@contextlib.contextmanager
def drafted(out: Path, runs: Path) -> Iterator[Path]:
    """A folder for a new exploration, which takes the place of the earlier one when it is finished.

    Raises:
        ValueError: the folder holds another run.
    """
    from .locks import locked_output  # filelock: 12 ms, which `build` can save

    with locked_output(runs, out):
        check_explored(out)
        draft = out / DRAFT
        shutil.rmtree(draft, ignore_errors=True)  # of a command that was killed
        draft.mkdir()
        try:
            yield draft
            check_explored(out)
            earlier = [path for path in out.iterdir() if EXPLORED.fullmatch(path.name)]
            for path in sorted(earlier, key=lambda path: path.name != "run.json"):
                path.unlink()
            for path in sorted(draft.glob("[!.]*"), key=lambda path: path.name == "run.json"):
                path.replace(out / path.name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def check_explored(out: Path) -> None:
    """Refuse (ValueError) to explore into a folder that holds or makes another run."""
    from .locks import is_held

    recipe = read_result(out)["recipe"]
    if recipe not in ("", "explore") or (out / "folds").exists() or is_held(out / ".lock"):
        raise ValueError(
            f"{out} holds another run. Expected: an exploration, or a new folder. Received: "
            f"{recipe or 'one in training'}. Try: another --out"
        )


def name_folder(args: argparse.Namespace, build_id: str) -> str:
    """The folder in runs/ of a recipe that is run here; a study has one for all its builds."""
    slug = make_slug(args.recipe, args.overrides)
    if args.recipe == "explore":
        return "explore"
    return f"{slug}-home" if read_recipe(args.recipe).is_study else f"{slug}-{build_id}-home"


def describe_kept(out: Path) -> str:
    """What a run that was interrupted has kept in its folder."""
    if (out / "exploration.json").exists():
        return f"kept in {out}: the earlier exploration"
    if (out / "study.log").exists():
        return f"kept in {out}: the finished trials"
    is_training = any((out / "folds").glob("checkpoint_*.npz"))
    num_networks = count_networks(out)
    networks = "1 finished network" if num_networks == 1 else f"{num_networks} finished networks"
    parts = [networks] * (num_networks > 0)
    parts += [f"the epochs of the {'next' if parts else 'first network'}"] * is_training
    return f"kept in {out}: {' and '.join(parts)}" if parts else "nothing is finished yet"


def report(args: argparse.Namespace, runs: Path) -> None:
    """Write the report of a run."""
    from .report.writer import write_report  # nbconvert, pandas

    folders = [find_folder(name, runs) for name in args.names or [None]]
    write_report(folders, args.repository, author=args.author)


def hand_in(args: argparse.Namespace, runs: Path) -> None:
    """Write the folder that is handed in."""
    from .report import handin

    out = args.out or runs / "handin"
    if names := args.names or handin.read_written(out)[1]["runs"]:
        print(f"runs     {', '.join(names)}")
    folders = [find_folder(name, runs) for name in names or [None]]
    handin.hand_in(folders, out, args.repository, author=args.author)


def check_resume(out: Path) -> None:
    """Refuse to resume where nothing is finished.

    Raises:
        ValueError: no network or study of an earlier run.
    """
    if not list((out / "folds").glob("*.npz")) and not (out / "study.log").exists():
        raise ValueError(
            f"--resume: expected networks of an earlier run in {out / 'folds'}. "
            "Received: none. Try: train without --resume, with the settings of the run "
            "to resume"
        )


def run_script(script: Path, data: Path, out: Path, places: dict[str, str] | None = None) -> None:
    """Run a kernel's script with two folders for Kaggle's two.

    The kernel ends with this process, however it ends: it waits for a lock held here. Its lines
    are printed as `LiveLine` prints them.

    Args:
        script: Path of the script.
        data: Path of the folder that stands for /kaggle/input.
        out: Path of the folder that stands for /kaggle/working.
        places: the environment in which it finds the finished runs that it uses.

    Raises:
        ValueError: it failed, after printing its own traceback.
    """
    import filelock  # 12 ms, which `build` can save

    from pcam_kaggle.system.locks import PARENT

    from .live import run_program

    folders = {"PCAM_INPUT": str(data.absolute()), "PCAM_WORKING": str(out), **(places or {})}
    with tempfile.TemporaryDirectory(prefix="pcam-", ignore_cleanup_errors=True) as scratch:
        lock = Path(scratch) / "parent.lock"
        safe = {"PYTHONSAFEPATH": "1"}  # nothing is imported from `out`, which may hold keras.py
        environment = {**os.environ, **folders, **safe, PARENT: str(lock)}
        with filelock.FileLock(lock):
            code, _ = run_program([sys.executable, str(script)], environment)
    if code:
        raise ValueError(f"the kernel {script.name} failed, exit code {code}")
