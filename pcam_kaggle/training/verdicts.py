"""A verdict per stage of a session, and the hours that the other recipes will take."""

import shutil

from sklearn.metrics import roc_auc_score

from ..data.run import Run, make_record
from ..system.clock import say_time, sum_stages
from ..system.device import Device
from ..system.files import write_json

# What the estimated hours of the recipes assume of a session with two T4: patches/s that
# DenseNet-121 turns into features at 96 pixels in float16, on both.
ASSUMED_RATE = 6_000
NUM_FILES = 277_483  # of the competition
LOWEST_AUC = 0.7  # a network below it has learned nothing
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
    members = [member for ensemble in ensembles.values() for member in ensemble.members]
    missing = [name for ensemble in ensembles.values() for name in ensemble.missing]
    warnings = [text for ensemble in ensembles.values() for text in ensemble.warnings]
    labels = run.competition.train["label"].to_numpy()
    aucs = [roc_auc_score(labels[member.positions], member.oof) for member in members]
    used = sorted({member.place.partition(",")[0] for member in members})
    stages = {**run.clock.stages, **sum_stages([member.stages for member in members])}
    decode = stages["decode_train"].images_per_second
    peak = max((stage.peak_gib or 0 for stage in stages.values()), default=0)
    size = sum(path.stat().st_size for path in run.output.rglob("*") if path.is_file()) / 1e9
    free = shutil.disk_usage(run.output).free / 1e9
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
        "learning": (bool(min(aucs) > LOWEST_AUC), f"AUC {min(aucs):.3f} to {max(aucs):.3f}"),
        "features": (rate > 0, f"{rate:,.0f} patches/s with DenseNet-121"),
        "memory": (
            peak * (1 + device.num_workers) < MEMORY,
            f"largest process {peak:.1f} GiB, {device.num_workers} workers",
        ),
        "output": (size < OUTPUT and free > 1, f"{size:.3f} GB written, {free:.0f} GB free"),
    }


def forecast_hours(costs: str, rate: float) -> dict:
    """The hours to expect of the recipes, from their costs such as "best 5, fast 0.5".

    Args:
        costs: hours by recipe, where ASSUMED_RATE patches/s become features.
        rate: the rate of this session; 0 forecasts nothing.
    """
    pairs = [item.split() for item in costs.split(",") if rate and item.strip()]
    return {name: float(hours) * ASSUMED_RATE / rate for name, hours in pairs}


def write_verdicts(run: Run, device: Device, ensembles: dict, rate: float) -> None:
    """Judge a short session; print the verdicts and the forecast and write them to run.json.

    Args:
        run, device, ensembles, rate: as for `judge_session`.
    """
    verdicts = judge_session(run, device, ensembles, rate)
    hours = forecast_hours(run.settings.smoke.costs, rate)
    members = [member for ensemble in ensembles.values() for member in ensemble.members]
    warnings = [
        f"warning: {stage}: {text}" for stage, (is_well, text) in verdicts.items() if not is_well
    ]
    files = [f"{name}/{file}" for name, ensemble in ensembles.items() for file in ensemble.files]
    missing = any(ensemble.missing for ensemble in ensembles.values())
    stages = sum_stages([member.stages for member in members])
    record = make_record(run, stages, files, complete=not missing)
    found = {
        "device": device.text,
        "verdicts": {stage: {"well": w, "found": text} for stage, (w, text) in verdicts.items()},
        "expected_hours": hours,
        "warnings": warnings,
    }
    write_json(run.output / "run.json", {**vars(record), **found})
    print(
        "", *(f"{'ok  ' if w else 'LOOK'} {s:<9} {t}" for s, (w, t) in verdicts.items()), sep="\n"
    )
    for name, expected in hours.items():
        over = ", more than a session" if expected > 11.5 else ""
        print(f"expect    {name:<17} {say_time(3600 * expected)}{over}")
    print(f"total     {say_time(record.seconds)}; nothing to submit", flush=True)
