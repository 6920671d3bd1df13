"""The exploration from the command line, and the commands that report."""

import json
import shutil

import pandas as pd
import pytest
from conftest import run_python, write_rows

from kernel.bundle import ROOT
from kernel.explore import explore_folder

BUILD = ROOT / "build.py"


def test_eda_writes_tables_and_pictures_and_says_what_it_saw(competition, tmp_path):
    out, slides = tmp_path / "eda", tmp_path / "slides.csv"
    labels = pd.read_csv(competition / "train_labels.csv")
    rows = [(patch_id, f"s{n % 5}") for n, patch_id in enumerate(labels["id"])]
    write_rows(slides, rows, ("id", "slide"))
    words = ["eda", "--data", competition, "--out", out, "--slides", slides]
    result = run_python([BUILD, *words])
    assert result.returncode == 0, result.stderr
    for text in (
        "train      51 patches of 96x96x3",
        "test       16 patches",
        "slides ",
    ):
        assert text in result.stdout
    table = pd.read_csv(out / "patches.csv", dtype={"hash": str, "id": str})
    assert len(table) == 51 and table["hash"].str.fullmatch("[0-9a-f]{16}").all()
    assert table.set_index("id")["label"].to_dict() == (
        labels.set_index("id")["label"].to_dict()
    )
    summary = json.loads((out / "exploration.json").read_text())
    assert summary["test"]["patches"] == 16 and summary["slides"]["slides"] == 5
    assert len(list(out.glob("data_*.png"))) == 6


def test_a_folder_without_test_images_is_refused(competition, tmp_path):
    out = tmp_path / "eda"
    for path in (competition / "test").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"test: expected \.tif images"):
        explore_folder(competition, out)
    shutil.rmtree(competition / "test")
    with pytest.raises(FileNotFoundError, match="it lacks test"):
        explore_folder(competition, out)
    assert not out.exists()


def test_exploring_and_reporting_load_no_framework_and_no_client():
    code = (
        "import sys, kernel.explore, kernel.report\n"
        "print(*{'keras', 'tensorflow', 'jax', 'kaggle', 'optuna'} & set(sys.modules))"
    )
    result = run_python(["-c", code])
    assert result.returncode == 0 and not result.stdout.strip(), result.stdout


def test_the_report_is_a_command(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    words = ["report", run, "--repository", "https://example.org"]
    result = run_python([BUILD, *words])
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"wrote    {run / 'report.html'}" in result.stdout
    result = run_python([BUILD, "report", tmp_path])
    assert result.returncode == 1 and "build.py: error:" in result.stderr


def test_a_study_at_home_is_added_to_by_the_same_command(competition, tmp_path):
    words = ["tune", "demo", "--data", competition, "--out", tmp_path / "study"]
    words += ["epochs=1", "num_folds=2", "figures=false", "--trials"]
    for num_trials in (1, 2):
        result = run_python([BUILD, *words, num_trials])
        assert result.returncode == 0, result.stderr
        trials = pd.read_csv(tmp_path / "study" / "study.csv")
        assert trials["number"].tolist() == list(range(num_trials))
    assert "trial 0:" not in result.stdout and "trial 1: AUC" in result.stdout
    result = run_python([BUILD, *words, 0])
    assert result.returncode == 2 and "expected 1 or more" in result.stderr
    result = run_python([BUILD, "run", "demo", "trials=3"])
    assert result.returncode == 2 and "a study submits nothing" in result.stderr
