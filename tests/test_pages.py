"""Pages run for real: the bytes of the package, forks, kills, and later builds."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import TINY, read_rows, run_python
from small_transformer import write_model

from kernel.bundle.page import bundle_kernel
from kernel.bundle.recipes import compose_settings, read_recipe
from kernel.folders import PACKAGE
from pcam_kaggle.recipes import run_recipe
from pcam_kaggle.system.files import read_json

RANDOM = np.random.default_rng()  # other moments every time
CROP = {"crop_size": 32, "input_size": 32}
ONE = {"num_folds": 2, "folds": (0,), "epochs": 1, "batch_size": 32}
STUDY = {**ONE, "trials": 1}
SMALL_BASE = {**CROP, "architecture": "resnet50v2", "weights": "none", "tta": "none"}
SHORT = {  # what makes a whole run of a recipe short
    "best": {
        **{"members": ("midnight", "vit", "densenet"), "num_folds": 2, "folds": (0,)},
        **{"midnight.weights": "small", "midnight.input_size": 56, "vit.weights": "plain"},
        **{"vit.input_size": 42, "tuning.epochs": 1, "tuning.batch_size": 32, "tta": "none"},
        **{"densenet.architecture": "resnet50v2", "densenet.weights": "none"},
        **{f"densenet.{name}": 32 for name in CROP},
        **{"training.epochs": 1, "training.batch_size": 32},
    },
    "course_resnet34": {**ONE, **CROP, "num_images": 0},
    "fast": {**ONE, **SMALL_BASE},
    "fast_study": {**STUDY, **CROP, "architecture": "resnet50v2", "weights": "none"},
    "midnight": {"num_folds": 2, "weights": "small", "input_size": 56},
    "midnight_study": {**STUDY, "weights": "small", "input_size": 56},
    "scratch": {**ONE, **CROP},
    "scratch_study": {**STUDY, **CROP},
    "smoke": {
        **{**ONE, "folds": (0, 1), "num_images": 0, "num_test": 9},
        **{"architecture": "resnet50v2", "network.weights": "none"},
        **{f"{part}.{name}": 32 for part in ("network", "small") for name in CROP},
    },
}


def write_page(folder, source, newline="\n"):
    script = folder / "kernel.py"
    script.write_text(source, "utf-8", newline=newline)
    return script


@pytest.fixture(scope="module")
def demo():
    return bundle_kernel("demo", TINY)


@pytest.fixture(scope="module")
def explore():
    """The one page without a framework, which starts within a second."""
    return bundle_kernel("explore")


@pytest.fixture(scope="module")
def page_run(demo, shared_competition, tmp_path_factory):
    """The demo's page in a process of its own: its output folder and what it printed."""
    folder = tmp_path_factory.mktemp("page")
    script, out = write_page(folder, demo.source), folder / "out"
    result = run_python([script], shared_competition, out)
    assert result.returncode == 0, result.stderr
    return out, result.stdout


@pytest.fixture
def run_here(shared_competition, tmp_path, monkeypatch):
    """A function that runs a page in this process, which has loaded Keras already."""

    def run(source, out, data=shared_competition):
        monkeypatch.setenv("PCAM_INPUT", str(data))
        monkeypatch.setenv("PCAM_WORKING", str(out))
        runpy.run_path(str(write_page(tmp_path, source)), run_name="__main__")

    return run


@pytest.fixture
def package(tmp_path):
    """A copy of the package, free to be changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=ignored)


def change(path, old, new):
    """Replace what occurs once in a source."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), "utf-8")


def same_bytes(first, second, names):
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_the_page_and_the_package_write_the_same_bytes(page_run, finished):
    out, _ = page_run
    assert same_bytes(out, finished, ("submission.csv", "oof.csv"))
    for name in ("fold0_seed0.npz", "fold1_seed1.npz"):
        with np.load(out / "folds" / name) as ours, np.load(finished / "folds" / name) as theirs:
            for array in ("test", "oof_one_view", "maps", "patches"):
                assert np.array_equal(ours[array], theirs[array])


def test_a_page_says_and_records_what_it_is(page_run, demo):
    out, text = page_run
    run = read_json(out / "run.json")
    assert run["build_id"] == demo.build_id and run["edited"] is False
    settings = compose_settings(read_recipe("demo"), TINY).flat()
    assert run["settings"] == json.loads(json.dumps(settings))
    for line in (f"build {demo.build_id}", "34,745 parameters", "51 train"):
        assert line in text
    assert len(re.findall(r"^fold \d seed \d epoch", text, re.M)) == 4
    assert f"out-of-fold AUC {run['oof_auc']:.4f}" in text


