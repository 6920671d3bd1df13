"""Measure recipes, and each technique on and off, over several seeds.

    python tests/bench/study.py recipes --data DIR --solution CSV [name=value ...]
    python tests/bench/study.py techniques --recipe demo --data DIR --solution CSV
    python tests/bench/study.py techniques --recipe fast --data DIR --hues [name=value ...]

DIR is laid out as the competition; CSV has the columns id,label,Usage and serves to
measure, never to choose. Overrides at the end (fewer images, one fold) hold for every
row. Each row and seed is a run of its own kernel in --out, with its log beside it. The
command can be stopped and given again: finished runs of the same settings are kept.
Writes study.md and study.csv there after every run.

With --hues the folds share none of 20 groups of hue, as they would share no slide: a map of
these groups is written to hues.csv and given as `slide_map`. The scores out of fold are then of
stains that a network has not seen, and serve to choose; the solution is not read.
"""

import argparse
import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from kernel.sandbox.judge import Judge  # noqa: E402
from pcam_kaggle.analysis.groups import NUM_HUES, group_hues  # noqa: E402
from pcam_kaggle.analysis.patches import measure_patches  # noqa: E402
from pcam_kaggle.data.competition import load_labels  # noqa: E402
from pcam_kaggle.data.decode import load_images  # noqa: E402
from pcam_kaggle.system.files import read_json, write_beside  # noqa: E402

