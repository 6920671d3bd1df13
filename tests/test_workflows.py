"""The workflows of a fork, the issue templates and the citation."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import psutil
import pytest
import yaml

from kernel.folders import ROOT

GITHUB = ROOT / ".github"
FILES = sorted(GITHUB.glob("workflows/*.yml"))
EXPRESSION = re.compile(r"\$\{\{ *([\w.]+) *\}\}")


def read_yaml(path):
    return yaml.safe_load(path.read_text("utf-8"))


def list_steps(path):
    return [step for job in read_yaml(path)["jobs"].values() for step in job["steps"]]


class Fork:
    """A fresh checkout in which the steps of compete.yml are run as GitHub runs them."""

    def __init__(self, folder, values):
        self.folder, self.values = folder / "a fork", values
        self.summary = folder / "summary.md"
        self.job = read_yaml(GITHUB / "workflows" / "compete.yml")["jobs"]["compete"]
        for name in ("kernel", "pcam_kaggle"):
            ignored = shutil.ignore_patterns("__pycache__", "dist")
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
        for name in ("build.py", "kernel-metadata.json"):
            shutil.copy(ROOT / name, self.folder)

    def start(self, name):
        """Start the `run:` block of a step."""
        step = next(step for step in self.job["steps"] if step.get("name", "").startswith(name))
        words = {**self.job["env"], **step.get("env", {})}
        words = {
            k: EXPRESSION.sub(lambda m: self.values.get(m[1], ""), v) for k, v in words.items()
        }
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        (self.folder / "step.sh").write_text(step["run"], "utf-8", newline="\n")
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "step.sh"],
            cwd=self.folder,
            env={**os.environ, **words, "PATH": path, "GITHUB_STEP_SUMMARY": str(self.summary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def run(self, name):
        """Run a step to its end: its exit code and what it printed."""
        process = self.start(name)
        text, _ = process.communicate()
        return process.returncode, text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_pins_its_actions(path):
    assert read_yaml(path)["permissions"] == {"contents": "read"}
    assert not [job for job in read_yaml(path)["jobs"].values() if "permissions" in job]
    for step in list_steps(path):
        assert re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", step.get("uses", "actions/x@v1.2.3"))
        assert "${{" not in step.get("run", "")  # an input could be a command of the shell


@pytest.mark.skipif(os.name == "nt", reason="the job runs on Linux")
def test_compete_continues_from_a_fresh_checkout_and_shows_the_board(open_sandbox, tmp_path):
    sandbox = open_sandbox("wait")
    values = {
        "inputs.recipe": "demo",
        "inputs.settings": 'epochs=2 --message "$(touch',
        "secrets.KAGGLE_USERNAME": "sandbox",
        "secrets.KAGGLE_KEY": sandbox.service.key,
    }
    fork = Fork(tmp_path, values)
    process = fork.start("Push")  # the job's time is over while the kernel runs
    for line in process.stdout:
        if "RUNNING" in line:
            break
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.communicate()
    assert fork.run("Show")[0] == 0
    assert "run this workflow again" in fork.summary.read_text("utf-8")

    shutil.rmtree(fork.folder / "runs")
    (session,) = sandbox.service.sessions.values()
    (session.folder / "go").touch()
    code, text = fork.run("Push")
    assert code == 0, text
    assert "version 1 already has this build; not pushed again" in text
    assert values["secrets.KAGGLE_KEY"] not in text
    assert fork.run("Show")[0] == 0
    board = fork.summary.read_text("utf-8").partition("    -- leaderboard\n")[2]
    assert "    public   0." in board and "    picture " in board

    shutil.rmtree(fork.folder / "runs")
    code, text = fork.run("Push")
    assert code == 0 and "already submitted (submission 1)" in text
    assert len(sandbox.service.sessions) == len(sandbox.service.state["submissions"]) == 1
    (upload,) = (s for s in fork.job["steps"] if "upload-artifact" in s.get("uses", ""))
    for pattern in upload["with"]["path"].split():
        assert list(fork.folder.glob(pattern)), pattern


def test_an_issue_about_kaggle_asks_for_a_transcript_and_doctor():
    fields = {
        field["id"]: field for field in read_yaml(GITHUB / "ISSUE_TEMPLATE" / "kaggle.yml")["body"]
    }
    assert "--record" in fields["transcript"]["attributes"]["description"]
    assert not fields["transcript"]["validations"]["required"]  # only three commands write one
    assert "build.py doctor" in fields["doctor"]["attributes"]["label"]


def test_the_citation_is_of_this_version():
    citation = read_yaml(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for key in ("title", "version", "license"):
        assert citation[key] == project["name" if key == "title" else key]