def test_a_page_decodes_in_processes_from_many_files_on(explore, shared_competition, tmp_path):
    """The functions of a script reach its worker processes, which start no kernel."""
    source = explore.source.replace("PROCESSES_FROM = 20_000", "PROCESSES_FROM = 10")
    assert "PROCESSES_FROM = 10 " in source
    cache, out = tmp_path / "cache", tmp_path / "out"
    script = write_page(tmp_path, source)
    result = run_python([script], shared_competition, out, PCAM_CACHE=cache)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("recipe   explore") == 1
    assert len(list(cache.glob("*.bin"))) == 2
    package = tmp_path / "package"
    run = run_recipe("explore", data=shared_competition, output=package)
    assert same_bytes(out, package, ("exploration.json", "patches.csv"))
    assert {path.name for path in out.iterdir()} == {*run["files"], "run.json", ".lock"}


def test_a_fork_with_lines_changed_runs_and_says_so(explore, shared_competition, tmp_path):
    source = re.sub(r"^OVERRIDES = .*$", 'OVERRIDES = {"seed": 3}', explore.source, flags=re.M)
    source = source.replace('"num_images": 0,', '"num_images": 30,')
    script, out = write_page(tmp_path, source, newline="\r\n"), tmp_path / "out"
    result = run_python([script], shared_competition, out)
    assert result.returncode == 0, result.stderr
    run = read_json(out / "run.json")
    assert run["build_id"] == explore.build_id and run["edited"] is True
    assert (run["settings"]["seed"], run["settings"]["num_images"]) == (3, 30)
    assert run["counts"]["train"] == len(read_rows(out / "patches.csv")) == 30
    assert "edited since" in result.stdout


def test_a_wrong_fork_fails_by_name_and_writes_nothing(explore, shared_competition, tmp_path):
    source = explore.source.replace("OVERRIDES = {", 'OVERRIDES = {"num_image": 1')
    script, out = write_page(tmp_path, source), tmp_path / "out"
    result = run_python([script], shared_competition, out)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: unknown setting 'num_image'. Did you mean 'num_images'?")
    assert not out.exists()


def test_a_reworded_page_resumes_the_networks_of_an_earlier_one(
    page_run, demo, package, run_here, tmp_path, capsys
):
    before = shutil.copytree(page_run[0], tmp_path / "out")
    change(package / "models" / "small.py", '"""A small network', '"""A small net')
    change(package / "training" / "members.py", "was finished before, taken", "is done, read")
    change(package / "training" / "members.py", "max_hours: no network could", "max_hours: none")
    reworded = bundle_kernel("demo", TINY, package)
    assert reworded.build_id != demo.build_id
    run_here(reworded.source, before)
    text = capsys.readouterr().out
    assert text.count("is done, read from") == 2 and "  loss" not in text
    run = read_json(before / "run.json")
    assert run["build_id"] == reworded.build_id and run["edited"] is False
    assert same_bytes(before, page_run[0], ("submission.csv", "oof.csv"))


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("models/small.py", "layers.MaxPooling2D()", "layers.AveragePooling2D()"),
        ("training/optimizer.py", "alpha=0.01", "alpha=0.02"),
        ("augmentation/flips.py", "ops.flip(images, axis=2)", "ops.flip(images, axis=1)"),
    ],
)
def test_a_page_of_other_code_resumes_nothing(
    page_run, demo, package, run_here, tmp_path, name, old, new
):
    out = shutil.copytree(page_run[0], tmp_path / "out")
    change(package / name, old, new)
    with pytest.raises(ValueError, match=r"fold0_seed0\.npz is from another run"):
        run_here(bundle_kernel("demo", TINY, package).source, out)
    assert same_bytes(out, page_run[0], ("submission.csv", "run.json"))


def test_a_layer_changed_by_hand_resumes_nothing(page_run, demo, run_here, tmp_path):
    out = shutil.copytree(page_run[0], tmp_path / "out")
    source = demo.source.replace("momentum=0.9", "momentum=0.8")
    assert source != demo.source
    with pytest.raises(ValueError, match=r"fold0_seed0\.npz is from another run"):
        run_here(source, out)


