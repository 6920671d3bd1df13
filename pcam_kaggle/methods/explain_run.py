"""Patches of a finished run, explained out of fold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ..analysis.map_pictures import USE, plot_maps
from ..analysis.patch_grids import draw_patches, make_rows, outline_centers
from ..analysis.shown import choose_shown
from ..analysis.style import draw_figure
from ..data.decode import load_images
from ..data.run import Run, make_record
from ..inference.kept_runs import KeptRun, parse_network, read_oof
from ..inference.load_network import load_network
from ..system.files import write_beside, write_json, write_table

ERRORS = {"missed tumor": 1, "false alarm": 0}  # kind: the true label
NUM_ERRORS = 8  # of each kind
COLUMNS = ["id", "label", "fold", "prediction"]


def explain_run(source: KeptRun, run: Run, explain: Callable) -> None:
    """Draw Grad-CAM maps and the worst errors; write gradcam.png, errors.png, maps and run.json.

    Args:
        source: the finished run.
        run: Run of this recipe.
        explain: function of a network, the facts about it and uint8 pixels (n, 96, 96, 3) that
            returns what `explain_pixels` does.

    Raises:
        ValueError: the run has no oof.csv, its patches are of another competition, or none of
            its networks can be explained.
    """
    oof = find_patches(source, run.competition.train)
    explained, maps, found = [], [], []
    for fold, networks in list_folds(source).items():
        table = choose_patches(oof[oof["fold"] == fold])
        pixels = load_images(table, None)
        for path in networks:
            network, facts = load_network(path, source.record["fingerprint"])
            answers = explain(network, facts, pixels)
            if answers is None:
                print(f"{path.name} is not explained: it is of another kind", flush=True)
                continue
            print(f"{path.name} explains {len(table)} patches of fold {fold}", flush=True)
            explained.append(table.drop(columns="path").assign(network=path.stem, own=answers[0]))
            maps.append(answers[1](answers[0]))
            heat = maps[-1].astype("float32")
            found += zip(table["id"], table["label"], answers[0], pixels, heat)
            break  # one network of a fold; others of the same fold differ by their seeds
    if not found:
        raise ValueError(
            f"networks: run {source.build_id} has no network that this recipe explains. Expected: "
            "feature maps for explain, transformers for explain_tokens. Received: others"
        )
    run.clock.end("explain", len(found))
    note = f"{source.record['recipe']}, build {source.build_id}"
    plot_maps(found, run.output / "gradcam.png", f"{note}; of one view and one network")
    plot_worst(oof, run.output / "errors.png", f"{note}; {USE}")
    write_table(run.output / "explained.csv", pd.concat(explained, ignore_index=True))
    with write_beside(run.output / "maps.npz") as partial, open(partial, "wb") as file:
        np.savez_compressed(file, id=[row[0] for row in found], map=np.concatenate(maps))
    run.clock.end("draw", len(found))
    files = ["gradcam.png", "errors.png", "explained.csv", "maps.npz"]
    about = {"explained_run": source.build_id, "warnings": []}
    write_json(run.output / "run.json", {**vars(make_record(run, {}, files)), **about})
    print(f"wrote    {', '.join(files)}, run.json", flush=True)


def find_patches(source: KeptRun, train: pd.DataFrame) -> pd.DataFrame:
    """The run's out-of-fold predictions with the paths of their patches.

    Raises:
        ValueError: as `read_oof`, or a patch is not among the training patches.
    """
    oof = read_oof(source)
    table = oof[COLUMNS].merge(train[["id", "path"]], "left", "id")
    num_missing = int(table["path"].isna().sum())
    if num_missing:
        raise ValueError(
            f"networks: run {source.build_id} is of another competition. Expected: its patches "
            f"among the training patches. Received: {num_missing:,} of {len(table):,} are not"
        )
    return table


def list_folds(source: KeptRun) -> dict:
    """The paths of the run's networks by their fold, those of each method in turn."""
    folds = {}
    for name in sorted(source.networks):
        folds.setdefault(parse_network(name)[0], []).append(Path(name))
    return dict(sorted(folds.items()))


def choose_patches(oof: pd.DataFrame) -> pd.DataFrame:
    """Rows of the surest hits and of the worst errors of a fold, with their kind."""
    shown = choose_shown(oof["label"].to_numpy(), oof["prediction"].to_numpy())
    parts = [oof.iloc[places].assign(kind=kind) for kind, places in shown.items()]
    return pd.concat(parts, ignore_index=True)


def plot_worst(oof: pd.DataFrame, path: Path, note: str) -> None:
    """Draw the worst errors of all folds, by the run's own prediction out of fold.

    Args:
        oof: DataFrame, as `find_patches` returns it.
        path: the PNG to write.
        note: which run it is.
    """
    rows, counts = [], []
    for kind, label in ERRORS.items():
        wrong = oof[(oof["label"] == label) & ((oof["prediction"] >= 0.5) != bool(label))]
        wrong = wrong.sort_values("prediction", ascending=bool(label), kind="stable")
        counts.append(f"{len(wrong):,} {kind}{'s' * (len(wrong) != 1)}")
        table = wrong.head(NUM_ERRORS)
        captions = [f"{i[:8]}, p {p:.3f}" for i, p in zip(table["id"], table["prediction"])]
        patches = list(zip(load_images(table, None), captions))
        rows += make_rows(f"{kind}: the worst {len(table)} of {len(wrong):,}", patches)
    title = f"{' and '.join(counts)} among {len(oof):,} patches"
    note += "; first 8 digits of the patch's id; p: probability of tumor, out of fold"
    with draw_figure(path, title, 1.2 + 1.95 * len(rows), note) as figure:
        if rows:
            outline_centers(draw_patches(figure, rows))


def find_crop(facts: dict) -> int:
    """The side of the center that a network sees."""
    settings = facts["settings"]
    return settings.get(f"{facts.get('member')}.crop_size") or settings.get("crop_size", 96)
