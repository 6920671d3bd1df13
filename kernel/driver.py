"""Run: train, predict, write the files, say what came out; or a study of settings."""

from pcam_kaggle.experiment import run_experiment
from pcam_kaggle.recipes import get_config
from pcam_kaggle.tuning import run_study

config = get_config(CONFIG, OVERRIDES)
work = run_study if config.trials else run_experiment
run = work(config, BUILD_ID, source=globals().get("__file__"))

print()
for name, stage in run["stages"].items():
    print(
        f"{name:<13} {stage['seconds']:>9.1f} s  {stage['images']:>10,} images  "
        f"{stage['images_per_second']:>8,.0f} images/s"
    )
print(f"{'total':<13} {run['seconds']:>9.1f} s")
if "study" in run:
    study = run["study"]
    words = " ".join(f"{name}={value}" for name, value in study["overrides"].items())
    for varied, share in study["importance"].items():
        print(f"decides  {share:>6.1%}  {varied}")
    if study["missing"]:
        print(f"warning: no time for {study['missing']} trials; give it again")
    print(f"winner   trial {study['winner']}, AUC {study['winner_auc']:.4f}: {words}")
    print(f"train it python build.py run {config.recipe} {words}")
else:
    for fold, auc in run["fold_auc"].items():
        print(f"fold {fold:<3} out-of-fold AUC {auc:.4f}")
    low, high = run["oof_auc_interval"]
    print(f"all      out-of-fold AUC {run['oof_auc']:.4f} ({low:.4f} to {high:.4f})")
    for part, score in run.get("stain_auc", {}).items():
        print(f"stain {part:<4} held out, AUC {score:.4f}")
    if run["seed_auc"]["sd"] is not None:
        print("seeds    AUC {mean:.4f} +- {sd:.4f}".format(**run["seed_auc"]))
    for warning in run["warnings"]:
        print(warning)
    print("wrote    submission.csv, run.json, tables and pictures")
