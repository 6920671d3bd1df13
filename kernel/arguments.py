"""Command-line arguments and help texts."""

import argparse
import datetime
import re
from collections.abc import Callable
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    """The parser; the module and function of each command are its `call`."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description="Build, run and submit PCam kernels.",
        epilog="RUN is a folder of runs/, a build id or a kernel's slug; the latest if "
        "omitted. Settings are written name=value, such as epochs=3 folds=0,1.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, text, module="commands", function=None):
        description = text[0].upper() + text[1:]
        command = commands.add_parser(name, help=text, description=description)
        command.set_defaults(call=(module, function or name), command=name)
        return command

    add_home_commands(add)
    add_remote_commands(add)
    return parser


def add_home_commands(add: Callable) -> None:
    """The commands that need no account."""
    command = add("demo", "run the whole loop at home, on the shipped patches")
    add_overrides(command)
    command.set_defaults(recipe="demo", resume=False, timeout=None, slide_dataset=None)
    command.set_defaults(message=None, queue_timeout=60, send_anyway=False, notebook=False)
    add("list", "show the recipes and the networks", "home", "show_recipes")
    command = add("build", "write a recipe's kernel under kernel/dist", "home")
    add_recipe(command)
    add_notebook(command)
    command = add("train", "build a recipe's kernel and run it here", "home")
    add_recipe(command)
    add_folders(command, "runs/SLUG-BUILD-home")
    command.add_argument("--resume", action="store_true", help="fail if there is nothing to resume")
    text = "explore the training patches: tables and pictures"
    command = add("eda", text, "home", "explore")
    command.set_defaults(recipe="explore", overrides=[])
    add_folders(command, "runs/eda")
    command.add_argument(
        "--slides", type=Path, metavar="CSV", help="the slide of each patch: id,slide"
    )
    command = add("tune", "run a study: search for better settings with Optuna", "home")
    command.add_argument("recipe", metavar="STUDY", help="a study from list")
    add_overrides(command)
    command.add_argument("--trials", type=parse_count, metavar="N", help="sets of settings to try")
    command.add_argument("--hours", type=float, help="start no new trial after this many hours")
    add_folders(command, "runs/SLUG-home")


def add_remote_commands(add: Callable) -> None:
    """The commands that talk to Kaggle or to the sandbox, and those after them."""
    command = add("doctor", "check what a run on Kaggle needs; sends and changes nothing")
    command.add_argument(
        "recipe", nargs="?", default="fast", metavar="RECIPE", help="fast if omitted"
    )
    add_overrides(command)
    add_json(command)
    command = add("download", "download the competition's data, resumed and verified")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the data (default: runs/data)"
    )
    command = add("run", "push, wait, output, submit, score, leaderboard")
    add_recipe(command)
    add_push(command)
    add_message(command)
    add_queue(command)
    add_record(command)
    command = add("push", "push a recipe's kernel, which runs on Kaggle")
    add_recipe(command)
    add_push(command)
    add_wait(command)
    add_record(command)
    command = add("status", "the state of a pushed run, and its log")
    add_run(command)
    add_wait(command)
    add_json(command)
    command = add("output", "download what a run has left, checked")
    add_run(command)
    command.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="GLOB",
        help="only files that match, such as '*.csv', and run.json; may be repeated",
    )
    command = add("submit", "submit a run's predictions, once, and wait for the score")
    add_run(command)
    add_message(command)
    add_send_anyway(command)
    add_record(command)
    command = add("leaderboard", "a run's scores, its rank and a picture of both")
    add_run(command)
    command = add("runs", "what was pushed, with states and scores", function="show_runs")
    add_json(command)
    command = add("blend", "combine several runs into one submission")
    command.add_argument("names", nargs="+", metavar="RUN", help="two or more")
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
    command = add("predict", "predict patches or a larger image with a run's networks", "predict")
    add_predict(command)
    text = "a run's model card, and its networks as a Kaggle model"
    command = add("card", text, "card.write")
    command.add_argument("name", metavar="RUN", help="a run here, with its networks")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="the model's folder (default: runs/models/RUN)"
    )
    command = add("explain", "draw Grad-CAM maps of patches by a run's networks", "explain")
    add_explain(command)
    add_report(add("report", "a run as a notebook and a page", "home"))
    command = add(
        "handin", "all that is handed in, as one folder with a checklist", "home", "hand_in"
    )
    add_report(command)
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder (default: runs/handin)"
    )
    command = add("weights", "upload pretrained weights as a private dataset")
    command.add_argument(
        "architecture", metavar="NAME", help="an architecture or a foundation model, from list"
    )
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="PATH",
        help="file of the weights (default: the one in Keras's cache), or the model's folder",
    )
    command = add("sandbox", "serve Kaggle's API on localhost, with your own leaderboard")
    add_sandbox(command)


def add_recipe(command: argparse.ArgumentParser) -> None:
    """RECIPE [name=value ...]"""
    command.add_argument("recipe", metavar="RECIPE", help="a name from list")
    add_overrides(command)


def add_overrides(command: argparse.ArgumentParser) -> None:
    """[name=value ...]"""
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="name=value",
        help="settings to replace, such as epochs=3 folds=0,1",
    )


def add_notebook(command: argparse.ArgumentParser) -> None:
    """[--notebook]"""
    command.add_argument(
        "--notebook",
        action="store_true",
        help="as a notebook of the same code, a kernel of its own: text rendered, the network's "
        "layers and figures shown, the machinery folded",
    )


def add_folders(command: argparse.ArgumentParser, default: str) -> None:
    """[--data DIR] [--out DIR]"""
    command.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the competition's folder (default: what download has left)",
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder for the results (default: {default})"
    )


def add_run(command: argparse.ArgumentParser) -> None:
    """[RUN]"""
    command.add_argument("name", nargs="?", metavar="RUN", help="the latest if omitted")


def add_push(command: argparse.ArgumentParser) -> None:
    """[--notebook] [--folds N,N] [--slides OWNER/DATASET] [--resume] [--timeout HOURS] [...]"""
    add_notebook(command)
    command.add_argument(
        "--folds",
        metavar="N,N",
        help="train only these folds, in a separate kernel; blend joins them",
    )
    command.add_argument(
        "--slides",
        type=parse_dataset,
        dest="slide_dataset",
        metavar="OWNER/DATASET",
        help="attach a dataset with patch_id_wsi*.csv or slides.csv: folds never share a slide",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="take over finished networks: those that output has downloaded, as a private "
        "dataset, else the kernel's earlier output",
    )
    command.add_argument(
        "--timeout",
        type=parse_hours,
        metavar="HOURS",
        help="time limit (default: 12, or the GPU hours left this week if they are fewer); the "
        "run ends itself half an hour earlier, with its submission",
    )
    add_send_anyway(command)


def add_wait(command: argparse.ArgumentParser) -> None:
    """[--wait] [--queue-timeout MINUTES]"""
    command.add_argument("--wait", action="store_true", help="wait until the run has ended")
    add_queue(command)


def add_queue(command: argparse.ArgumentParser) -> None:
    """[--queue-timeout MINUTES]"""
    command.add_argument(
        "--queue-timeout",
        type=float,
        default=60,
        metavar="MINUTES",
        help="minutes to wait for a queued run (default: 60)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """[--json]"""
    command.add_argument("--json", action="store_true", help="print JSON and nothing else")


def add_message(command: argparse.ArgumentParser) -> None:
    """[--message TEXT]"""
    command.add_argument(
        "--message", type=parse_message, help="description of the submission; the build id is added"
    )


def add_record(command: argparse.ArgumentParser) -> None:
    """[--record FILE]"""
    command.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write a transcript of the exchange with Kaggle to a file, without names, "
        "credentials and addresses of files; a repeated command continues it",
    )


def add_send_anyway(command: argparse.ArgumentParser) -> None:
    """[--send-anyway]"""
    command.add_argument(
        "--send-anyway",
        action="store_true",
        help="after exit code 75: send again although Kaggle does not show what became of an "
        "earlier attempt",
    )


def add_predict(command: argparse.ArgumentParser) -> None:
    """RUN IMAGES [--mpp MICROMETERS] [--tta VIEWS] [--out FILE]"""
    command.add_argument("name", metavar="RUN", help="a run here, with its networks")
    command.add_argument(
        "source",
        type=Path,
        metavar="IMAGES",
        help="patches of 96x96 pixels (TIFF, PNG, JPEG): a folder, a file, or a CSV path,id; or "
        "one larger image, which is cut into tiles and becomes a heat map, for research only",
    )
    command.add_argument(
        "--mpp",
        type=float,
        metavar="MICROMETERS",
        help="per pixel of a larger image (default: what its file says, or PCam's 0.97)",
    )
    command.add_argument(
        "--tta", choices=("none", "flip", "dihedral"), help="test-time views (default: the run's)"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="CSV to write (default: in the run's folder)"
    )


def add_explain(command: argparse.ArgumentParser) -> None:
    """RUN PATH [PATH ...] [--out DIR]"""
    command.add_argument("name", metavar="RUN", help="a run here, with its networks")
    command.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="patches of 96x96 pixels, or folders of them; up to 60",
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: in the run's folder)"
    )


def add_report(command: argparse.ArgumentParser) -> None:
    """RUN [RUN ...] [--repository URL] [--author NAME]"""
    command.add_argument(
        "names", nargs="+", metavar="RUN", help="the first is compared with the others"
    )
    command.add_argument(
        "--repository", metavar="URL", help="your repository's page; the folder's origin if omitted"
    )
    command.add_argument("--author", metavar="NAME", help="your name")


def add_sandbox(command: argparse.ArgumentParser) -> None:
    """--data DIR --solution CSV [...]"""
    path = {"type": Path, "metavar": "CSV"}
    command.add_argument("--data", type=Path, required=True, help="the competition")
    command.add_argument("--solution", required=True, help="id,label,Usage", **path)
    command.add_argument("--teams", help="earlier teams: team,public,private", **path)
    command.add_argument("--folder", type=Path, help="its state; runs/sandbox if omitted")
    command.add_argument("--port", type=int, default=0, help="a free one if omitted")
    command.add_argument(
        "--deadline",
        type=datetime.datetime.fromisoformat,
        metavar="DATE",
        help="YYYY-MM-DD, UTC: later submissions are late; the board stays open if omitted",
    )


def parse_hours(text: str) -> float:
    """A run's time-out."""
    hours = float(text)
    if not 0.6 <= hours <= 12:  # a run ends itself half an hour earlier
        raise argparse.ArgumentTypeError(f"expected 0.6 to 12 hours. Received: {text}")
    return hours


def parse_dataset(text: str) -> str:
    """A dataset on Kaggle."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise argparse.ArgumentTypeError(
            f"expected OWNER/DATASET, the end of its address on Kaggle. Received: {text}"
        )
    return text


def parse_message(text: str) -> str:
    """A submission's description, with room for the build id."""
    if len(text) > 450:
        raise argparse.ArgumentTypeError(f"expected at most 450 characters. Received: {len(text)}")
    return text


def parse_count(text: str) -> int:
    """A number of trials."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more. Received: {text}")
    return int(text)
