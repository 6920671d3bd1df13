"""Patches in files, predicted by the networks that a run kept."""

import argparse
import os
import sys
from pathlib import Path

from pcam_kaggle.data.patch_files import printable
from pcam_kaggle.data.tiles import HIGHEST_MPP, LOWEST_MPP, is_large, name_maps
from pcam_kaggle.inference.kept_runs import find_maps, find_networks
from pcam_kaggle.methods.answer import check_new

from .folders import ROOT
from .live import run_program
from .locks import locked_output
from .records import read_result
from .runs import find_folder

PROGRAM = "pcam_kaggle.methods.predict_files"
TILES_PROGRAM = "pcam_kaggle.methods.predict_tiles"
# As on a page: TensorFlow's errors are exceptions, and its notes are not for readers. Nothing is
# imported from the current folder, which may be someone else's.
ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


def predict(args: argparse.Namespace, runs: Path) -> None:
    """Write the probability of tumor of every patch, with the spread over the networks.

    A larger image is cut into tiles, and drawn with their probabilities over it. The framework
    runs in a process of its own, which ends with this one.

    Raises:
        ValueError: the run has no networks or damaged ones, some files are no patches, or
            nothing can be predicted.
    """
    check_scale(args.source, args.mpp)
    run = open_run(args.name, runs, [args.source])
    out = args.out or run / f"predictions-{Path(os.path.abspath(args.source)).name}.csv"
    check_new(out)
    is_tiled = args.mpp is not None or is_large(args.source)
    request = make_request(run, args.source, out, args.tta)
    if is_tiled:
        answer = ask_program(TILES_PROGRAM, {**request, "mpp": args.mpp}, runs)
        print_tiles(answer, out)
    else:
        answer = ask_program(PROGRAM, request, runs)
        print(f"patches   {answer['rows']:,}")
    print(f"results   {printable(out)}")
    if is_tiled and answer["failed"] == answer["rows"]:
        raise ValueError(
            f"{printable(args.source)} is all glass. Expected: tissue in the center of a tile, and "
            f"in 5 % of it. Received: {answer['rows']:,} tiles without. They have no probability"
        )
    if answer["failed"] and not is_tiled:
        raise ValueError(
            f"{answer['failed']:,} of {answer['rows']:,} files are not patches (96x96 pixels, RGB "
            f"of 8 bits per channel). Their rows in {printable(out)} have no probability"
        )


def open_run(name: str, runs: Path, sources: list[Path]) -> Path:
    """The folder of a run that is asked about images, before a framework is loaded.

    Raises:
        ValueError: no such run, or its training was interrupted before its first network.
        FileNotFoundError: an image, a folder of them or a CSV that is not there.
    """
    run = find_folder(name, runs)
    if not any((run / mark).is_file() for mark in ("run.json", "push.json")):
        raise ValueError(
            f"{run} has no finished network. Expected: run.json, which a run writes after its "
            "first network. Try: repeat the command that trains it"
        )
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(
                f"{printable(source)} is not there. Expected: a folder, an image or a CSV"
            )
    return run


def check_scale(source: Path, mpp: float | None) -> None:
    """Refuse a scale that no image has, or one of several patches.

    Raises:
        ValueError: says what was expected.
    """
    if mpp is None:
        return
    if not LOWEST_MPP <= mpp <= HIGHEST_MPP:
        raise ValueError(
            f"--mpp: expected {LOWEST_MPP} to {HIGHEST_MPP} micrometers per pixel. Received: {mpp}"
        )
    if not source.is_file() or source.suffix.lower() == ".csv":
        raise ValueError(
            f"--mpp: expected one TIFF, PNG or JPEG. Received: {printable(source)}. Try: one image "
            "at a time"
        )


def print_tiles(answer: dict, out: Path) -> None:
    """Print what became of an image, and what it is not."""
    print(f"tiles     {answer['rows']:,}, {answer['failed']:,} of them glass: not predicted")
    for name, path in zip(("map", "picture"), name_maps(out)):
        print(f"{name:8}  {printable(path)}")
    print("use       research only: no diagnosis of a slide (.github/kaggler.md, Predict)")


def make_request(run: Path, source: Path, out: Path, tta: str | None) -> dict:
    """Gather what the program needs to know about a run, as `Request` describes it.

    Raises:
        ValueError: the run has no networks, or they or their maps are not those of run.json.
    """
    return {
        **read_networks(run),
        "source": str(source.absolute()),
        "out": str(out.absolute()),
        "tta": tta,
    }


def read_networks(run: Path) -> dict:
    """The part of a request that is about a run; prints its networks, and which are missing.

    Raises:
        ValueError: as `make_request`.
    """
    record = read_result(run)
    average = (record["settings"] or {}).get("ensemble", "mean")
    if average == "rank":
        print("the run averages ranks, which single patches lack: their probabilities are averaged")
        average = "mean"
    if missing := record.get("not_trained"):
        print(f"not finished: the run has not trained {', '.join(missing)}")
    networks = find_networks(run, record.get("manifest") or {})
    print(f"networks  {len(networks)} from {run}", flush=True)
    return {
        "networks": networks,
        "fingerprint": record.get("fingerprint"),
        "average": average,
        "maps": find_maps(run, record, networks),
    }


def ask_program(program: str, request: dict, runs: Path) -> dict:
    """Run a program that predicts or explains, one at a time for a result; return its answer.

    Raises:
        ValueError: it failed, or cannot answer the request.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)}
    with locked_output(runs, Path(request["out"])):
        code, answer = run_program([sys.executable, "-m", program], environment, request)
    if code or answer is None:
        raise ValueError(
            f"{program} failed. Expected: a line of JSON. Received: exit code {code}. Try: see its "
            "message above"
        )
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer
