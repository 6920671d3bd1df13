"""Finished runs, studies and explorations made of random numbers, without training."""

import json

import numpy as np
import pandas as pd

from kernel.report.assessment import assess_run, read_members
from kernel.report.pictures import draw_pictures
from kernel.report.reading import find_stains
from pcam_kaggle.system.records import Explanation, Member, save_member

SETTINGS = {
    "architecture": "densenet121",
    "weights": "imagenet",
    "input_size": 96,
    "num_images": 0,
    "num_folds": 2,
    "folds": [],
    "num_seeds": 1,
    "epochs": 3,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "augmentation": "dihedral",
    "tta": "flip",
    "ensemble": "mean",
    "labels": "probability",
}
IDS = [f"{number:040x}" for number in range(60)]
TEST_IDS = [f"{number:040x}" for number in range(100, 116)]


def make_run(folder, seed=0, folds=(0, 1), noise=1.0):
    """Write a finished run of two folds, or of some, as schema 2 has it."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    labels = np.arange(60) % 3 // 2
    odds = random.normal(2.0 * labels - 1, noise)
    oof = pd.DataFrame({"id": IDS, "label": labels, "fold": np.arange(60) % 2})
    oof["prediction"] = 1 / (1 + np.exp(-odds))
    oof = oof[oof["fold"].isin(folds)]
    oof.to_csv(folder / "oof.csv", index=False)
    submission = pd.DataFrame({"id": TEST_IDS, "label": random.random(16)})
    submission.to_csv(folder / "submission.csv", index=False)
    pd.DataFrame([*make_history(folds)]).to_csv(folder / "history.csv", index=False)
    write_members(folder, oof, folds, random)
    record = {
        "schema": 2,
        "recipe": "fast",
        "build_id": f"{seed:010x}",
        "settings": SETTINGS,
        "counts": {"train": 60, "positive": 20, "test": 16},
        "device": "cpu:0, backend tensorflow",
        "packages": {"keras": "3.13.2"},
        "precision": "float32",
        "num_parameters": 7_039_553,
        "num_trainable": 6_955_905,
        "fold_auc": {str(fold): 0.9 for fold in folds},
        "oof_auc": 0.9 - seed / 100,
        "warnings": [],
        "not_trained": [],
        "seconds": 100.0,
        "finished": "2026-11-24T22:53:58.409579+00:00",
        "files": ["submission.csv", "oof.csv", "history.csv"],
    }
    write_record(folder, record)
    return folder


def make_several(folder, **changes):
    """Write a run of the recipe best of three methods, of which one is left out."""
    record = read_run_json(make_run(folder))
    members, names = ["midnight", "vit", "densenet"], ("epochs", "optimizer", "learning_rate")
    settings = {name: value for name, value in SETTINGS.items() if name not in names}
    settings |= {"members": members, "head": "logistic", "calibration": "platt"}
    for member, weights in zip(members, ("midnight-12k", "dinov2-base", "imagenet")):
        settings |= {f"{member}.weights": weights, f"{member}.input_size": 126}
    settings |= {"densenet.architecture": "densenet121", "ensemble": "logit"}
    for part, epochs in (("tuning", 4), ("training", 5)):
        settings |= {f"{part}.epochs": epochs, f"{part}.optimizer": "adamw"}
    errors = [{"ece": error, "brier": 0.1} for error in (0.061, 0.012)]
    found = {"before": errors[0], "after": errors[1], "maps": {"a": [1, 0]}, "refused": None}
    record |= {
        "recipe": "best",
        "settings": settings,
        "network": "midnight-12k + densenet121",
        "calibration": {"midnight": found, "densenet": found},
        "adds": [
            {"run": name, "oof_auc": 0.9, "weight": 0.5, "adds": 0.01, "interval": [-0.01, 0.02]}
            for name in ("midnight", "densenet")
        ],
        "num_slides": None,
        "not_trained": ["vit"],
        "warnings": ["warning: vit is left out: no weights here"],
        **changes,
    }
    write_record(folder, record)
    history = pd.read_csv(folder / "history.csv").assign(val_auc=0.97)
    both = [history.assign(member=name) for name in ("midnight", "densenet")]
    pd.concat(both).to_csv(folder / "history.csv", index=False)
    return folder


def add_slides(folder, num_slides=6):
    """Give the out-of-fold predictions of a run their slides."""
    oof = pd.read_csv(folder / "oof.csv")
    oof["slide"] = [f"slide_{int(patch, 16) % num_slides}" for patch in oof["id"]]
    oof.to_csv(folder / "oof.csv", index=False)


def make_history(folds):
    """The rows of a history.csv."""
    for fold in folds:
        for epoch in (1, 2, 3):
            numbers = {"accuracy": 0.8, "loss": 0.5, "auc": 0.95, "val_accuracy": 0.7}
            numbers |= {"val_loss": 0.6, "val_auc": 0.9}
            yield {"fold": fold, "seed": fold, "epoch": epoch, **numbers}


def write_members(folder, oof, folds, random):
    """The files of the networks, with four explained patches each."""
    for fold in folds:
        predictions = oof.loc[oof["fold"] == fold, "prediction"].to_numpy()
        member = Member(
            fold=fold,
            seed=fold,
            history=pd.DataFrame({"epoch": [1]}),
            positions=np.flatnonzero(np.arange(60) % 2 == fold),
            oof=predictions,
            oof_one_view=np.clip(predictions + random.normal(0, 0.2, 30), 0, 1),
            test=random.random(16),
            stages={},
            explanation=Explanation(
                shown=np.arange(4),
                maps=random.random((4, 96, 96)).astype("float16"),
                patches=random.integers(0, 255, (4, 96, 96, 3)).astype("uint8"),
            ),
        )
        save_member(folder / "folds" / f"fold{fold}_seed{fold}.npz", member, "f" * 10)


def make_exploration(folder, images):
    """Write an exploration of the patches of `make_run`, as recipe explore does."""
    from pcam_kaggle.analysis.exploration import explore
    from pcam_kaggle.analysis.exploration_files import write_exploration

    folder.mkdir(parents=True)
    labels = np.arange(60) % 3 // 2
    files, _ = write_exploration(explore(images, IDS, labels), images, folder)
    write_record(folder, {"schema": 2, "recipe": "explore", "files": files})
    return folder


def make_study(folder, **study):
    """Write a study of two trials: as schema 2 has it, or with the entries of now."""
    folder.mkdir(parents=True)
    known = {"trials": 2, "fold": 0, "overrides": {"epochs": 20}, "importance": {"epochs": 0.7}}
    known |= {} if study else {"winner": 1, "winner_auc": 0.91}
    kept = {"build_id": "0123456789", "settings": SETTINGS, "precision": "float32"}
    kept |= {"recipe": "fast_study", "device": "cpu:0", "packages": {}}
    write_record(folder, {"schema": 2, **kept, "study": {**known, **study}})
    rows = ["number,state,value", "0,COMPLETE,0.9", "1,COMPLETE,0.91"]
    (folder / "study.csv").write_text("\n".join(rows) + "\n")
    return folder


def make_old(folder):
    """Turn a run into one of schema 1, with an exploration of its own."""
    record = read_run_json(folder)
    settings = {"recipe": "seed_resnet34", **record["settings"], "figures": True}
    settings["architecture"] = "resnet34_seed"
    adds = {"auc_one_view": 0.89, "test_correlation": 0.8}
    by_stain = {"stain": 0, "patches": 60, "auc": 0.9, "sensitivity": 0.8}
    by_stain = [{**by_stain, "specificity": 0.7}]
    old = {"settings": settings, "evaluation": {"adds": adds, "by_stain": by_stain}}
    for name in ("schema", "recipe", "files"):
        del record[name]
    write_record(folder, {**record, **old})
    summary = {
        "labels": {"0": 40, "1": 20},
        "positive_share": 1 / 3,
        "brightness": {"no tumour": 200.0, "tumour": 180.0},
        "tissue": {"no tumour": 0.78, "tumour": 0.95},
        "blank": {"black": {"patches": 1}},
        "duplicates": {"exact_pairs": 0, "near_pairs": 0, "label_conflicts": 0},
        "stains": [{"patches": 60}],
    }
    (folder / "exploration.json").write_text(json.dumps(summary))
    (folder / "data_labels.png").touch()
    for path in (folder / "folds").iterdir():
        with np.load(path) as arrays:
            kept = {name: arrays[name] for name in arrays.files if name != "patches"}
        np.savez(path, **kept)
    return folder


def read_run_json(folder):
    return json.loads((folder / "run.json").read_text("utf-8"))


def write_record(folder, record):
    (folder / "run.json").write_text(json.dumps(record), "utf-8")


def assess(runs):
    """Assess the first run, as `write_report` does."""
    if runs[0].oof is None:
        return None
    return assess_run(runs[0], read_members(runs[0]), find_stains(runs))


def draw(runs):
    """Assess the first run and draw the pictures, as `write_report` does."""
    assessment = assess(runs)
    draw_pictures(runs, read_members(runs[0]), assessment)
    return assessment
