"""Runs a pushed kernel in a second: leaves what a run leaves, without training.

python stub.py MODE script.py; MODE says how the run ends.
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

mode, script = sys.argv[1], Path(sys.argv[2])
source = script.read_text("utf-8")
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
if mode == "truncated":
    ids = ids[:-3]
rows = [f"{i},{int(hashlib.sha1(i.encode()).hexdigest()[:4], 16) / 65535}" for i in ids]
run = {
    "schema": 2,
    "recipe": re.search(r'open_run\("(\w+)"', source).group(1),
    "build_id": "0123456789" if mode == "other" else build_id,
    "edited": False,
    "settings": settings,
    "oof_auc": 0.9731,
    "counts": {"test": len(ids)},
    "files": ["submission.csv"],
}
if mode == "old":  # as earlier versions wrote it
    run["settings"]["recipe"] = run["recipe"]
    run = {n: v for n, v in run.items() if n not in ("schema", "recipe", "files")}
if mode == "many":
    (working / "folds").mkdir()
    for i in range(450):
        (working / "folds" / f"part{i:03d}.txt").write_text(f"{i}\n" * i)
if mode == "study":
    run |= {"study": {"winner": 0}, "files": ["study.csv"]}
    (working / "study.csv").write_text("number,state,value\n0,COMPLETE,0.9\n")
(working / "run.json").write_text(json.dumps(run))
if mode not in ("none", "study"):
    (working / "submission.csv").write_text("\n".join(["id,label", *rows]) + "\n")
