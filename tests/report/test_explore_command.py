"""The commands `eda` and `report`: an exploration and a page from the command line."""

import json

import pandas as pd
import pytest
from conftest import run_python, write_rows
from report_runs import make_run

from kernel.folders import ROOT

BUILD = ROOT / "build.py"


def test_eda_writes_tables_and_pictures_and_prints_the_numbers(competition, tmp_path):
    out, slides = tmp_path / "eda", tmp_path / "slides.csv"
    labels = pd.read_csv(competition / "train_labels.csv")
    rows = [(patch_id, f"s{n % 5}") for n, patch_id in enumerate(labels["id"])]
    write_rows(slides, rows, ("id", "slide"))
    words = ["eda", "--data", competition, "--out", out, "--slides", slides]
    result = run_python([BUILD, *words])
    assert result.returncode == 0, result.stderr
    for text in ("train      51 patches of 96x96x3", "test       16 patches", "slides "):
        assert text in result.stdout
    table = pd.read_csv(out / "patches.csv", dtype={"hash": str, "id": str})
    assert table.set_index("id")["label"].to_dict() == labels.set_index("id")["label"].to_dict()
    summary = json.loads((out / "exploration.json").read_text())
    assert summary["test"]["patches"] == 16 and summary["slides"]["slides"] == 5
    record = json.loads((out / "run.json").read_text())
    assert record["recipe"] == "explore" and record["schema"] == 3
    assert set(record["files"]) == {
        "exploration.json",
        "patches.csv",
        *(path.name for path in out.glob("data_*.png")),
    }
    assert len(record["files"]) == 8


def test_the_report_is_a_command(tmp_path):
    run = make_run(tmp_path / "run")
    words = ["report", run, "--repository", "https://example.org"]
    result = run_python([BUILD, *words])
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"wrote    {run / 'report.html'}" in result.stdout


@pytest.mark.parametrize("names, status", [(["."], 1), ([], 2)])
def test_a_folder_without_a_run_is_refused(tmp_path, names, status):
    result = run_python([BUILD, "report", *(tmp_path / name for name in names)])
    assert result.returncode == status
    assert "error:" in result.stderr
