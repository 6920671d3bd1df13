"""Run: train, predict, write the files, say what came out."""

from pcam_kaggle.experiment import run_experiment
from pcam_kaggle.recipes import get_config

config = get_config(CONFIG, OVERRIDES)
run = run_experiment(config, BUILD_ID, source=globals().get("__file__"))

print()
for name, stage in run["stages"].items():
    print(
        f"{name:<13} {stage['seconds']:>9.1f} s  {stage['images']:>10,} images  "
        f"{stage['images_per_second']:>8,.0f} images/s"
    )
print(f"{'total':<13} {run['seconds']:>9.1f} s")
for fold, auc in run["fold_auc"].items():
    print(f"fold {fold:<3} out-of-fold AUC {auc:.4f}")
low, high = run["oof_auc_interval"]
print(f"all      out-of-fold AUC {run['oof_auc']:.4f} ({low:.4f} to {high:.4f}, 95 %)")
for part, score in run.get("stain_auc", {}).items():
    print(f"stain {part:<4} held out, AUC {score:.4f}")
if run["seed_auc"]["sd"] is not None:
    print("seeds    out-of-fold AUC {mean:.4f} +- {sd:.4f}".format(**run["seed_auc"]))
for warning in run["warnings"]:
    print(warning)
print("wrote submission.csv, run.json, history.csv, oof.csv and curves.png")