COLUMNS = (
    "row",
    "seeds",
    "public AUC",
    "out of fold",
    "parameters",
    "images/s",
    "seconds",
    "device",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: a recipe with overrides; `is_hard` submits 0 and 1."""

    name: str
    recipe: str
    words: tuple = ()
    is_hard: bool = False


COURSE_RECIPES = ("course_my_vgg16", "course_resnet34", "course_vgg16")
RECIPE_ROWS = [
    row
    for recipe in COURSE_RECIPES
    for row in (
        Row(f"{recipe}, hard labels as published", recipe, is_hard=True),
        Row(f"{recipe}, probabilities", recipe),
    )
] + [Row(recipe, recipe) for recipe in ("scratch", "fast", "best", "midnight")]
TECHNIQUES = {
    "as the recipe is": (),
    "no augmentation": ("augmentation=none",),
    "flips only": ("augmentation=flip",),
    "no test-time views": ("tta=none",),
    "stain_jitter=0.05": ("stain_jitter=0.05",),
    "stain_jitter=0.1": ("stain_jitter=0.1",),
    "brightness, contrast 0.1": ("brightness=0.1", "contrast=0.1"),
    "no colors": ("stain_jitter=0", "brightness=0", "contrast=0"),
    "stain, brightness, contrast 0.1": ("stain_jitter=0.1", "brightness=0.1", "contrast=0.1"),
    "stain, brightness, contrast 0.2": ("stain_jitter=0.2", "brightness=0.2", "contrast=0.2"),
    "learning_rate=1e-3": ("learning_rate=1e-3",),
    "learning_rate=1e-4": ("learning_rate=1e-4",),
    "translation=4": ("translation=4",),
    "no label smoothing": ("label_smoothing=0",),
    "averaged weights": ("ema_momentum=0.99",),
    "gradient_clip=1": ("gradient_clip=1",),
    "the center, 64 pixels": ("crop_size=64", "input_size=64"),
    "the center, enlarged": ("crop_size=64", "input_size=96"),
    "enlarged to 128 pixels": ("input_size=128",),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", choices=("recipes", "techniques"))
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    parser.add_argument("--data", type=Path, required=True)
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--solution", type=Path)
    truth.add_argument("--hues", action="store_true", help="folds share no group of hue")
    parser.add_argument("--recipe", default="fast", help="of the table of techniques")
    parser.add_argument("--rows", nargs="+", help="only rows whose name begins so")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "study")
    args = parser.parse_intermixed_args()

    judge = Judge(args.solution) if args.solution else None
    rows = RECIPE_ROWS
    if args.table == "techniques":
        rows = [Row(name, args.recipe, words) for name, words in TECHNIQUES.items()]
    if args.rows:
        rows = [row for row in rows if row.name.startswith(tuple(args.rows))]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.hues:
        args.overrides.append(f"slide_map={write_hues(args.data, args.out / 'hues.csv')}")
    failed = []
    for seed in range(args.seeds):
        for row in rows:
            folder = args.out / name_run(row, seed, args.overrides)
            if not finish_run(row, seed, folder, args):
                failed.append(folder.with_suffix(".log"))
            write_tables(rows, args, judge)
    print((args.out / "study.md").read_text("utf-8"))
    for log in failed:
        print(f"failed: {log}")
    return 1 if failed else 0


def name_run(row, seed, overrides):
    """The folder of a run: rows of the same settings share it."""
    words = sorted([*row.words, *overrides])
    digest = hashlib.sha256(" ".join(words).encode()).hexdigest()[:6]
    return f"{row.recipe}-{digest}-seed{seed}"


def write_hues(data, path):
    """Write the group of hue of every training patch, as a map of slides; return its path."""
    if not path.exists():
        train = load_labels(data)
        patches = measure_patches(load_images(train, None))
        groups = group_hues(patches, num_groups=NUM_HUES)
        with write_beside(path) as partial:
            train[["id"]].assign(slide=[f"hue{g}" for g in groups]).to_csv(partial, index=False)
    return path.resolve()


def finish_run(row, seed, folder, args):
    """Whether the run is there, after running it if it was not."""
    if (folder / "run.json").exists():
        return True
    words = [*row.words, *args.overrides, f"seed={seed}"]
    print(f"{row.name}: {row.recipe} {' '.join(words)}", flush=True)
    command = [sys.executable, str(ROOT / "build.py"), "train", row.recipe, *words]
    command += ["--data", str(args.data), "--out", str(folder)]
    with open(folder.with_suffix(".log"), "w", encoding="utf-8") as log:
        return subprocess.run(command, stdout=log, stderr=log).returncode == 0


def write_tables(rows, args, judge):
    """study.csv and study.md, of the runs that are there."""
    lines = []
    for row in rows:
        folders = [args.out / name_run(row, seed, args.overrides) for seed in range(args.seeds)]
        folders = [folder for folder in folders if (folder / "run.json").exists()]
        if folders:
            lines.append(describe_row(row, folders, judge))
    for name, separator in (("study.csv", ","), ("study.md", "|")):
        with write_beside(args.out / name) as partial:
            if separator == ",":
                pd.DataFrame(lines, columns=COLUMNS).to_csv(partial, index=False)
            else:
                head = [COLUMNS, ["---"] * len(COLUMNS)]
                text = [f"| {' | '.join(map(str, line))} |" for line in head + lines]
                partial.write_text("\n".join(text) + "\n", "utf-8")


def describe_row(row, folders, judge):
    """A line: mean and, over several seeds, standard deviation (n - 1)."""
    runs = [read_json(folder / "run.json") for folder in folders]
    public = [score_public(judge, folder, row.is_hard) for folder in folders if judge]
    train = [run["stages"]["train"] for run in runs]
    return (
        row.name,
        len(runs),
        describe_scores(public),
        describe_scores([run["oof_auc"] for run in runs]),
        f"{runs[0]['num_parameters']:,}",
        f"{np.mean([stage['images_per_second'] for stage in train]):.0f}",
        f"{np.mean([run['seconds'] for run in runs]):.0f}",
        runs[0]["device"],
    )


def score_public(judge, folder, is_hard):
    """ROC AUC of a run's submission on the public part."""
    submission = pd.read_csv(folder / "submission.csv")
    if is_hard:
        submission["label"] = (submission["label"] > 0.5).astype(int)
    return judge.score(submission.to_csv(index=False).encode())["Public"]


def describe_scores(scores):
    """Mean and standard deviation as text; "" without any."""
    if not scores:
        return ""
    spread = f" ± {np.std(scores, ddof=1):.4f}" if len(scores) > 1 else ""
    return f"{np.mean(scores):.4f}{spread}"


if __name__ == "__main__":
    sys.exit(main())
