"""The model card of a run: written beside its networks, and into the folder of a Kaggle model."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pcam_kaggle.inference.kept_runs import filter_networks

from ..files import write_text
from ..locks import locked_output
from ..records import read_result
from ..report.methods import find_network
from ..report.reading import ReportRun, read_patches, read_run
from ..reuse import read_source, refuse_absent
from ..runs import MODELS, find_folder
from .bases import Base, find_bases
from .measures import Measures, measure
from .model import write_model
from .network_files import NetworkFile, read_network_file
from .text import find_needs, make_text

CARD = "MODEL_CARD.md"


def write_own_card(folder: Path, runs: Path, say: Callable = print) -> None:
    """Write MODEL_CARD.md into a run's folder, if it has networks; else do nothing.

    Raises nothing for a run that no card can be made of: a line says why.
    """
    try:
        result = read_result(folder)
        names = filter_networks(result.get("manifest") or {})
        paths = [folder / name for name in names]
        if not paths or not all(path.is_file() for path in paths):
            return
        run, fingerprint = read_run(folder, folder), result.get("fingerprint")
        kept = [read_network_file(path, fingerprint) for path in paths]
        write_card(run, kept, find_own_bases(run, runs), *measure_run(run, runs))
    except (OSError, ValueError) as error:
        say(f"no card  {error}")
    else:
        say(f"card      {folder / CARD}")


def card(args: argparse.Namespace, runs: Path) -> None:
    """Write a run's model card, and lay out the folder that Kaggle's client uploads as a model.

    Raises:
        OSError: a folder that cannot be written.
        ValueError: a run without networks or oof.csv, or with other ones than run.json lists; a
            folder that is not empty.
    """
    folder = find_folder(args.name, runs)
    source = read_source(folder)
    refuse_absent(source)
    fingerprint = source.kept.record["fingerprint"]
    kept = [read_network_file(Path(path), fingerprint) for path in source.kept.networks]
    run = read_run(folder, folder)
    bases, (measures, explored) = find_own_bases(run, runs), measure_run(run, runs)
    out = args.out or runs / MODELS / run.name
    text = make_text(run, kept, bases, measures, explored, is_flat=True)
    with locked_output(runs, out):
        for line in write_model(out, run, source.files, find_needs(kept), bases, text):
            print(line)
    write_card(run, kept, bases, measures, explored)
    print(f"card      {folder / CARD}")


def write_card(
    run: ReportRun,
    kept: list[NetworkFile],
    bases: list[Base],
    measures: Measures | None,
    explored: str,
) -> None:
    """Write MODEL_CARD.md into the folder of a run, or again into that of a model."""
    is_flat = kept[0].path.parent.samefile(run.folder)
    text = make_text(run, kept, bases, measures, explored, is_flat)
    write_text(run.folder / CARD, text)


def find_own_bases(run: ReportRun, runs: Path) -> list[Base]:
    """What the networks of a run started from; its settings as they are, not escaped."""
    settings = read_result(run.folder)["settings"] or {}
    return find_bases(settings, run.methods or [find_network(run)], runs)


def measure_run(run: ReportRun, runs: Path) -> tuple[Measures | None, str]:
    """The measures of a run, and the exploration that knows the hues of its patches, or "".

    That is the exploration in `runs`, if it has all patches of the run.
    """
    if run.oof is None:
        return None, ""
    stains = find_hues(run, runs / "explore")
    return measure(run, stains), "" if stains is None else "explore"


def find_hues(run: ReportRun, explored: Path) -> pd.Series | None:
    """The group of hue of each patch by its id, or None if an exploration lacks a patch."""
    patches = read_patches(explored / "patches.csv")
    if patches is None:
        return None
    stains = patches.set_index("id")["stain"]
    return stains if run.oof.index.isin(stains.index).all() else None