def kill_and_resume(script, data, whole, moments):
    """Kill a page with -9 a moment after some line of an epoch, for each; then let it end.

    Nothing may be lost, trained twice or trained otherwise than in the folder `whole`.
    """
    out = script.parent / "killed"
    environment = {**os.environ, "PCAM_INPUT": str(data), "PCAM_WORKING": str(out)}
    for number in moments:
        with subprocess.Popen(
            [sys.executable, "-u", script],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            num_lines = 0
            for line in process.stdout:
                num_lines += "  loss " in line
                if num_lines == number:  # or the run has ended before: as well
                    threading.Event().wait(RANDOM.uniform(0, 0.3))
                    kill_all(process)
                    break
    folds = out / "folds"
    finished = {path: path.stat().st_mtime_ns for path in folds.glob("fold*.npz")}
    result = run_python([script], data, out)
    assert result.returncode == 0, (moments, result.stderr)
    assert "resumes after epoch" in result.stdout or finished, moments
    assert result.stdout.count("finished before") == len(finished)
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    assert same_bytes(out, whole, ("submission.csv", "oof.csv")), moments
    left = {path.name for path in folds.iterdir()}
    assert left == {f"fold{n}_seed{n}.{kind}" for n in (0, 1) for kind in ("npz", "keras")}


def kill_all(process):
    """kill -9 of a process and of its workers."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def test_a_kill_changes_no_byte(demo, page_run, shared_competition, tmp_path):
    moment = RANDOM.integers(2, 5)  # by the second line something is kept
    kill_and_resume(write_page(tmp_path, demo.source), shared_competition, page_run[0], [moment])


@pytest.mark.slow
@pytest.mark.parametrize("num_workers, num_kills", [(1, 2), (2, 1)])
def test_kills_at_any_moment_change_no_byte(shared_competition, tmp_path, num_workers, num_kills):
    settings = {**TINY, "epochs": 4, "stain_jitter": 0.05, "num_workers": num_workers}
    script = write_page(tmp_path, bundle_kernel("demo", settings).source)
    whole = run_python([script], shared_competition, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    # By the third line something is kept, by the fifth a network is finished.
    moments = [*RANDOM.integers(3, 8, num_kills - 1).tolist(), 5]
    kill_and_resume(script, shared_competition, tmp_path / "whole", moments)


SLOW = ("best", "fast_study", "scratch_study")


@pytest.fixture
def eager():
    """Let TensorFlow compile nothing, which would take most of the time of a short run."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config", "ignore:scipy.optimize")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in SHORT]
)
def test_the_page_of_every_recipe_runs(name, competition, tmp_path, run_here, eager, capsys):
    inputs, out = competition.parents[1], tmp_path / "out"
    if name == "best" or name.startswith("midnight"):
        pytest.importorskip("safetensors")
        write_model(inputs / "small")
        write_model(inputs / "plain", swiglu=False)
    run_here(bundle_kernel(name, SHORT[name]).source, out, inputs)
    run = read_json(out / "run.json")
    assert (run["recipe"], run["edited"]) == (name, False)
    assert all((out / file).is_file() for file in run["files"]) and run["complete"]
    if name == "smoke":
        lines = capsys.readouterr().out
        assert run["counts"]["test"] == 9 and not (out / "submission.csv").exists()
        assert run["verdicts"]["networks"] == {
            "ok": True,
            "found": "4 finished, 0 missing, 0 warnings",
        }
        assert "head fold 1 seed 1 out-of-fold AUC" in lines and "no forecast" in lines
    elif name.endswith("_study"):
        assert run["study"]["trials"] == 1
        assert "highest  trial 0" in capsys.readouterr().out
    else:
        ids = [patch_id for patch_id, _ in read_rows(out / "submission.csv")]
        sample = read_rows(competition / "sample_submission.csv")
        assert ids == [patch_id for patch_id, _ in sample]


@pytest.mark.slow
def test_two_workers_of_a_page_share_a_study(shared_competition, tmp_path):
    settings = {**ONE, "trials": 3, "num_workers": 2}
    script, out = write_page(tmp_path, bundle_kernel("demo_study", settings).source), tmp_path / "o"
    result = run_python([script], shared_competition, out)
    assert result.returncode == 0, result.stderr
    trials = pd.read_csv(out / "study.csv")
    assert len(trials) == 3 and np.isfinite(trials["value"]).all()
    assert re.search(r"highest  trial \d", result.stdout)
