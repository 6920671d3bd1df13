"""Patches in files, explained by the networks that a run kept."""

import argparse
import os
from pathlib import Path

from pcam_kaggle.data.patch_files import printable
from pcam_kaggle.system.files import short_hash

from .locks import locked
from .predict import ask_program, read_networks
from .runs import find_folder

PROGRAM = "pcam_kaggle.methods.explain_files"


def explain(args: argparse.Namespace, runs: Path) -> None:
    """Draw patches beside their Grad-CAM maps, and write the values of the maps.

    Raises:
        ValueError: the run has no networks or damaged ones, or some files are no patches.
    """
    run = find_folder(args.name, runs)
    out = args.out or run / f"explained-{args.sources[0].absolute().name}"
    request = {
        **read_networks(run),
        "sources": [str(source.absolute()) for source in args.sources],
        "out": str(out.absolute()),
        "name": run.name,
    }
    print(f"networks  {len(request['networks'])} from {run}", flush=True)
    with locked(runs, f"explain-{short_hash(os.fsencode(out.absolute()))}"):
        answer = ask_program(request, PROGRAM)
    if "error" in answer:
        raise ValueError(answer["error"])
    print(f"patches   {answer['rows']:,}")
    print(f"picture   {printable(out / 'explained.png')}, research use only")
    print(f"maps      {printable(out)}: explained.csv and a TIFF of each, 0 to 1")
