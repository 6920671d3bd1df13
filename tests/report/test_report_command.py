"""The command `report`: a page from the command line."""

from conftest import run_python
from report_runs import make_run

from kernel.folders import ROOT

BUILD = ROOT / "build.py"


def test_the_report_is_a_command(tmp_path):
    run = make_run(tmp_path / "run")
    words = ["report", run, "--repository", "https://example.org"]
    result = run_python([BUILD, *words])
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"wrote    {run / 'report.html'}" in result.stdout


def test_a_folder_without_a_run_is_refused(tmp_path):
    result = run_python([BUILD, "report", tmp_path])
    assert result.returncode == 1
    assert "error:" in result.stderr
