"""Runs a pushed kernel in a second: leaves what a run leaves, without training.

python stub.py MODE [...] script.py (or notebook.ipynb); MODE says how the run ends:
    ok, study, many, networks   well, with the files of schema 3
    schema1, schema2            well, as earlier versions of the package wrote run.json
    none, other, truncated      with a missing, a foreign or a short submission.csv
    damaged, newer              with files that differ from the manifest
    fail, slow, wait            before it wrote anything: fails, never ends, waits for the test
    first, first-slow           after the first of three networks: fails, never ends
    short                       as first, with a short submission.csv
    late                        fails after its results are whole
"""

import ast
import csv
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from kernel.bundle.code_id import identify_networks  # noqa: E402
from kernel.bundle.notebook import read_source  # noqa: E402

mode, script = sys.argv[1], Path(sys.argv[-1])
source = read_source(script.read_text("utf-8"))
build_id = re.search(r'^BUILD_ID = "(\w+)"', source, re.MULTILINE).group(1)
working = Path(os.environ["PCAM_WORKING"])
(data,) = Path(os.environ["PCAM_INPUT"]).glob("competitions/*")

print(f"recipe   stub, build {build_id}", flush=True)
print("fold 0 seed 0 epoch  1/1", flush=True)
if mode == "fail":
    raise ValueError("loss is not a finite number")
if mode == "slow":
    while True:
        time.sleep(0.1)
if mode == "wait":  # until the test says so
    while not (script.parent / "go").exists():
        time.sleep(0.02)

settings = {}
for node in ast.parse(source).body:
    names = [getattr(t, "id", "") for t in getattr(node, "targets", [])]
    if names in (["SETTINGS"], ["OVERRIDES"]):
        settings |= ast.literal_eval(node.value)
with open(data / "sample_submission.csv", encoding="utf-8") as file:
    ids = [row["id"] for row in csv.DictReader(file)]
if mode in ("truncated", "short"):
    ids = ids[:-3]
rows = [f"{i},{int(hashlib.sha1(i.encode()).hexdigest()[:4], 16) / 65535}" for i in ids]
submission = "\n".join(["id,label", *rows]) + "\n"
files = {} if mode == "study" else {"submission.csv": submission}
if mode == "study":
    files["study.csv"] = "number,state,value\n0,COMPLETE,0.9\n"
if mode == "many":
    files |= {f"folds/part{i:03d}.txt": f"{i}\n" * i for i in range(450)}
if mode in ("networks", "first", "first-slow", "newer", "short"):
    for fold in range(3 if mode == "networks" else 1):
        for kind in ("npz", "keras"):
            name = f"folds/fold{fold}_seed{fold}.{kind}"
            files[name] = f"{name} of {identify_networks(source)}\n"
for name, text in files.items():
    (working / name).parent.mkdir(exist_ok=True)
    (working / name).write_text(text, newline="\n")
if mode in ("first", "first-slow"):  # the network in training
    (working / "folds" / "checkpoint_fold1_seed1.npz").write_text("half")
    (working / "folds" / "partial-fold1_seed1.npz").write_text("half of a half")

manifest = {
    name: {"size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    for name, text in files.items()
}
is_over = mode not in ("first", "first-slow", "newer", "short")
run = {
    "schema": 3,
    "recipe": re.search(r'open_run\("(\w+)"', source).group(1),
    "build_id": "0123456789" if mode == "other" else build_id,
    "code": identify_networks(source)[0],
    "edited": False,
    "settings": settings,
    "oof_auc": 0.9731,
    "counts": {"test": len(ids)},
    "files": manifest,
    "complete": is_over,
    "not_trained": [] if is_over else ["fold 1 seed 1", "fold 2 seed 2"],
}
if mode == "study":
    run["study"] = {"winner": 0}
if mode == "schema2":
    run |= {"schema": 2, "files": list(files)}
if mode == "schema1":
    run["settings"]["recipe"] = run["recipe"]
    run = {n: v for n, v in run.items() if n not in ("schema", "recipe", "files", "complete")}
(working / "run.json").write_text(json.dumps(run))
if mode == "none":
    (working / "submission.csv").unlink()
if mode == "damaged":
    (working / "submission.csv").write_text(submission.replace("0.", "0.0"))
if mode == "newer":  # ended between the two files
    newer = [f"{i},0.5" for i in ids]
    (working / "submission.csv").write_text("\n".join(["id,label", *newer]) + "\n")
    raise ValueError("a kill between the two files")
print("out of fold AUC 0.9731", flush=True)
if mode in ("first", "late", "short"):
    raise ValueError("a late failure")
while mode == "first-slow":
    time.sleep(0.1)
