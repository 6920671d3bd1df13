"""The options that several commands share, and the types of their values."""

import argparse
import functools
import math
import re
from pathlib import Path


def add_recipe(command: argparse.ArgumentParser) -> None:
    """RECIPE [name=value ...]"""
    command.add_argument("recipe", metavar="RECIPE", help="a name from list")
    add_overrides(command)


def add_overrides(command: argparse.ArgumentParser) -> None:
    """[name=value ...]"""
    command.add_argument(
        "overrides",
        nargs="*",
        default=[],
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


def add_folders(command: argparse.ArgumentParser) -> None:
    """[--data DIR] [--out DIR] [--resume]"""
    command.add_argument(
        "--data",
        type=parse_path,
        metavar="DIR",
        help="the competition's folder (default: what download has left)",
    )
    text = "folder for the results (default: runs/SLUG-BUILD-home; runs/SLUG-home of a study, "
    add_out(command, text + "runs/explore of explore)")
    command.add_argument("--resume", action="store_true", help="fail if there is nothing to resume")


def add_out(command: argparse.ArgumentParser, text: str) -> None:
    """[--out DIR]"""
    command.add_argument("--out", type=parse_path, metavar="DIR", help=text)


def add_run(command: argparse.ArgumentParser) -> None:
    """[RUN]"""
    command.add_argument(
        "name", type=parse_name, nargs="?", metavar="RUN", help="the latest if omitted"
    )


def add_push(command: argparse.ArgumentParser) -> None:
    """[--notebook] [--slides OWNER/DATASET] [--resume] [--timeout HOURS] [...]"""
    add_notebook(command)
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
        type=functools.partial(parse_number, low=0.6, high=12, unit="hours"),
        metavar="HOURS",
        help="hours that a run may take (default: 12, or the GPU hours left this week if they are "
        "fewer); the run ends itself half an hour earlier, with its submission",
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
        type=functools.partial(parse_number, low=1, high=10_000, unit="minutes"),
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
        type=parse_path,
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
    command.add_argument(
        "name", type=parse_name, metavar="RUN", help="a run here, with its networks"
    )
    command.add_argument(
        "source",
        type=parse_path,
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
        "--out",
        type=parse_path,
        metavar="FILE",
        help="CSV to write (default: predictions-IMAGES.csv in the run's folder)",
    )


def add_explain(command: argparse.ArgumentParser) -> None:
    """RUN PATH [PATH ...] [--out DIR]"""
    command.add_argument(
        "name", type=parse_name, metavar="RUN", help="a run here, with its networks"
    )
    command.add_argument(
        "sources",
        nargs="+",
        type=parse_path,
        metavar="PATH",
        help="patches of 96x96 pixels, or folders of them; up to 60",
    )
    add_out(command, "folder to write (default: explained-PATH in the run's folder)")


def add_card(command: argparse.ArgumentParser) -> None:
    """[RUN] [--out DIR]"""
    text = "a run here, with its networks; the latest if omitted"
    command.add_argument("name", type=parse_name, nargs="?", metavar="RUN", help=text)
    add_out(command, "the model's folder (default: runs/models/RUN)")


def add_report(
    command: argparse.ArgumentParser, omitted: str = "the latest finished run if omitted"
) -> None:
    """[RUN ...] [--repository URL] [--author NAME]"""
    command.add_argument(
        "names",
        type=parse_name,
        nargs="*",
        metavar="RUN",
        help=f"the first is compared with the others; {omitted}",
    )
    command.add_argument(
        "--repository", metavar="URL", help="your repository's page; the folder's origin if omitted"
    )
    command.add_argument("--author", metavar="NAME", help="your name")


def add_weights(command: argparse.ArgumentParser) -> None:
    """NAME [PATH]"""
    command.add_argument(
        "architecture", metavar="NAME", help="an architecture or a foundation model, from list"
    )
    command.add_argument(
        "file",
        nargs="?",
        type=parse_path,
        metavar="PATH",
        help="file of the weights (default: the one in Keras's cache), or the model's folder",
    )


def parse_path(text: str) -> Path:
    """A path; an empty one, as of an unset variable, would be the current folder."""
    return Path(parse_name(text))


def parse_name(text: str) -> str:
    """A run's name or path."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name or a path. Received: an empty word")
    return text


def parse_number(text: str, low: float, high: float, unit: str) -> float:
    """A number of hours or minutes."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        message = f"expected {low:g} to {high:,g} {unit}. Received: {text}"
        raise argparse.ArgumentTypeError(message)
    return number


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
