"""Patches in files, explained by the networks that a run kept."""

import argparse
import os
from pathlib import Path

from pcam_kaggle.data.patch_files import printable
from pcam_kaggle.methods.answer import check_new

from .predict import ask_program, open_run, read_networks

PROGRAM = "pcam_kaggle.methods.explain_files"


def explain(args: argparse.Namespace, runs: Path) -> None:
    """Draw patches beside their Grad-CAM maps, and write the values of the maps.

    Raises:
        ValueError: the run has no networks or damaged ones, or some files are no patches.
    """
    run = open_run(args.name, runs, args.sources)
    out = args.out or run / f"explained-{Path(os.path.abspath(args.sources[0])).name}"
    check_new(out, is_folder=True)
    request = {
        **read_networks(run),
        "sources": [str(source.absolute()) for source in args.sources],
        "out": str(out.absolute()),
        "name": run.name,
    }
    answer = ask_program(PROGRAM, request, runs)
    print(f"patches   {answer['rows']:,}")
    print(f"picture   {printable(out / 'explained.png')}, research use only")
    print(f"maps      {printable(out)}: explained.csv and a TIFF of each, 0 to 1")
