"""The command line as a user types it, and the folder that Kaggle's client pushes."""

import json
import re
import shutil

import pytest
from conftest import TINY, read_rows, run_python
from slugify import slugify

import build
from kernel.bundle import ROOT
from kernel.demo import lay_out_demo
from kernel.metadata import fill_metadata, find_owner, write_kernel
from pcam_kaggle.config import ARCHITECTURES, compute_build_id
from pcam_kaggle.data import load_images, load_labels, load_sample
from pcam_kaggle.paths import find_data
from pcam_kaggle.recipes import RECIPES

WORDS = [f"{name}={value}" for name, value in TINY.items()]


def test_list_shows_every_recipe_and_every_count(capsys):
    assert build.main(["list"]) == 0
    text = capsys.readouterr().out
    for name, recipe in RECIPES.items():
        assert f"\n{name}\n" in f"\n{text}" and recipe.command in text
    for name, known in ARCHITECTURES.items():
        assert f"{known.num_parameters:,}" in text
        assert re.search(rf"^{name} +[\d,]+ +{known.num_trainable:,} ", text, re.M)


@pytest.mark.parametrize(
    "words, message",
    [
        (["build", "seed_resnet"], "Did you mean 'seed_resnet34'"),
        (["build", "demo", "epoch=3"], "Did you mean 'epochs'"),
        (
            ["train", "demo", "--data", ".", "epochs=0"],
            "at least 1. Received: epochs=0",
        ),
        (["build", "demo", "--fast"], "unknown arguments: --fast"),
        (["demo", "tta=nine"], "tta: expected one of none, flip, dihedral"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_exits_2_with_the_reason(capsys, words, message):
    with pytest.raises(SystemExit) as exit_code:
        build.main(words)
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [["--help"], ["list"], ["build", "densenet121"]])
def test_home_commands_import_no_framework(command):
    result = run_python(["-X", "importtime", ROOT / "build.py", *command])
    assert result.returncode == 0, result.stderr
    imported = set(re.findall(r"\| +([\w.]+)$", result.stderr, re.M))
    assert "pcam_kaggle.config" in imported
    heavy = {"tensorflow", "keras", "jax", "torch", "numpy", "pandas", "kaggle"}
    assert not heavy & imported


def test_build_writes_and_says_what_a_user_needs(capsys, home):
    assert build.main(["build", "seed_resnet34", "epochs=3"]) == 0
    text = capsys.readouterr().out
    folder = ROOT / "kernel" / "dist" / "pcam-seed-resnet34"
    script = folder / "pcam-seed-resnet34.py"
    build_id = re.search(r"^build id +(\w{10})$", text, re.M).group(1)
    assert f'BUILD_ID = "{build_id}"' in script.read_text("utf-8")
    assert "no Kaggle credentials found" in text
    assert str(script) in text and f"{script.stat().st_size:,} bytes" in text
    assert f"kaggle kernels push -p {folder}" in text
    assert {path.name for path in folder.iterdir()} == {
        script.name,
        "kernel-metadata.json",
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_metadata_is_complete_and_private(home, recipe):
    metadata = fill_metadata(recipe)
    owner, slug = metadata["id"].split("/")
    assert owner == "your-kaggle-username"
    assert slug == slugify(metadata["title"]) and len(slug) >= 5
    assert metadata["code_file"] == f"{slug}.py"
    assert metadata["is_private"] is True and metadata["enable_gpu"] is True
    assert metadata["machine_shape"] == "NvidiaTeslaT4"
    assert metadata["competition_sources"] == ["histopathologic-cancer-detection"]
    downloads = {"imagenet", "hf://kaiko-ai/midnight"}
    needed = RECIPES[recipe].settings.get("weights") in downloads
    needed = needed or recipe == "seed_study"  # one of its networks does
    assert metadata["enable_internet"] is needed


def test_the_template_at_the_top_is_that_of_its_recipe(home):
    template = json.loads((ROOT / "kernel-metadata.json").read_text("utf-8"))
    filled = fill_metadata("densenet121")
    code_file = f"kernel/dist/pcam-densenet121/{filled['code_file']}"
    assert template == {**filled, "code_file": code_file}


def test_the_owner_comes_from_the_credentials(home, monkeypatch, tmp_path):
    assert find_owner() is None
    kaggle = home / ".kaggle"
    kaggle.mkdir()
    (kaggle / "credentials.json").write_text('{"username": "oauth"}')
    assert find_owner() == "oauth"
    (kaggle / "kaggle.json").write_text('{"username": "legacy", "key": "secret"}')
    assert find_owner() == "legacy"
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "kaggle.json").write_text('{"username": "other", "key": "secret"}')
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(folder))
    assert find_owner() == "other"
    monkeypatch.setenv("KAGGLE_USERNAME", "variable")
    assert find_owner() == "variable"


def test_a_broken_credential_is_named_and_never_quoted(home):
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text('{"key": "secret123')
    with pytest.raises(ValueError, match=r"kaggle\.json: expected the JSON") as error:
        find_owner()
    assert "secret123" not in str(error.value)
    assert error.value.__suppress_context__


def test_train_runs_the_built_file_and_keeps_its_results(competition, tmp_path):
    words = ["train", "demo", "--data", competition.parents[1], *WORDS]
    out = tmp_path / "results"
    result = run_python([ROOT / "build.py", *words, "--out", out])
    assert result.returncode == 0, result.stderr
    run = json.loads((out / "run.json").read_text())
    assert run["edited"] is False and run["settings"]["epochs"] == 2
    assert len(read_rows(out / "submission.csv")) == 16
    assert f"results   {out}" in result.stdout
    script = out / f"pcam-demo-{run['build_id']}.py"
    assert compute_build_id(script.read_text("utf-8")) == run["build_id"]


def test_a_run_at_home_needs_no_credentials_and_leaves_the_push_folder(
    competition, tmp_path, home
):
    script, _ = write_kernel("demo")
    before = script.read_bytes()
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text("broken")
    words = ["train", "demo", *WORDS, "epochs=1", "folds=0"]
    words.remove("epochs=2")
    arguments = [*words, "--data", competition, "--out", tmp_path / "out"]
    assert build.main([str(word) for word in arguments]) == 0
    assert script.read_bytes() == before


def test_resume_goes_on_or_says_that_there_is_nothing(competition, tmp_path, capfd):
    out = tmp_path / "out"
    words = ["train", "demo", *WORDS, "--data", str(competition), "--out", str(out)]
    assert build.main([*words, "--resume"]) == 1
    assert "--resume: expected networks of an earlier run" in capfd.readouterr().err
    assert build.main(words) == 0
    submission = (out / "submission.csv").read_bytes()
    (out / "folds" / "fold1_seed1.npz").unlink()
    capfd.readouterr()
    assert build.main([*words, "--resume"]) == 0
    assert "fold 0 seed 0 was finished before" in capfd.readouterr().out
    assert (out / "submission.csv").read_bytes() == submission


def test_train_without_data_fails_before_the_kernel_starts(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["train", "demo", "--data", str(tmp_path), "--out", str(out)]
    assert build.main(words) == 1
    assert "competition data not found" in capsys.readouterr().err
    assert not out.exists()


def test_a_kernel_that_fails_fails_the_command(competition, tmp_path):
    min((competition / "test").iterdir()).write_bytes(b"no image")
    words = ["train", "demo", "--data", competition, "--out", tmp_path / "out", *WORDS]
    result = run_python([ROOT / "build.py", *words])
    assert result.returncode == 1
    assert "not a TIFF" in result.stderr
    assert result.stderr.strip().splitlines()[-1].endswith("failed, exit code 1")
    # Nothing but the script that failed.
    (left,) = (tmp_path / "out").iterdir()
    assert left.name.startswith("pcam-demo-") and left.suffix == ".py"


def test_train_in_a_folder_that_cannot_be_written_is_named(
    competition, tmp_path, capsys
):
    (tmp_path / "file").touch()
    words = ["train", "demo", "--data", competition, "--out", tmp_path / "file" / "out"]
    assert build.main([str(word) for word in words]) == 1
    assert "cannot write to the output folder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The shipped patches, laid out."""
    return lay_out_demo(tmp_path_factory.mktemp("demo") / "demo")


def test_the_shipped_patches_are_a_whole_competition(demo, tmp_path):
    folder = find_data(demo.parent / "input")
    train, test = load_labels(folder), load_sample(folder)
    assert (len(train), train["label"].sum(), len(test)) == (1000, 405, 400)
    assert not set(train["id"]) & set(test["id"])
    load_images(train, tmp_path, verify_ids=True)
    load_images(test, tmp_path, verify_ids=True)
    solution = read_rows(demo)
    assert {i for i, *_ in solution} == set(test["id"])
    assert sum(int(label) for _, label, _ in solution) == 162
    assert [usage for *_, usage in solution].count("Public") == 200
    assert "solution.csv" not in {path.name for path in folder.rglob("*.csv")}


def test_no_shipped_patch_is_both_trained_on_and_tested(demo):
    with open(ROOT / "tests/fixtures/demo/labels.csv", encoding="utf-8") as file:
        rows = [line.strip().split(",") for line in file][1:]
    assert len({name for name, *_ in rows}) == len(rows) == 1400
    assert {split for *_, split in rows} == {"train", "test"}


def test_demo_is_the_whole_loop_and_says_sandbox(tmp_path):
    copy = tmp_path / "clone"
    skip = shutil.ignore_patterns("dist", "runs", "__pycache__", ".git", "bench")
    shutil.copytree(ROOT, copy, ignore=skip)
    words = ["demo", "epochs=2", "folds=0"]
    result = run_python([copy / "build.py", *words])
    assert result.returncode == 0, result.stderr
    scores = re.search(r"score +public (0\.\d{4}), private (0\.\d{4})", result.stdout)
    assert all(0 < float(score) < 1 for score in scores.groups())
    assert "would rank" in result.stdout and "of 1,149" in result.stdout
    assert "sandbox" in result.stdout and "Kaggle" not in result.stdout
    for step in ("push", "status", "output", "submit", "leaderboard", "whole demo"):
        assert re.search(rf"^{step} +[\d.]+ s$", result.stdout, re.M)
    (run,) = (copy / "runs" / "demo").glob("pcam-demo-*")
    record = json.loads((run / "run.json").read_text())
    assert record["edited"] is False and len(read_rows(run / "submission.csv")) == 400
    for name in ("curves.png", "leaderboard.png", "oof.csv", "history.csv"):
        assert (run / name).is_file()


def test_a_study_asks_for_what_its_networks_need():
    """Internet for VGG16's weights, or the dataset of them; none for the demo."""
    assert fill_metadata("seed_study")["enable_internet"]
    given = fill_metadata("seed_study", dataset_sources=["me/vgg16"])
    assert not given["enable_internet"] and "me/vgg16" in given["dataset_sources"]
    assert not fill_metadata("demo", {"trials": 3})["enable_internet"]
    assert fill_metadata("demo", {"trials": 3})["title"] == "PCam demo study"
    assert fill_metadata("seed_study")["title"] == "PCam seed study"
