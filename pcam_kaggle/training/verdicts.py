"""A verdict per stage of a session, and the hours that the other recipes will take."""

import shutil

from sklearn.metrics import roc_auc_score

from ..data.run import Run, make_record
from ..system.clock import say_time, sum_stages
from ..system.device import Device
from ..system.files import write_json
from .smoke_settings import read_costs

# What the estimated hours of the recipes assume of a session with two T4: patches/s that
# DenseNet-121 turns into features at 96 pixels in float16, on both.
ASSUMED_RATE = 6_000
NUM_FILES = 277_483  # of the competition
LEARNED = 0.7  # AUC that even a small network exceeds
MEMORY = 29.0  # GiB of a session on Kaggle
OUTPUT = 19.5  # GB that a session on Kaggle keeps


def judge_session(run: Run, device: Device, ensembles: dict, rate: float) -> dict:
    """Judge every stage of a short session.

    Args:
        run: Run, whose clock holds the stages that all networks share.
        device: Device.
        ensembles: dict of names and Ensembles.
        rate: patches/s that the frozen network turned into features, on all devices; 0 if they
            were there already.

    Returns:
        dict of stage names and pairs: whether it went well, and what was found.
    """
    members, missing, warnings = gather_ensembles(ensembles)
    labels = run.competition.train["label"].to_numpy()
    aucs = [float(roc_auc_score(labels[member.positions], member.oof)) for member in members]
    used = sorted({member.place.partition(",")[0] for member in members})
    stages = {**run.clock.stages, **sum_stages([member.stages for member in members])}
    decode = stages["decode_train"].images_per_second
    peak = max((stage.peak_gib or 0 for stage in stages.values()), default=0)
    size = sum(path.stat().st_size for path in run.output.rglob("*") if path.is_file()) / 1e9
    free = shutil.disk_usage(run.output).free / 1e9
    features = f"{rate:,.0f} patches/s with DenseNet-121" if rate else "were there already"
    return {
        "decode": (True, f"{decode:,.0f} files/s: all in {say_time(NUM_FILES / decode)}"),
        "devices": (
            len(used) >= max(1, min(device.num_gpus, device.num_workers)),
            f"{device.num_gpus} GPUs, {device.policy}, used: {'; '.join(used)}",
        ),
        "networks": (
            not missing and not warnings,
            f"{len(members)} finished, {len(missing)} missing, {len(warnings)} warnings",
        ),
        "learning": (min(aucs) > LEARNED, f"AUC {min(aucs):.3f} to {max(aucs):.3f}"),
        "features": (True, features),
        "memory": (
            peak * (1 + device.num_workers) < MEMORY,
            f"largest process {peak:.1f} GiB, {device.num_workers} workers",
        ),
        "output": (size < OUTPUT and free > 1, f"{size:.3f} GB written, {free:.0f} GB free"),
    }


def gather_ensembles(ensembles: dict) -> tuple:
    """The members, the names of missing networks and the warnings of several ensembles."""
    parts = list(ensembles.values())
    return tuple(
        [item for part in parts for item in getattr(part, name)]
        for name in ("members", "missing", "warnings")
    )


def forecast_hours(costs: str, device: Device, rate: float) -> dict:
    """The hours to expect of the recipes on this session's GPUs; {} without a GPU or a rate.

    Args:
        costs: hours by recipe, where ASSUMED_RATE patches/s become features.
        device: Device.
        rate: as for `judge_session`.
    """
    if not device.num_gpus or not rate:
        return {}
    return {name: hours * ASSUMED_RATE / rate for name, hours in read_costs(costs).items()}


def write_verdicts(run: Run, device: Device, ensembles: dict, rate: float, complete: bool) -> dict:
    """Judge a short session and write run.json.

    Args:
        run, device, ensembles, rate: as for `judge_session`.
        complete: whether no network is missing.

    Returns:
        dict, the content of run.json.
    """
    verdicts = judge_session(run, device, ensembles, rate)
    members, missing, warnings = gather_ensembles(ensembles)
    warnings += [f"warning: {name}: {text}" for name, (ok, text) in verdicts.items() if not ok]
    files = [name for ensemble in ensembles.values() for name in ensemble.files]
    stages = sum_stages([member.stages for member in members])
    results = {
        **vars(make_record(run, stages, files, complete)),
        "device": device.text,
        "verdicts": {name: {"ok": ok, "found": text} for name, (ok, text) in verdicts.items()},
        "expected_hours": forecast_hours(run.settings.smoke.costs, device, rate),
        "not_trained": missing,
        "warnings": warnings,
    }
    write_json(run.output / "run.json", results)
    return results


def print_verdicts(results: dict) -> None:
    """Print the verdicts and the forecast."""
    print()
    for name, verdict in results["verdicts"].items():
        print(f"{'ok' if verdict['ok'] else 'LOOK':<6}{name:<9} {verdict['found']}")
    for name, hours in results["expected_hours"].items():
        over = ", more than a session" if hours > 11.5 else ""
        print(f"expect    {name:<17} {say_time(3600 * hours)}{over}")
    if not results["expected_hours"]:
        print("no forecast for other recipes: that needs a GPU and features extracted in this run")
    print(f"total     {say_time(results['seconds'])}; nothing to submit", flush=True)
